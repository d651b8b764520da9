"""A whole Debian machine, booted from a root that ``tests/machine/build`` made; what it writes is gone when it ends."""

import os
import signal
import subprocess
import tarfile
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, Final

from rig.people import Answer, Seen, converse

HERE: Final = Path(__file__).parent
REPOSITORY: Final = HERE.parents[1]
SOURCE: Final = "/root/otpd"
_INSTALLED: Final = ("Makefile", "otpd", "pam_helper", "conf", "systemd", "docs")
_BOOT_SECONDS: Final = 60
_ENVIRONMENT: Final = ("PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin", "LC_ALL=C.UTF-8", "TERM=xterm")


class MachineError(AssertionError):
    """The machine did not boot, or a command in it that was to succeed did not."""


@dataclass
class Machine:
    """One machine. Commands run in its namespaces, beside its services."""

    suite: str
    console: IO[bytes]
    cgroup: Path
    process: subprocess.Popen[bytes] = field(init=False)
    leader: int = 0

    def boot(self, root: Path) -> None:
        """Start it, and wait until it has booted."""
        self.process = subprocess.Popen(
            [HERE / "boot", root, self.cgroup],
            stdin=subprocess.DEVNULL,
            stdout=self.console,
            stderr=subprocess.STDOUT,
        )
        self.wait_until_booted()

    def wait_until_booted(self, *, other_than: int = 0) -> None:
        """Wait for systemd in the machine, whose process is not ``other_than``, to have started everything."""
        until = time.monotonic() + _BOOT_SECONDS
        while time.monotonic() < until and self.process.poll() is None:
            self.leader = self._find_leader()
            if self.leader not in (0, other_than):
                done = self.start("systemctl", "is-system-running", "--wait", stderr=subprocess.DEVNULL)
                state, _ = done.communicate(timeout=_BOOT_SECONDS)
                if state.strip() in ("running", "degraded"):
                    return
            time.sleep(0.02)
        raise MachineError(f"the machine did not boot:\n{self.screen()}")

    def reboot(self) -> None:
        """As ``systemctl reboot``."""
        old = self.leader
        self.run("systemctl", "reboot", check=False)
        self.wait_until_booted(other_than=old)

    def screen(self) -> str:
        """What the machine has written to its console."""
        self.console.seek(0)
        return self.console.read().decode(errors="replace")

    def inside(self, command: Sequence[str], user: str = "root") -> list[str]:
        """The command, of this machine, that runs ``command`` in the other one."""
        become = ["setpriv", f"--reuid={user}", f"--regid={user}", "--init-groups", "--reset-env", "--"]
        entered = ["nsenter", f"--target={self.leader}", "--mount", "--uts", "--ipc", "--net", "--pid", "--cgroup"]
        # --root and --wd: nsenter opens them in the machine, where the caller's working directory does not exist.
        entered += ["--root", "--wd", "--", "env", "-i", "HOME=/root", *_ENVIRONMENT]
        return [*entered, *(become if user != "root" else []), *command]

    def start(self, *command: str, user: str = "root", **options: Any) -> subprocess.Popen[str]:
        """Start ``command``, with pipes."""
        pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
        return subprocess.Popen(self.inside(command, user), **(pipes | {"text": True} | options))

    def run(self, *command: str, user: str = "root", stdin: str = "", check: bool = True, seconds: float = 60) -> str:
        """Run ``command``; what it printed. Raises :class:`MachineError` where it fails, unless ``check`` is false."""
        with self.start(*command, user=user) as process:
            try:
                output, _ = process.communicate(stdin, timeout=seconds)
            except subprocess.TimeoutExpired:
                process.kill()
                raise
        if check and process.returncode:
            raise MachineError(f"{self.suite}: {' '.join(command)} exited with {process.returncode}:\n{output}")
        return output

    def shell(self, script: str, user: str = "root", seconds: float = 120) -> str:
        """Run lines that an administrator could type; the first that fails ends them."""
        return self.run("bash", "-euo", "pipefail", "-c", script, user=user, seconds=seconds)

    def talk(self, command: Sequence[str], answers: Sequence[Answer], user: str = "root") -> Seen:
        """Run ``command`` on a terminal, and answer its prompts."""
        return converse(self.inside(command, user), answers)

    def write(self, path: str, text: str) -> None:
        """Write a file."""
        self.run("sh", "-c", 'mkdir -p "${1%/*}" && cat >"$1"', "sh", path, stdin=text)

    def read(self, path: str) -> str:
        """Read a file."""
        return self.run("cat", path)

    def copy_source(self) -> None:
        """Put what ``make install`` needs below :data:`SOURCE`; nothing that was built."""
        with self.start("tar", "-x", "--one-top-level=" + SOURCE, text=False) as unpacking:
            with tarfile.open(fileobj=unpacking.stdin, mode="w|") as archive:
                for name in _INSTALLED:
                    archive.add(REPOSITORY / name, name, filter=_sources_only)
            output, _ = unpacking.communicate(timeout=60)
        if unpacking.returncode:
            raise MachineError(str(output))

    def journal(self, *matches: str) -> str:
        """What the journal holds since the machine first booted."""
        self.run("journalctl", "--sync")
        return self.run("journalctl", "--no-pager", "--quiet", "--all", *matches, check=False)

    def end(self) -> None:
        """Power off, by force: nothing of it is kept."""
        # The first process of its namespace takes all others with it, and is reaped by its parent, which then ends.
        first = _only_child(self.process.pid)
        with suppress(ProcessLookupError):
            os.kill(first or self.process.pid, signal.SIGKILL)
        self.process.wait(20)
        _remove(self.cgroup)

    def _find_leader(self) -> int:
        """The pid, as this machine counts, of systemd in the machine; 0 while there is none."""
        leader = self.process.pid
        for _ in ("boot", "systemd-nspawn", "systemd"):
            leader = _only_child(leader)
        with suppress(OSError):
            # Before that it is nspawn, which makes the machine.
            if Path(f"/proc/{leader}/comm").read_text() == "systemd\n":
                return leader
        return 0


@contextmanager
def booted(suite: str) -> Iterator[Machine]:
    """A machine of a Debian suite, booted."""
    root = build(suite)
    cgroup = _new_cgroup()
    with tempfile.TemporaryFile() as console:
        machine = Machine(suite, console, cgroup)
        try:
            machine.boot(root)
            yield machine
        finally:
            machine.end()


def build(suite: str) -> Path:
    """The root of ``suite``, made where it is missing."""
    done = subprocess.run([HERE / "build", suite], stdout=subprocess.PIPE, text=True, check=True)
    return Path(done.stdout.strip())


def _new_cgroup() -> Path:
    mounts = [line.split() for line in Path("/proc/mounts").read_text().splitlines()]
    top = next((Path(mount[1]) for mount in mounts if mount[2] == "cgroup2"), None)
    if top is None:
        raise RuntimeError("no cgroup2 file system is mounted, which systemd in a machine needs")
    for left in top.glob("otpd-machine-*"):  # of a run that was killed; one that runs cannot be removed
        _remove(left, seconds=0)
    cgroup = top / f"otpd-machine-{os.getpid()}"
    cgroup.mkdir()
    return cgroup


def _remove(cgroup: Path, seconds: float = 10) -> None:
    """Remove a cgroup and those in it, once the last process is gone."""
    until = time.monotonic() + seconds
    while cgroup.exists():
        for folder, _, _ in os.walk(cgroup, topdown=False):
            with suppress(OSError):
                Path(folder).rmdir()
        if time.monotonic() > until:
            return
        time.sleep(0.02)


def _only_child(pid: int) -> int:
    with suppress(OSError, ValueError):  # no such process; none or several
        return int(Path(f"/proc/{pid}/task/{pid}/children").read_text())
    return 0


def _sources_only(entry: tarfile.TarInfo) -> tarfile.TarInfo | None:
    built = entry.name == "pam_helper/build" or "__pycache__" in entry.name or entry.name.endswith((".so", ".o"))
    entry.uid = entry.gid = 0
    return None if built else entry
