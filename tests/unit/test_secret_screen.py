"""A page is drawn, and wiped, as a whole, whatever becomes of the window meanwhile."""

import fcntl
import os
import pty
import select
import signal
import struct
import sys
import termios
import time
import traceback
from collections.abc import Callable

import pytest

from otpd.cli.secret_page import Page
from otpd.cli.secret_screen import secret_screen

LARGE = (400, 200)
SMALL = (400, 50)
"""Columns and lines."""
FILLING = Page(tuple("s" * 390 for _ in range(180)))
"""More than a terminal takes before somebody looks at it."""
PROMPT = "Go on: "
BEGIN, LEAVE = "\x1b[H\x1b[2K", "\x1b[?1049l"


class Window:
    """A terminal that shows ``page`` in a child; ``before`` is run there first. ``seen`` is all that came."""

    def __init__(self, page: Page, before: Callable[[], object] = lambda: None) -> None:
        self.child, self.file = pty.fork()
        if self.child == 0:
            _show(page, before)
        self.resize(*LARGE)
        os.write(self.file, b"\n")
        self.seen = ""

    def resize(self, columns: int, lines: int) -> None:
        """The kernel sends SIGWINCH."""
        fcntl.ioctl(self.file, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))

    def look(self, until: Callable[[str], bool]) -> None:
        """Read until ``until`` is true of all that was seen, or nothing more comes."""
        while not until(self.seen) and select.select([self.file], [], [], 5)[0]:
            try:
                self.seen += os.read(self.file, 4096).decode()
            except OSError:  # the child has ended
                return

    def end(self) -> int:
        """Press Enter; the exit code."""
        os.write(self.file, b"\n")
        self.look(lambda _seen: False)
        os.close(self.file)
        return os.waitstatus_to_exitcode(os.waitpid(self.child, 0)[1])


def _show(page: Page, before: Callable[[], object]) -> None:
    """In the child: wait for a first Enter, then show the page until the second."""
    try:
        sys.stdout = os.fdopen(1, "w", encoding="utf-8", closefd=False)
        modes = termios.tcgetattr(0)
        modes[3] &= ~termios.ECHO
        termios.tcsetattr(0, termios.TCSANOW, modes)
        os.read(0, 100)
        before()
        with secret_screen(page, lambda: str(os.read(0, 100))) as screen:
            screen.ask(PROMPT)
        os._exit(0)
    except BaseException:  # noqa: BLE001 - the parent sees the exit code, and pytest must not go on in two processes
        traceback.print_exc()
        os._exit(1)


def test_a_window_that_changes_while_the_page_is_drawn() -> None:
    window = Window(FILLING)
    time.sleep(1)  # by now it waits for somebody to read
    window.resize(*SMALL)
    time.sleep(0.2)
    window.look(lambda seen: seen.count(PROMPT) > 1)
    assert window.end() == 0
    drawn = window.seen.split(BEGIN)[1:-1]
    assert len(drawn) > 1
    assert all(page.endswith(PROMPT) for page in drawn)


def test_a_window_that_changes_while_it_is_wiped(monkeypatch: pytest.MonkeyPatch) -> None:
    write = os.write

    def changing(file: int, data: bytes) -> int:
        done = write(file, data)
        if LEAVE.encode() in data:
            signal.raise_signal(signal.SIGWINCH)
        return done

    def before() -> None:
        monkeypatch.setattr(os, "write", changing)  # in the child alone

    window = Window(Page(("secret",)), before)
    window.look(lambda seen: PROMPT in seen)
    assert window.end() == 0
    assert "secret" in window.seen.rpartition(BEGIN)[0]
    assert window.seen.endswith(LEAVE)
