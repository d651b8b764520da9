"""Daemons that are absent, restart, hang, or break the protocol."""

import socket
import struct
import threading
import time

import pam_login as login
import pytest
from fake_daemons import GREETING, READY, RawDaemon, Script, Serve, answer, ask, done, hang, say, verbs, wire
from pam_login import Stack


def test_without_a_socket_it_ends_at_once(stack: Stack) -> None:
    result = stack.run("timeout=20")
    assert (result.code, result.seconds < 1) == (login.AUTHINFO_UNAVAIL, True)
    assert f"{stack.socket}: No such file or directory" in result.log


def test_without_a_listener_it_ends_at_once(stack: Stack) -> None:
    with socket.socket(socket.AF_UNIX) as unheard:
        unheard.bind(str(stack.socket))
        result = stack.run("timeout=20")
    assert (result.code, result.seconds < 1) == (login.AUTHINFO_UNAVAIL, True)
    assert "Connection refused" in result.log


@pytest.mark.parametrize("script", [hang, say(GREETING), say(GREETING[:12]), answer(wire(ask())[:0])])
def test_a_daemon_that_says_nothing_costs_the_timeout(stack: Stack, script: Script) -> None:
    with RawDaemon(stack.socket, lambda connection: script(_NeverClosing(connection))):
        result = stack.run("timeout=1")
    assert result.code == login.AUTHINFO_UNAVAIL
    assert 0.95 < result.seconds < 1.5
    assert "no answer within 1 seconds" in result.log


class _NeverClosing:
    """A connection that is not shut down by a script's end."""

    def __init__(self, connection: socket.socket) -> None:
        self.sendall, self.recv = connection.sendall, connection.recv

    def shutdown(self, how: int) -> None:
        pass


def test_a_daemon_of_libzmq_that_does_not_answer_costs_the_timeout(stack: Stack, serve: Serve) -> None:
    serve(None)
    result = stack.run("timeout=1")
    assert result.code == login.AUTHINFO_UNAVAIL
    assert 0.95 < result.seconds < 1.5


def test_a_daemon_that_does_not_accept_costs_the_timeout(stack: Stack) -> None:
    """The kernel's queue is full, then: connect() itself cannot go on."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(stack.socket))
        listener.listen(0)
        with socket.socket(socket.AF_UNIX) as waiting:
            waiting.connect(str(stack.socket))
            result = stack.run("timeout=1")
    assert result.code == login.AUTHINFO_UNAVAIL
    assert 0.95 < result.seconds < 1.5


def test_a_restart_while_a_prompt_is_open_loses_nothing(stack: Stack, serve: Serve) -> None:
    first = serve(ask())
    attempt = stack.start()
    attempt.wait_for("conversation")
    first.stop()
    second = serve(done())
    attempt.type("text 654321")
    assert attempt.finish().code == login.SUCCESS
    assert (verbs(first.requests), verbs(second.requests)) == (["begin"], ["answer"])


def test_an_answer_waits_for_a_daemon_that_comes_back(stack: Stack, serve: Serve) -> None:
    first = serve(ask())
    attempt = stack.start("debug")
    attempt.wait_for("conversation")
    first.stop()
    attempt.type("text 654321")
    time.sleep(0.5)
    second = serve(done())
    result = attempt.finish()
    assert result.code == login.SUCCESS
    assert verbs(second.requests) == ["answer"]
    assert "trying again" in result.log


def test_a_daemon_that_dies_over_an_answer_is_asked_again(stack: Stack, serve: Serve) -> None:
    first = serve(ask(), None)
    attempt = stack.start()
    attempt.wait_for("conversation")
    attempt.type("text 654321")
    while len(first.requests) < 2:
        time.sleep(0.01)
    first.stop()
    second = serve(done())
    assert attempt.finish().code == login.SUCCESS
    assert second.requests == [first.requests[1]]


def test_a_daemon_that_never_comes_back_costs_the_timeout(stack: Stack, serve: Serve) -> None:
    first = serve(ask())
    attempt = stack.start("timeout=1")
    attempt.wait_for("conversation")
    first.stop()
    asked = time.monotonic()
    attempt.type("text 654321")
    result = attempt.finish()
    assert result.code == login.AUTHINFO_UNAVAIL
    assert 0.95 < time.monotonic() - asked < 2
    assert "no answer within 1 seconds: No such file or directory" in result.log


def close_early(connection: socket.socket) -> None:
    del connection


@pytest.mark.parametrize(
    "script",
    [close_early, say(), say(GREETING[:30]), say(GREETING), say(GREETING, READY[:7]), say(GREETING, READY), answer()],
)
def test_a_begin_that_was_accepted_and_then_closed_is_sent_again(stack: Stack, script: Script) -> None:
    with RawDaemon(stack.socket, script, script, answer(wire(done()))) as daemon:
        assert stack.run().code == login.SUCCESS
    assert daemon.connections == 3


def test_a_begin_that_was_closed_does_not_wait_for_a_daemon_that_is_gone(stack: Stack) -> None:
    def go(_connection: socket.socket) -> None:
        stack.socket.unlink()

    with RawDaemon(stack.socket, go):
        result = stack.run("timeout=20")
    assert (result.code, result.seconds < 1) == (login.AUTHINFO_UNAVAIL, True)
    assert "No such file or directory" in result.log


def test_a_daemon_that_closes_every_time_costs_the_timeout(stack: Stack) -> None:
    with RawDaemon(stack.socket, answer()) as daemon:
        result = stack.run("timeout=1")
    assert result.code == login.AUTHINFO_UNAVAIL
    assert 0.95 < result.seconds < 1.5
    assert 10 <= daemon.connections <= 25


ACCEPT = wire(done())
BROKEN = {
    "no ZMTP": say(b"220 mail.example.org ESMTP\r\n".ljust(64)),
    "ZMTP 2": say(GREETING.replace(b"\x7f\x03\x01", b"\x7f\x02\x01")),
    "CURVE": say(GREETING.replace(b"NULL\0", b"CURVE")),
    "no READY": say(GREETING, ACCEPT),
    "a DEALER": say(GREETING, READY.replace(b"ROUTER", b"DEALER"), ACCEPT),
    "ERROR": say(GREETING, b"\x04\x0a\x05ERROR\x03400"),
    "a huge command": say(GREETING, b"\x06" + struct.pack(">Q", 1 << 63)),
    "a huge frame": answer(b"\x02" + struct.pack(">Q", 1 << 63), b"x" * 100),
    "a frame over the limit": answer(wire([*done(), b"info=" + b"x" * 8188])),
    "a message over the limit": answer(wire([*done(), *[b"info=" + b"x" * 8000] * 5])),
    "33 frames": answer(wire([*done(), *[b"info=x"] * 30])),
    "an endless message": answer(wire([*done(), b"info=x"])[:-8], b"\x01\x00" * 100),
    "unknown flags": answer(b"\x81\x06otpd/1", ACCEPT),
    "a command in a message": answer(ACCEPT[:8], b"\x04\x06\x05HELLO", ACCEPT[8:]),
    "another version": answer(wire([b"otpd/2", *done()[1:]])),
    "no verb": answer(wire([b"otpd/1"])),
    "an empty message": answer(wire([b""])),
    "an unknown verb": answer(wire([b"otpd/1", b"Done", b"verdict=accept"])),
    "an unknown verdict": answer(wire(done("accepted"))),
    "a verdict with NUL": answer(wire(done("accept\0"))),
    "two verdicts": answer(wire([*done("refuse"), b"verdict=accept"])),
    "no verdict": answer(wire(done()[:2])),
    "an unknown field": answer(wire([*done(), b"uid=0"])),
    "a field without =": answer(wire([*done(), b"info"])),
    "an info that is not UTF-8": answer(wire([*done(), b"info=\xff"])),
    "a style nobody knows": answer(wire(ask(style="loud"))),
    "a dialogue that is too long": answer(wire([b"otpd/1", b"ask", b"dialogue=" + b"d" * 2049, *ask()[3:]])),
    "a prompt with NUL": answer(wire(ask("a\0b"))),
}


@pytest.mark.parametrize("script", BROKEN.values(), ids=BROKEN.keys())
def test_what_breaks_the_protocol_ends_it_at_once(stack: Stack, script: Script) -> None:
    with RawDaemon(stack.socket, script) as daemon:
        result = stack.run("timeout=20", "text 654321")
    assert (result.code, result.messages) == (login.AUTHINFO_UNAVAIL, [])
    assert result.seconds < 2
    assert daemon.connections == 1
    assert len(result.of("log")) == 1


def test_a_reply_that_is_cut_off_anywhere_is_never_a_verdict(fast_stack: Stack) -> None:
    for cut in range(1, len(ACCEPT)):
        fast_stack.socket.unlink(missing_ok=True)
        with RawDaemon(fast_stack.socket, answer(ACCEPT[:cut])) as daemon:
            result = fast_stack.run("timeout=20")
        assert (result.code, daemon.connections) == (login.AUTHINFO_UNAVAIL, 1), cut
        assert "a truncated reply" in result.log


def test_a_reply_that_arrives_byte_by_byte(stack: Stack) -> None:
    def drip(connection: socket.socket) -> None:
        def send_slowly(data: bytes) -> None:
            for byte in data:
                connection.send(bytes([byte]))
                time.sleep(0.001)

        slow = _NeverClosing(connection)
        slow.sendall = send_slowly
        answer(ACCEPT)(slow)

    with RawDaemon(stack.socket, drip):
        assert stack.run().code == login.SUCCESS


def test_a_reply_that_drips_beyond_the_deadline(stack: Stack) -> None:
    stopped = threading.Event()

    def drip(connection: socket.socket) -> None:
        connection.sendall(GREETING + READY)
        for byte in ACCEPT * 20:
            connection.send(bytes([byte]))
            if stopped.wait(0.2):
                return

    with RawDaemon(stack.socket, drip):
        result = stack.run("timeout=1")
        stopped.set()
    assert result.code == login.AUTHINFO_UNAVAIL
    assert 0.95 < result.seconds < 1.5


def test_pings_are_answered(stack: Stack) -> None:
    pongs = []

    def ping(connection: socket.socket) -> None:
        answer(b"\x04\x0b\x04PING\x00\x0acafe")(_Recorder(connection, pongs))

    with RawDaemon(stack.socket, ping, answer(ACCEPT)):
        assert stack.run().code == login.SUCCESS
    assert b"".join(pongs).endswith(b"\x04\x09\x04PONGcafe")


class _Recorder:
    """A connection that keeps what was received."""

    def __init__(self, connection: socket.socket, received: list[bytes]) -> None:
        self.sendall, self.shutdown = connection.sendall, connection.shutdown
        self._connection, self._received = connection, received

    def recv(self, size: int) -> bytes:
        self._received.append(self._connection.recv(size))
        return self._received[-1]
