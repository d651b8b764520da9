"""What nobody waits for, done one after the other in a thread of its own."""

import logging
import queue
import threading
from collections.abc import Callable
from typing import Final

from otpd.clock import Clock, Deadline
from otpd.errors import DirectoryError

LOG: Final = logging.getLogger("otpd.aside")
_MOST: Final = 64


class Aside:
    """:class:`otpd.factor.Aside` that drops what it cannot keep up with: while a server hangs, say.

    Each piece of work has ``seconds``; ``undone`` says what was not done where one failed or was dropped.
    """

    def __init__(self, clock: Clock, seconds: float = 2.0, undone: str = "a use is not noted") -> None:
        self._clock = clock
        self._seconds = seconds
        self._undone = undone
        self._work: queue.Queue[Callable[[Deadline], object]] = queue.Queue(_MOST)
        threading.Thread(target=self._run, name="aside", daemon=True).start()

    def __call__(self, work: Callable[[Deadline], object]) -> bool:
        """Do it soon; False where it is dropped."""
        try:
            self._work.put_nowait(work)
        except queue.Full:
            LOG.info("%s: there are too many", self._undone)
            return False
        return True

    def _run(self) -> None:
        while True:
            work = self._work.get()
            try:
                work(Deadline.after(self._clock, self._seconds))
            except DirectoryError as error:
                LOG.info("%s: %s", self._undone, error)
            except Exception as error:  # noqa: BLE001 - the thread goes on, whatever happens; values may hang on the text
                LOG.error("%s: %s", self._undone, type(error).__name__)  # noqa: TRY400
