"""Many logins in one process, as a mail server makes them."""

from collections.abc import Callable

import pytest
from fake_daemons import RawDaemon, Serve, answer, ask, done, wire
from pam_login import Stack


def summary(stack: Stack, arguments: str, logins: int, **keywords: str) -> dict:
    result = stack.run(arguments, options=["-n", logins, "-A", "654321", "-r", "192.0.2.7"], **keywords)
    return result.of("summary")[0]


def assert_nothing_is_left(figures: dict) -> None:
    assert figures["fds_gained"] == 0
    assert figures["resident_kib_gained"] < 512
    assert figures["heap_bytes_gained"] < 4096


def test_two_thousand_logins_drop_no_connection_and_leave_nothing(fast_stack: Stack, serve: Serve) -> None:
    """Not one retry is needed: every request arrives exactly once."""
    daemon = serve(lambda request: ask(infos=["hello"]) if request[1] == b"begin" else done())
    figures = summary(fast_stack, "", 2000)
    assert figures["succeeded"] == 2000
    assert len(daemon.requests) == 4000
    assert_nothing_is_left(figures)


def test_two_thousand_failures_leave_nothing(fast_stack: Stack, serve: Serve) -> None:
    serve(lambda request: ask() if request[1] == b"begin" else done("refuse"))
    figures = summary(fast_stack, "", 2000)
    assert figures["succeeded"] == 0
    assert_nothing_is_left(figures)


@pytest.mark.parametrize("broken", [b"", wire(done())[:-3], b"\x02" + b"\xff" * 8, wire([b"otpd/1"])])
def test_faults_leave_nothing(fast_stack: Stack, broken: bytes) -> None:
    scripts = [answer(broken), answer(wire(done()))] if not broken else [answer(broken)]
    with RawDaemon(fast_stack.socket, *scripts):
        assert_nothing_is_left(summary(fast_stack, "", 500))


def test_an_absent_daemon_leaves_nothing(fast_stack: Stack) -> None:
    assert_nothing_is_left(summary(fast_stack, "", 2000))


def test_what_a_login_costs(fast_stack: Stack, serve: Serve, record_property: Callable[[str, object], None]) -> None:
    """One request and its reply, against a ROUTER of libzmq in Python: far below what a person notices."""
    serve(done())
    figures = summary(fast_stack, "use_first_pass", 1000, before="set=hunter2")
    record_property("p50_us", figures["p50_us"])
    print(f"a login: p50 {figures['p50_us']} us, p99 {figures['p99_us']} us, max {figures['max_us']} us")
    assert figures["succeeded"] == 1000
    assert figures["p50_us"] < 20_000


def test_calls_that_are_interrupted_or_short_go_unnoticed(fast_stack: Stack, serve: Serve) -> None:
    serve(lambda request: ask(infos=["hello"]) if request[1] == b"begin" else done())
    fast_stack.wrapper = ["env", f"LD_PRELOAD={fast_stack.build}/pam_faults.so", "PAM_FAULTS=transient"]
    figures = summary(fast_stack, "", 300)
    assert figures["succeeded"] == 300
    assert_nothing_is_left(figures)


@pytest.mark.parametrize("verdict", ["accept", "refuse"])
def test_calls_that_fail_let_nobody_in_and_leave_nothing(fast_stack: Stack, serve: Serve, verdict: str) -> None:
    serve(lambda request: ask() if request[1] == b"begin" else done(verdict))
    fast_stack.wrapper = ["env", f"LD_PRELOAD={fast_stack.build}/pam_faults.so", "PAM_FAULTS=hard"]
    figures = summary(fast_stack, "timeout=1", 300)
    assert 10 < figures["succeeded"] < 250 if verdict == "accept" else figures["succeeded"] == 0
    assert_nothing_is_left(figures)
