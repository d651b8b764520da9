"""What the daemon is told about a login."""

import pam_login as login
import pytest
from fake_daemons import Serve, done
from pam_login import Stack


def test_the_items_of_the_login_are_sent(stack: Stack, serve: Serve) -> None:
    daemon = serve(done())
    options = ["-r", "192.0.2.7", "-t", "ssh", "-u", "bob"]
    assert stack.run("", options=options, user="åsa").code == login.SUCCESS
    fields = [b"user=\xc3\xa5sa", b"service=door", b"rhost=192.0.2.7", b"tty=ssh", b"ruser=bob"]
    assert daemon.requests == [[b"otpd/1", b"begin", *fields]]


def test_items_that_are_not_set_or_empty_are_absent(stack: Stack, serve: Serve) -> None:
    daemon = serve(done())
    assert stack.run("", options=["-r", "", "-t", ""]).code == login.SUCCESS
    assert daemon.requests == [[b"otpd/1", b"begin", b"user=alice", b"service=door"]]


def test_the_longest_name_is_sent(stack: Stack, serve: Serve) -> None:
    daemon = serve(done())
    assert stack.run(user="a" * 256).code == login.SUCCESS
    assert daemon.requests[0][2] == b"user=" + b"a" * 256


@pytest.mark.parametrize("name", ["a" * 257, b"\xff", b"\xed\xa0\x80"])
def test_a_user_who_cannot_be_named_is_refused(stack: Stack, serve: Serve, name: str) -> None:
    daemon = serve(done())
    result = stack.run(user=name if isinstance(name, str) else name.decode(errors="surrogateescape"))
    assert (result.code, daemon.requests) == (login.AUTH_ERR, [])
    assert "refused: user is too long, or not UTF-8" in result.log


@pytest.mark.parametrize(("option", "name"), [("-r", "rhost"), ("-t", "tty"), ("-u", "ruser")])
@pytest.mark.parametrize("value", ["x" * 257, "\udcff"])
def test_nothing_is_left_out_or_cut_off(stack: Stack, serve: Serve, option: str, name: str, value: str) -> None:
    daemon = serve(done())
    result = stack.run(options=[option, value])
    assert (result.code, daemon.requests) == (login.AUTH_ERR, [])
    assert f"refused: {name} is too long, or not UTF-8" in result.log


def test_a_user_who_is_not_known_yet_is_asked_for(stack: Stack, serve: Serve) -> None:
    daemon = serve(done())
    assert stack.run("", "text carol", options=["-N"]).code == login.SUCCESS
    assert daemon.requests[0][2] == b"user=carol"


@pytest.mark.parametrize("answer", ["fail", "again", "text "])
def test_without_a_user_there_is_no_login(stack: Stack, serve: Serve, answer: str) -> None:
    daemon = serve(done())
    result = stack.run("", answer, options=["-N"])
    assert (result.code, daemon.requests) == (login.AUTH_ERR, [])
