"""otpd-password: is this account password right? Yes or no, to otpd alone.

The only process of otpd that runs as root. It knows no secret and no directory: it runs the PAM stack of its own
service through python-pam, in a child a question, under a deadline. A message is ``user NUL password``, and up to two
more passwords, each behind a NUL; the answer is ``yes 1`` (or 2, or 3: which is right), ``no`` or ``error``.
"""

import argparse
import logging
import os
import pwd
import select
import signal
import socket
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import pam

from otpd import throttle
from otpd.adapters import systemd
from otpd.adapters.peer import peer_uid
from otpd.adapters.process import keep_secrets_out_of_cores
from otpd.protocol import MAX_NAME_BYTES, MAX_TEXT_BYTES

LOG: Final = logging.getLogger("otpd.password")
PAM_SERVICE: Final = "otpd-password"
_MAX_CHILDREN: Final = 8
_CHILD_SECONDS: Final = 10
_IDLE_SECONDS: Final = 60
_MAX_PASSWORDS: Final = 3
_MAX_REMEMBERED: Final = 10_000
_AUTH_FAILURES: Final = frozenset({6, 7, 8, 10, 11, 12, 13, 27})
"""PAM_PERM_DENIED, AUTH_ERR, CRED_INSUFFICIENT, USER_UNKNOWN, MAXTRIES, NEW_AUTHTOK_REQD, ACCT_EXPIRED,
AUTHTOK_EXPIRED."""


@dataclass
class Failures:
    """Wrong passwords in a row, by user; in memory, bounded, and slowed by the rule that codes have."""

    counts: dict[bytes, tuple[int, float]] = field(default_factory=dict)

    def must_wait(self, user: bytes) -> bool:
        """Whether the next password of ``user`` is refused unseen."""
        count, at = self.counts.get(user, (0, 0.0))
        return not throttle.allowed(count, at, time.monotonic())

    def note(self, user: bytes, *, right: bool) -> None:
        """Count a wrong password, or forget the count after a right one."""
        count, _ = self.counts.pop(user, (0, 0.0))
        if not right:
            self.counts[user] = (count + 1, time.monotonic())
            while len(self.counts) > _MAX_REMEMBERED:
                del self.counts[next(iter(self.counts))]

    def idle(self) -> bool:
        """Whether nothing is remembered that still slows anybody."""
        now = time.monotonic()
        return all(now - at > throttle.MAX_WAIT_SECONDS for _, at in self.counts.values())


@dataclass
class Helper:
    """The loop: ``allowed_uid`` is otpd's; ``may_end`` says that somebody else holds the socket and starts it again."""

    listener: socket.socket
    allowed_uid: int
    may_end: bool
    failures: Failures = field(default_factory=Failures)
    children: dict[int, tuple[int, bytes, socket.socket, float]] = field(default_factory=dict)

    def run(self) -> None:
        """Answer, until there has been nothing to do for a while where it may end."""
        last = time.monotonic()
        while not self.may_end or self._busy() or time.monotonic() - last < _IDLE_SECONDS:
            watched: list[socket.socket | int] = [*self.children]
            if len(self.children) < _MAX_CHILDREN:
                watched.append(self.listener)
            ready, _, _ = select.select(watched, [], [], 1.0)
            for source in ready:
                last = time.monotonic()
                if isinstance(source, int):
                    self._collect(source)
                else:
                    self._accept()
            self._end_overdue()

    def _busy(self) -> bool:
        return bool(self.children) or not self.failures.idle()

    def _accept(self) -> None:
        link, _ = self.listener.accept()
        link.settimeout(1.0)
        uid = peer_uid(link)
        if uid != self.allowed_uid:
            LOG.warning("uid %d is not otpd: not answered", uid)
            link.close()
            return
        try:
            message = link.recv(MAX_NAME_BYTES + _MAX_PASSWORDS * (1 + MAX_TEXT_BYTES) + 1)
        except OSError:
            link.close()
            return
        user, *passwords = message.split(b"\0")
        if not user or len(user) > MAX_NAME_BYTES or not _are_few_and_short(passwords):
            _answer(link, b"error")
        elif self.failures.must_wait(user):
            LOG.warning("too many wrong passwords of one user: refused unseen")
            _answer(link, b"no")
        else:
            self._start(link, user, passwords)

    def _start(self, link: socket.socket, user: bytes, passwords: list[bytes]) -> None:
        # Counted before it is looked at: passwords that are tried at once must not outrun the count.
        self.failures.note(user, right=False)
        reading, writing = os.pipe2(os.O_CLOEXEC)
        child = os.fork()
        if child == 0:
            self.listener.close()
            signal.alarm(_CHILD_SECONDS + 1)
            os.write(writing, _check_all(user, passwords))
            os._exit(0)
        os.close(writing)
        self.children[reading] = (child, user, link, time.monotonic() + _CHILD_SECONDS)

    def _collect(self, reading: int) -> None:
        child, user, link, _ = self.children.pop(reading)
        verdict = os.read(reading, 16)
        os.close(reading)
        os.waitpid(child, 0)
        if verdict.startswith(b"yes"):
            self.failures.note(user, right=True)
        _answer(link, verdict or b"error")

    def _end_overdue(self) -> None:
        for reading, (child, _, _, until) in list(self.children.items()):
            if time.monotonic() > until:
                LOG.warning("the PAM stack of %s did not end within %d seconds", PAM_SERVICE, _CHILD_SECONDS)
                os.kill(child, signal.SIGKILL)
                self._collect(reading)


def _are_few_and_short(passwords: list[bytes]) -> bool:
    return 0 < len(passwords) <= _MAX_PASSWORDS and all(len(one) <= MAX_TEXT_BYTES for one in passwords)


def _check_all(user: bytes, passwords: list[bytes]) -> bytes:
    """The answer, in the child; all of them are one try."""
    for number, password in enumerate(passwords, 1):
        verdict = _check(user, password)
        if verdict != b"no":
            return f"yes {number}".encode() if verdict == b"yes" else verdict
    return b"no"


def _check(user: bytes, password: bytes) -> bytes:
    """Run the PAM stack, in the child."""
    try:
        stack = pam.pam()
        right = stack.authenticate(user, password, service=PAM_SERVICE, resetcreds=False)
    except Exception as error:  # noqa: BLE001 - whatever it is, it is not a yes; the text may quote the password
        LOG.error("the PAM stack of %s broke: %s", PAM_SERVICE, type(error).__name__)  # noqa: TRY400
        return b"error"
    if right:
        return b"yes"
    if stack.code in _AUTH_FAILURES:
        return b"no"
    LOG.error("the PAM stack of %s failed: %s", PAM_SERVICE, stack.reason)
    return b"error"


def _answer(link: socket.socket, answer: bytes) -> None:
    with link:
        try:
            link.send(answer)
        except OSError as error:
            LOG.warning("an answer was not taken: %s", error.strerror)


def _listener(path: Path, allowed: pwd.struct_passwd) -> socket.socket:
    path.unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    old = os.umask(0o177)
    listener.bind(str(path))
    os.umask(old)
    os.chown(path, allowed.pw_uid, allowed.pw_gid)
    listener.listen(64)
    return listener


def main() -> None:
    """The command otpd-password."""
    parser = argparse.ArgumentParser(prog="otpd-password", description="Check account passwords for otpd.")
    parser.add_argument("--socket", type=Path, help="listen here when not started by systemd")
    parser.add_argument("--user", default="otpd", help="the user that otpd runs as (default: otpd)")
    arguments = parser.parse_args()
    keep_secrets_out_of_cores()
    systemd.log_to_journal(logging.INFO, "otpd-password")
    try:
        allowed = pwd.getpwnam(arguments.user)
    except KeyError:
        sys.exit(f"otpd-password: there is no user {arguments.user}")
    given = [socket.socket(fileno=descriptor) for descriptor in systemd.listening_descriptors().values()]
    if given:
        listener = given[0]
    elif arguments.socket:
        listener = _listener(arguments.socket, allowed)
    else:
        sys.exit("otpd-password: systemd gave no socket; --socket PATH makes one")
    Helper(listener, allowed.pw_uid, may_end=bool(given)).run()


if __name__ == "__main__":
    main()
