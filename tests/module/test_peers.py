"""Who is at the other end, and which socket is tried."""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pam_login as login
import pytest
from fake_daemons import RawDaemon, ZmqDaemon, answer, ask, done, verbs, wire
from pam_login import Stack

NOBODY = 65534
OTPD_UID = 64321


@contextmanager
def daemon_of(uid: int, path: Path) -> Iterator[None]:
    """A process of another user that accepts everyone; SO_PEERCRED tells who has called listen()."""
    path.parent.chmod(0o777)
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.setgroups([])
        os.setgid(uid)
        os.setuid(uid)
        with RawDaemon(path, answer(wire(done()))):
            os.write(writing, b"x")
            signal.pause()
    os.read(reading, 1)
    try:
        yield
    finally:
        os.kill(child, signal.SIGTERM)
        os.waitpid(child, 0)
        os.close(reading)
        os.close(writing)


def inside(script: str, *arguments: str) -> list[object]:
    """A command prefix: a mount namespace of its own, prepared by a shell script."""
    return ["unshare", "-m", "sh", "-ec", script + '\nexec "$@"', "sh", *arguments]


@pytest.fixture
def with_otpd_user(directory: Path) -> list[object]:
    passwd = directory / "passwd"
    others = [line for line in Path("/etc/passwd").read_text().splitlines() if not line.startswith("otpd:")]
    passwd.write_text("\n".join([*others, f"otpd:x:{OTPD_UID}:{OTPD_UID}::/:/usr/sbin/nologin", ""]))
    return inside(f"mount --bind {passwd} /etc/passwd")


def test_a_socket_of_someone_else_is_refused(stack: Stack, with_otpd_user: list[object]) -> None:
    with daemon_of(NOBODY, stack.socket):
        result = replace(stack, wrapper=with_otpd_user).run("use_first_pass timeout=20", before="set=hunter2")
    assert (result.code, result.seconds < 1) == (login.AUTHINFO_UNAVAIL, True)
    assert "belongs neither to root nor to the user otpd" in result.log


def test_a_socket_of_otpd_is_good(stack: Stack, with_otpd_user: list[object]) -> None:
    with daemon_of(OTPD_UID, stack.socket):
        assert replace(stack, wrapper=with_otpd_user).run().code == login.SUCCESS


def test_without_a_user_otpd_only_root_is_good(stack: Stack) -> None:
    with daemon_of(OTPD_UID, stack.socket):
        assert stack.run().code == login.AUTHINFO_UNAVAIL


DEFAULT_SOCKETS = "mount -t tmpfs tmpfs /run\nmkdir /run/otpd\nmount --bind {} /run/otpd"
AS_NOBODY = ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"]


@pytest.fixture
def sockets(directory: Path) -> Iterator[tuple[ZmqDaemon, ZmqDaemon]]:
    """A daemon on each of the two default sockets; the first one is closed to all but root."""
    auth = ZmqDaemon(directory / "auth.sock", [done()])
    control = ZmqDaemon(directory / "control.sock", [ask(), done()])
    (directory / "auth.sock").chmod(0o660)
    yield auth, control
    auth.stop()
    control.stop()


def test_root_uses_the_socket_for_authentication(stack: Stack, sockets: tuple[ZmqDaemon, ZmqDaemon]) -> None:
    auth, control = sockets
    stack.wrapper = inside(DEFAULT_SOCKETS.format(stack.directory))
    assert stack.run(None).code == login.SUCCESS
    assert (len(auth.requests), len(control.requests)) == (1, 0)


def test_a_screen_locker_uses_the_socket_that_is_open_to_it(stack: Stack, sockets: tuple[ZmqDaemon, ZmqDaemon]) -> None:
    auth, control = sockets
    stack.wrapper = inside(DEFAULT_SOCKETS.format(stack.directory), *AS_NOBODY)
    assert stack.run(None, "text 654321").code == login.SUCCESS
    assert (len(auth.requests), verbs(control.requests)) == (0, ["begin", "answer"])


@pytest.mark.usefixtures("sockets")
def test_a_socket_that_was_named_has_no_second_choice(stack: Stack) -> None:
    stack.wrapper = inside(DEFAULT_SOCKETS.format(stack.directory), *AS_NOBODY)
    result = stack.run("socket=/run/otpd/auth.sock timeout=20")
    assert (result.code, result.seconds < 1) == (login.AUTHINFO_UNAVAIL, True)
    assert "/run/otpd/auth.sock: Permission denied" in result.log


def test_an_absent_socket_has_no_second_choice(stack: Stack, sockets: tuple[ZmqDaemon, ZmqDaemon]) -> None:
    (stack.directory / "auth.sock").unlink()
    stack.wrapper = inside(DEFAULT_SOCKETS.format(stack.directory), *AS_NOBODY)
    assert stack.run(None).code == login.AUTHINFO_UNAVAIL
    assert sockets[1].requests == []
