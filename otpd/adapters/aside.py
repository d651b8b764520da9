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
_SECONDS: Final = 2.0


class Aside:
    """:class:`otpd.factor.Aside` that drops what it cannot keep up with: while a server hangs, say."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._work: queue.Queue[Callable[[Deadline], object]] = queue.Queue(_MOST)
        threading.Thread(target=self._run, name="aside", daemon=True).start()

    def __call__(self, work: Callable[[Deadline], object]) -> None:
        """Do it soon."""
        try:
            self._work.put_nowait(work)
        except queue.Full:
            LOG.info("a use is not noted: there are too many")

    def _run(self) -> None:
        while True:
            work = self._work.get()
            try:
                work(Deadline.after(self._clock, _SECONDS))
            except DirectoryError as error:
                LOG.info("a use is not noted: %s", error)
            except Exception as error:  # noqa: BLE001 - the thread goes on, whatever happens; values may hang on the text
                LOG.error("a use is not noted: %s", type(error).__name__)  # noqa: TRY400
