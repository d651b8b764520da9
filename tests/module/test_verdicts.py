"""The daemon decides, and the PAM return code says what."""

import pam_login as login
import pytest
from fake_daemons import Serve, ask, done, error, verbs
from pam_login import Stack


@pytest.mark.parametrize(
    ("verdict", "code"),
    [
        ("accept", login.SUCCESS),
        ("refuse", login.AUTH_ERR),
        ("exhausted", login.MAXTRIES),
        ("unavailable", login.AUTHINFO_UNAVAIL),
    ],
)
def test_every_verdict_has_its_code(stack: Stack, serve: Serve, verdict: str, code: int) -> None:
    daemon = serve(done(verdict))
    assert stack.run().code == code
    assert verbs(daemon.requests) == ["begin"]


def test_error_is_unavailable_and_its_reason_is_logged_escaped(stack: Stack, serve: Serve) -> None:
    serve(error("bad\n\x7f\x1b[31mJan 1 sshd: Accepted \\ é"))
    result = stack.run()
    assert result.code == login.AUTHINFO_UNAVAIL
    assert result.log.endswith(r"bad\x0a\x7f\x1b[31mJan 1 sshd: Accepted \x5c \xc3\xa9")


def test_a_long_reason_is_logged_in_part(stack: Stack, serve: Serve) -> None:
    serve(error("x" * 8000))
    result = stack.run()
    assert result.code == login.AUTHINFO_UNAVAIL
    assert 200 < len(result.log) < 400


@pytest.mark.parametrize(("verdict", "code"), [("ignore", login.SUCCESS), ("accept", login.PERM_DENIED)])
def test_ignore_is_what_the_stack_takes_for_ignore(stack: Stack, serve: Serve, verdict: str, code: int) -> None:
    """libpam never returns PAM_IGNORE: this stack succeeds where it jumps over a module that fails."""
    serve(done(verdict))
    lines = [
        f"auth [ignore=1 default=ignore] {stack.module} socket={stack.socket}",
        f"auth requisite {stack.probe} fail",
        f"auth required {stack.probe} show",
    ]
    assert stack.run(lines=lines).code == code


def test_ignore_alone_lets_nobody_in(stack: Stack, serve: Serve) -> None:
    serve(done("ignore"))
    assert stack.run(lines=[f"auth required {stack.module} socket={stack.socket}"]).code == login.PERM_DENIED


def test_setcred_succeeds_after_a_login(stack: Stack, serve: Serve) -> None:
    serve(done())
    assert stack.run().of("setcred")[0]["code"] == login.SUCCESS


@pytest.mark.parametrize("arguments", ["", "nullok"])
def test_setcred_succeeds_without_a_daemon_and_with_a_wrong_argument(stack: Stack, arguments: str) -> None:
    assert stack.run(arguments, options=["-a", 0]).of("setcred")[0]["code"] == login.SUCCESS


def test_a_code_is_asked_and_judged(stack: Stack, serve: Serve) -> None:
    daemon = serve(ask(), lambda request: done("accept" if b"text=654321" in request else "refuse"))
    assert stack.run("", "text 654321").code == login.SUCCESS
    assert verbs(daemon.requests) == ["begin", "answer"]
    assert daemon.requests[1][2] == b"dialogue=" + bytes(range(256))


def test_several_asks_before_the_verdict(stack: Stack, serve: Serve) -> None:
    daemon = serve(ask("Password: "), ask(), ask("Name: ", "echo-on"), done())
    result = stack.run("", "text a", "text b", "text ")
    assert result.code == login.SUCCESS
    assert [request[3] for request in daemon.requests[1:]] == [b"text=a", b"text=b", b"text="]


def test_a_daemon_that_asks_for_ever_is_left(stack: Stack, serve: Serve) -> None:
    daemon = serve(ask())
    result = stack.run("", *["text x"] * 50)
    assert result.code == login.MAXTRIES
    assert verbs(daemon.requests) == ["begin", *["answer"] * 16, "cancel"]
    assert "giving up" in result.log


def test_several_attempts_on_one_handle(stack: Stack, serve: Serve) -> None:
    serve(ask(), done("refuse"), ask(), done("refuse"), ask(), done("accept"))
    result = stack.run("", "text 1", "text 2", "text 3", options=["-a", 3])
    assert [event["code"] for event in result.of("authenticate")] == [login.AUTH_ERR, login.AUTH_ERR, login.SUCCESS]
