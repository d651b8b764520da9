"""A secret on a terminal while somebody looks at it: afterwards neither the screen nor its scroll-back has it.

It is shown on the terminal's alternate screen, and that is wiped before it is left, line by line: some terminals have
none, or are told not to use it, and many keep what is cleared as a whole. The escape sequences are those of ECMA-48, as
rich writes them too; terminfo often lacks the name of a terminal that came by ssh.
"""

import os
import select
import signal
import sys
import termios
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import partial
from types import FrameType
from typing import Final, NoReturn

from otpd.cli.secret_page import Page
from otpd.texts import _

_ENTER: Final = "\x1b[?1049h"
_LEAVE: Final = "\x1b[?1049l"
_HOME: Final = "\x1b[H"
_WIPE_LINE: Final = "\x1b[2K"
_ENDING: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)
_LATER: Final = (signal.SIGTSTP, signal.SIGWINCH)
"""What waits until the page is drawn, or wiped, as a whole."""
_HUNG_SECONDS: Final = 1.0


def fault() -> str:
    """Why there can be no such screen here; empty where there can."""
    name = os.environ.get("TERM", "")
    if not sys.stdout.isatty():
        return _("no terminal")
    if name in ("", "dumb", "unknown"):
        return f"TERM={name}"
    with suppress(OSError):
        os.close(os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY))
        return ""
    return _("nobody to answer")


class SecretScreen:
    """Shows ``page``. ``read`` takes an answer that is typed unseen."""

    def __init__(self, page: Page, read: Callable[[], str]) -> None:
        self._page = page
        self._read = read
        self._drawing: Callable[[int, int], str] = lambda _columns, _lines: ""
        self._shown = False
        self._file = sys.stdout.fileno()
        self._modes = termios.tcgetattr(self._file)
        self.ended: int | None = None

    def ask(self, prompt: str, notice: str = "") -> str:
        """Show the page, ``notice`` and ``prompt``, until there is an answer."""
        page = replace(self._page, after=(*self._page.after, *filter(None, [notice])))
        self._drawing = partial(page.drawing, prompt)
        sys.stdout.flush()
        self._show()
        return self._read()

    def wipe(self) -> None:
        """Take it all away again. A terminal that hangs is given up after a second."""
        with _undisturbed():
            if not self._shown:
                return
            lines = self._size()[1]
            with suppress(termios.error):  # Ctrl-S may have stopped it; what tcflow starts is what it stopped itself
                termios.tcflow(self._file, termios.TCOOFF)
                termios.tcflow(self._file, termios.TCOON)
            self._write(_wiped(lines) + _LEAVE, seconds=_HUNG_SECONDS)
            self._shown = False

    def handlers(self) -> dict[signal.Signals, Callable[[int, FrameType | None], None]]:
        """What to do on signals."""
        other: dict[signal.Signals, Callable[[int, FrameType | None], None]] = {
            signal.SIGTSTP: self._suspend,
            signal.SIGWINCH: self._resize,
        }
        return {**dict.fromkeys(_ENDING, self._end), **other}

    def _show(self) -> None:
        with _undisturbed():
            columns, lines = self._size()
            # Where there is no other screen, what others wrote scrolls away first; on one that is empty, nothing does.
            begin = "" if self._shown else _ENTER + "\n" * lines
            self._shown = True
            self._write(begin + _wiped(lines) + self._drawing(columns, lines))

    def _size(self) -> tuple[int, int]:
        columns = lines = 0
        with suppress(OSError):  # it has hung up
            columns, lines = os.get_terminal_size(self._file)
        return columns or 80, lines or 24  # a serial line does not know

    def _write(self, text: str, seconds: float | None = None) -> None:
        """Past Python's own buffers, which a signal may find half written."""
        left = text.encode(sys.stdout.encoding, "replace")
        with suppress(OSError):  # it has hung up
            while left and select.select([], [self._file], [], seconds)[1]:
                left = left[os.write(self._file, left) :]

    def _end(self, number: int, _frame: FrameType | None) -> NoReturn:
        """Wipe at once, whatever is under way; then let everybody who waits clear up."""
        self.wipe()
        if number != signal.SIGINT:
            self.ended = number
        raise KeyboardInterrupt

    def _suspend(self, number: int, _frame: FrameType | None) -> None:
        """Ctrl-Z: the shell gets a terminal as it was; show it again once it is ours again."""
        typing, shown = termios.tcgetattr(self._file), self._shown
        self.wipe()
        termios.tcsetattr(self._file, termios.TCSANOW, self._modes)
        ours = signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)
        signal.signal(number, ours)
        termios.tcsetattr(self._file, termios.TCSANOW, typing)  # in the background, this stops until it is in front
        if shown:
            self._show()

    def _resize(self, _number: int, _frame: FrameType | None) -> None:
        if self._shown:
            self._show()


@contextmanager
def _undisturbed() -> Iterator[None]:
    """Let no page be drawn in the middle of another, whose rest would scroll it away, nor behind one that is wiped.

    What ends the program does not wait.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _LATER)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _wiped(lines: int) -> str:
    return _HOME + "\r\n".join([_WIPE_LINE] * lines) + _HOME


@contextmanager
def secret_screen(page: Page, read: Callable[[], str]) -> Iterator[SecretScreen]:
    """Let the block ask below a secret; however it ends, the secret is gone."""
    screen = SecretScreen(page, read)
    before = {number: signal.getsignal(number) for number in screen.handlers()}
    try:
        for number, handler in screen.handlers().items():
            if before[number] != signal.SIG_IGN:  # nohup(1), say
                signal.signal(number, handler)
        yield screen
    finally:
        screen.wipe()
        for number, earlier in before.items():
            signal.signal(number, earlier)
        if screen.ended:
            signal.signal(screen.ended, signal.SIG_DFL)
            os.kill(os.getpid(), screen.ended)
