"""Processes of a host, each with a log of its own."""

import os
import pwd
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

LOGS: Final = Path("/var/log/otpd-rig")
_SECONDS: Final = 20


@dataclass
class Processes:
    """What runs, by name.

    ``enter`` is a command that enters the host's namespaces, where it has some, and runs another. ``label`` stands
    before the names of logs, where several hosts run programs of one name.
    """

    processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict, kw_only=True)
    enter: tuple[str, ...] = field(default=(), kw_only=True)
    label: str = field(default="", kw_only=True)

    def spawn(self, name: str, *command: str, user: str = "root", environment: Mapping[str, str] | None = None) -> None:
        """Start a process whose output goes to its log."""
        become = ("setpriv", f"--reuid={user}", f"--regid={pwd.getpwnam(user).pw_gid}", "--clear-groups", "--")
        with self.log_of(name).open("ab") as log:
            # Each of these programs becomes the next, so the pid is that of the last.
            self.processes[name] = subprocess.Popen(
                [*self.enter, *become, *command],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8", **(environment or {})},
            )

    def stop(self, name: str, how: int = signal.SIGTERM) -> int:
        """End a process; its exit code."""
        process = self.processes.pop(name)
        process.send_signal(how)
        return process.wait(_SECONDS)

    def stop_all(self) -> None:
        """End everything."""
        for name in list(self.processes):
            self.stop(name)

    def wait(self, ready: Callable[[], bool], name: str, seconds: float = _SECONDS) -> None:
        """Wait until ``ready``, or say why ``name`` does not come up."""
        until = time.monotonic() + seconds
        while not ready():
            ended = name in self.processes and self.processes[name].poll() is not None
            if ended or time.monotonic() > until:
                raise RuntimeError(f"{name} did not come up:\n{self.log(name)}")
            time.sleep(0.02)

    def log_of(self, name: str) -> Path:
        """Where a process logs to."""
        return LOGS / f"{self.label}{name}.log"

    def log(self, name: str) -> str:
        """What a process has logged."""
        path = self.log_of(name)
        return path.read_text(errors="replace") if path.exists() else ""


def own(path: str | Path, user: str) -> None:
    """Give a file to a user."""
    account = pwd.getpwnam(user)
    os.chown(path, account.pw_uid, account.pw_gid)


def connects(address: str | tuple[str, int], kind: int = socket.SOCK_STREAM) -> bool:
    """Whether somebody listens at ``address``."""
    family = socket.AF_INET if isinstance(address, tuple) else socket.AF_UNIX
    with socket.socket(family, kind) as probe, suppress(OSError):
        probe.connect(address)
        return True
    return False
