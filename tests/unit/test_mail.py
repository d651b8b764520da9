"""Mails that wait for their turn: not without end, and those that are not sent are in the log."""

import logging
import threading
from collections.abc import Callable
from typing import Any

import pytest

from otpd.adapters.aside import Aside
from otpd.clock import Deadline, SystemClock
from otpd.factor import Attempt, Outcome, Parts, Post, Reason
from otpd.factors.mail import MAIL, PATIENCE_SECONDS
from otpd.otp import Windows
from otpd.ring_text import new_key_line
from otpd.seal import KeyRing
from otpd.secret import Secret
from otpd.values import ServiceName, UserName

Work = Callable[[Deadline], object]
UNTOUCHED: Any = None
"""The directory: nobody is looked up before the answer, nor for a mail that is not sent."""


class Later(SystemClock):
    def __init__(self) -> None:
        self.seconds = 0.0

    def monotonic(self) -> float:
        return super().monotonic() + self.seconds


def ask(aside: Callable[[Work], bool], clock: SystemClock) -> Outcome:
    post = Post(lambda *_: None, aside, 600)
    keys = KeyRing.from_text(new_key_line("k1"), "test")
    parts = Parts(UNTOUCHED, keys, clock, lambda *_: None, Windows(), "web1", aside, post=post)
    typed, deadline = Secret(b"mail"), Deadline.after(clock, 5)
    return MAIL.verify(Attempt(UserName("alice"), ServiceName("sshd"), typed, deadline), parts)


def test_one_whose_turn_comes_too_late_is_not_sent(caplog: pytest.LogCaptureFixture) -> None:
    waiting: list[Work] = []
    clock = Later()
    outcome = ask(lambda work: not waiting.append(work), clock)
    assert outcome.reason is Reason.MAIL_ASKED_FOR
    clock.seconds = PATIENCE_SECONDS + 1
    with caplog.at_level(logging.WARNING):
        waiting[0](Deadline.after(clock, 15))
    assert 'code not mailed user=alice service=sshd reason="its turn came too late' in caplog.text


def test_one_that_finds_no_place_is_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    clock, go_on, began = SystemClock(), threading.Event(), threading.Event()
    aside = Aside(clock, undone="a code is not mailed")

    def hang(_deadline: Deadline) -> None:
        began.set()
        go_on.wait(20)

    try:
        assert aside(hang)
        assert began.wait(20)
        taken = 0
        while aside(hang):
            taken += 1
        assert taken < 100
        with caplog.at_level(logging.WARNING):
            outcome = ask(aside, clock)
    finally:
        go_on.set()
    assert outcome.reason is Reason.MAIL_ASKED_FOR
    assert outcome.delivery
    assert 'code not mailed user=alice service=sshd reason="too many mails wait' in caplog.text
