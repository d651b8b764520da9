"""What the person is shown and asked, and applications that will not ask."""

import pam_login as login
import pytest
from fake_daemons import Serve, ask, done, verbs
from pam_login import Stack


@pytest.mark.parametrize("style", ["echo-off", "echo-on"])
def test_prompts_have_the_style_and_text_of_the_daemon(stack: Stack, serve: Serve, style: str) -> None:
    serve(ask("Verification code: ", style), done())
    result = stack.run("", "text 654321")
    assert (result.code, result.messages) == (login.SUCCESS, [(style, "Verification code: ")])


def test_infos_come_with_their_prompt_in_one_call(stack: Stack, serve: Serve) -> None:
    serve(ask("Code: ", infos=["one", "\n██▀▀\n█▄█\n"]), done(infos=["Welcome."]))
    result = stack.run("", "text 654321")
    calls = [[(m["style"], m["text"]) for m in event["messages"]] for event in result.of("conversation")]
    assert calls == [
        [("info", "one"), ("info", "\n██▀▀\n█▄█\n"), ("echo-off", "Code: ")],
        [("info", "Welcome.")],
    ]


def test_percent_signs_are_text(stack: Stack, serve: Serve) -> None:
    serve(ask("100 %s%n: ", infos=["%s%s%n"]), done(infos=["%n"]))
    assert stack.run("", "text %n").messages == [("info", "%s%s%n"), ("echo-off", "100 %s%n: "), ("info", "%n")]


def test_as_many_infos_as_a_message_holds(stack: Stack, serve: Serve) -> None:
    serve(ask(infos=["x"] * 27), done(infos=["y"] * 29))
    result = stack.run("", "text 1")
    assert (result.code, len(result.messages)) == (login.SUCCESS, 27 + 1 + 29)


def test_silent_means_no_infos_but_the_prompt(stack: Stack, serve: Serve) -> None:
    daemon = serve(ask(infos=["one"]), done(infos=["two"]))
    result = stack.run("", "text 654321", options=["-s"])
    assert b"flag=silent" in daemon.requests[0], "the daemon is told, lest it shows what nobody sees"
    assert (result.code, result.messages) == (login.SUCCESS, [("echo-off", "Verification code: ")])


@pytest.mark.parametrize("answer", ["fail", "again", "null", "none"])
@pytest.mark.parametrize("infos", [[], ["one", "two"]])
def test_an_application_that_does_not_answer_is_an_ordinary_failure(
    stack: Stack, serve: Serve, answer: str, infos: list[str]
) -> None:
    daemon = serve(ask(infos=infos), done("refuse"))
    result = stack.run("", answer)
    assert result.code == login.AUTH_ERR
    assert verbs(daemon.requests) == ["begin", "cancel"]
    assert daemon.requests[1] == [b"otpd/1", b"cancel", b"dialogue=" + bytes(range(256))]


def test_cancel_waits_for_nobody(stack: Stack, serve: Serve) -> None:
    daemon = serve(ask(), None)
    result = stack.run("timeout=20", "fail")
    assert result.code == login.AUTH_ERR
    assert result.seconds < 1
    assert verbs(daemon.requests) == ["begin", "cancel"]


def test_cancel_does_not_complain_when_the_daemon_is_gone(stack: Stack, serve: Serve) -> None:
    daemon = serve(ask())
    attempt = stack.start()
    attempt.wait_for("conversation")
    daemon.stop()
    attempt.type("fail")
    result = attempt.finish()
    assert (result.code, result.seconds < 5) == (login.AUTH_ERR, True)
    assert result.log.endswith("the application gave no answer to the prompt")


@pytest.mark.parametrize(("length", "code"), [(512, login.SUCCESS), (513, login.AUTH_ERR), (100000, login.AUTH_ERR)])
def test_what_is_typed_is_sent_whole_or_not_at_all(stack: Stack, serve: Serve, length: int, code: int) -> None:
    daemon = serve(ask(), done())
    result = stack.run("", f"repeat x {length}")
    assert result.code == code
    assert verbs(daemon.requests) == ["begin", "answer" if code == login.SUCCESS else "cancel"]
    if code == login.SUCCESS:
        assert daemon.requests[1][3] == b"text=" + b"x" * 512
    else:
        assert "too long" in result.log


def test_bytes_that_are_not_utf8_may_be_typed(stack: Stack, serve: Serve) -> None:
    daemon = serve(ask(), done("refuse"))
    assert stack.run("", "text \x08\r\x7fINCORRECT\udcff").code == login.AUTH_ERR
    assert daemon.requests[1][3] == b"text=\x08\r\x7fINCORRECT\xff"
