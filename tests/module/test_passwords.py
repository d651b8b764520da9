"""The password of the stack: who is told it, and who gets it back."""

import pam_login as login
import pytest
from fake_daemons import Frames, Serve, ask, done, verbs
from pam_login import Stack


def fields(request: Frames) -> Frames:
    return [frame for frame in request[2:] if frame.startswith((b"authtok=", b"flag="))]


@pytest.mark.parametrize("arguments", ["", "forward_pass", "debug"])
def test_the_password_stays_unless_an_argument_says_so(stack: Stack, serve: Serve, arguments: str) -> None:
    daemon = serve(done())
    assert stack.run(arguments, before="set=hunter2").code == login.SUCCESS
    assert not any(b"hunter2" in frame for frame in daemon.requests[0])


def test_try_first_pass_sends_it_and_may_still_ask(stack: Stack, serve: Serve) -> None:
    daemon = serve(ask(), done())
    result = stack.run("try_first_pass", "text 654321", before="set=hunter2")
    assert result.code == login.SUCCESS
    assert fields(daemon.requests[0]) == [b"authtok=hunter2"]
    assert fields(daemon.requests[1]) == []


def test_try_first_pass_without_a_password_is_a_plain_begin(stack: Stack, serve: Serve) -> None:
    daemon = serve(ask(), done())
    assert stack.run("try_first_pass", "text 654321").code == login.SUCCESS
    assert fields(daemon.requests[0]) == []


def test_use_first_pass_sends_it_and_never_asks(stack: Stack, serve: Serve) -> None:
    daemon = serve(done())
    result = stack.run("use_first_pass", before="set=hunter2")
    assert (result.code, result.messages) == (login.SUCCESS, [])
    assert fields(daemon.requests[0]) == [b"authtok=hunter2", b"flag=use-first-pass"]


def test_use_first_pass_without_a_password_is_refused_at_home(stack: Stack, serve: Serve) -> None:
    daemon = serve(done())
    result = stack.run("use_first_pass")
    assert (result.code, daemon.requests) == (login.AUTH_ERR, [])
    assert "use_first_pass" in result.log


def test_use_first_pass_does_not_ask_for_a_daemon_that_wants_it(stack: Stack, serve: Serve) -> None:
    daemon = serve(ask(), done())
    result = stack.run("use_first_pass", "text 654321", before="set=hunter2")
    assert (result.code, result.messages) == (login.AUTH_ERR, [])
    assert verbs(daemon.requests) == ["begin", "cancel"]


def test_a_password_that_is_too_long_is_refused(stack: Stack, serve: Serve) -> None:
    daemon = serve(done())
    result = stack.run("try_first_pass", before="set=" + "x" * 513)
    assert (result.code, daemon.requests) == (login.AUTH_ERR, [])
    assert "refused: authtok" in result.log


def test_forward_pass_gives_the_next_module_what_the_daemon_gives_back(stack: Stack, serve: Serve) -> None:
    daemon = serve(ask(), done(authtok="hunter2"))
    result = stack.run("forward_pass", "text hunter2654321", after="show")
    assert result.code == login.SUCCESS
    assert fields(daemon.requests[0]) == [b"flag=forward-pass"]
    assert result.messages[-1] == ("info", "PAM_AUTHTOK=hunter2")


def test_forward_pass_replaces_what_was_there(stack: Stack, serve: Serve) -> None:
    serve(done(authtok="hunter2"))
    result = stack.run("use_first_pass forward_pass", before="set=hunter2654321", after="show")
    assert result.messages == [("info", "PAM_AUTHTOK=hunter2")]


def test_forward_pass_without_an_authtok_leaves_what_was_there(stack: Stack, serve: Serve) -> None:
    serve(done())
    assert stack.run("forward_pass", before="set=s3cret", after="show").messages == [("info", "PAM_AUTHTOK=s3cret")]


def test_an_answer_does_not_become_the_password_by_itself(stack: Stack, serve: Serve) -> None:
    serve(ask(), done())
    assert stack.run("", "text 654321", after="show").messages[-1] == ("info", "no PAM_AUTHTOK")


def test_an_authtok_that_was_not_asked_for_is_a_fault(stack: Stack, serve: Serve) -> None:
    serve(done(authtok="hunter2"))
    result = stack.run("", after="show")
    assert (result.code, result.messages) == (login.AUTHINFO_UNAVAIL, [])
    assert "malformed reply" in result.log


def test_no_secret_is_logged_under_debug(stack: Stack, serve: Serve) -> None:
    serve(ask("s3cret prompt", infos=["s3cret info"]), done("accept", infos=["s3cret"], authtok="hunter2"))
    result = stack.run("try_first_pass forward_pass debug", "text 654321", before="set=hunter2")
    assert result.code == login.SUCCESS
    assert len(result.of("log")) >= 2


LONG_SECRET = "".join(chr(ord("A") + i * 7 % 26) for i in range(200))


@pytest.mark.parametrize("reply", [done(), done("refuse"), done(authtok=LONG_SECRET), None])
def test_nothing_typed_or_given_back_stays_in_memory(fast_stack: Stack, serve: Serve, reply: Frames | None) -> None:
    serve(ask(), reply)
    result = fast_stack.run("forward_pass timeout=1", options=["-m", "-A", LONG_SECRET[::-1]])
    assert result.of("memory") == [{"event": "memory", "found": 0}]


def test_what_stays_in_memory_would_be_found(fast_stack: Stack, serve: Serve) -> None:
    """The text itself on the command line, not its reverse, is what the search must see."""
    serve(ask(), done())
    palindrome = LONG_SECRET[:100] + LONG_SECRET[:100][::-1]
    result = fast_stack.run("", options=["-m", "-A", palindrome])
    assert result.of("memory")[0]["found"] > 0
