"""A terminal as people have one, with a shell in it, a screen, and what it scrolls back to: tmux."""

import os
import pwd
import re
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_SECONDS: Final = 20
_SOCKET: Final = "/run/otpd-rig-tmux"


@dataclass
class Terminal:
    """One window. Nothing that is typed is an argument of a process."""

    shell: int = 0

    def type(self, text: str) -> None:
        """Type a line, and Enter."""
        _tmux("load-buffer", "-", stdin=text)
        _tmux("paste-buffer", "-d")
        self.key("Enter")

    def key(self, name: str) -> None:
        """Press a key, by tmux's name of it."""
        _tmux("send-keys", name)

    def resize(self, columns: int, lines: int) -> None:
        """Change the size of the window."""
        _tmux("resize-window", "-x", str(columns), "-y", str(lines))

    def screen(self) -> str:
        """What is seen now; lines that the terminal wrapped are one, as when they are copied."""
        return _tmux("capture-pane", "-p", "-J")

    def kept(self) -> str:
        """All that can be seen by scrolling, on the other screen too."""
        return _tmux("capture-pane", "-p", "-J", "-S", "-") + _tmux("capture-pane", "-p", "-J", "-a", "-q", "-S", "-")

    def wait(self, seen: Callable[[str], object]) -> str:
        """The screen, once ``seen`` is true of it."""
        until = time.monotonic() + _SECONDS
        while not seen(screen := self.screen()):
            if time.monotonic() > until:
                raise AssertionError(f"not seen in time; the screen is:\n{screen}")
            time.sleep(0.02)
        return screen

    def run(self, command: str, *, until: str = "") -> str:
        """Type a command, and wait until ``until`` is the last line, by default the shell's next prompt; the screen."""
        number = int(last(self.wait(at_prompt)).strip("ready>"))
        self.type(command)
        return self.wait(lambda screen: last(screen) == (until or f"ready{number + 1}>"))

    def program(self) -> int:
        """The process that the shell runs in the foreground."""
        return int(Path(f"/proc/{self.shell}/task/{self.shell}/children").read_text().split()[0])


def last(screen: str) -> str:
    """The last line of a screen that is not empty."""
    return screen.rstrip().split("\n")[-1].strip()


def at_prompt(screen: str) -> bool:
    """Whether the shell waits for the next command."""
    return bool(re.fullmatch(r"ready\d+>", last(screen)))


@contextmanager
def terminal(*settings: str, user: str = "root", size: str = "100x45", term: str = "xterm") -> Iterator[Terminal]:
    """A terminal with bash as ``user``; ``settings`` are tmux's."""
    home = pwd.getpwnam(user).pw_dir
    shell = [
        *("setpriv", f"--reuid={user}", f"--regid={pwd.getpwnam(user).pw_gid}", "--init-groups"),
        *("env", "-i", f"HOME={home}", f"TERM={term}", "LC_ALL=C.UTF-8", "PATH=/usr/sbin:/usr/bin:/sbin:/bin"),
        *(r"PS1=ready\#> ", "HISTFILE=.bash_history", "bash", "--norc", "--noprofile", "-i"),
    ]
    columns, lines = size.split("x")
    first = [word for setting in settings for word in ("set-option", "-g", *setting.split(), ";")]
    _tmux("start-server", ";", *first, "new-session", "-d", "-x", columns, "-y", lines, "-c", home, *shell)
    try:
        window = Terminal(int(_tmux("display-message", "-p", "#{pane_pid}")))
        window.wait(at_prompt)
        yield window
    finally:
        _tmux("kill-server")


def _tmux(*arguments: str, stdin: str = "") -> str:
    environment = {key: value for key, value in os.environ.items() if key != "TMUX"} | {"LC_ALL": "C.UTF-8"}
    command = ["tmux", "-S", _SOCKET, "-f", "/dev/null", *arguments]
    done = subprocess.run(
        command, input=stdin, text=True, capture_output=True, check=False, env=environment, timeout=20
    )
    if done.returncode:
        raise RuntimeError(f"{command[4:]}: {done.stderr}")
    return done.stdout
