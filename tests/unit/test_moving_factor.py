"""Where codes are looked for, and what is learned of a device's clock."""

from dataclasses import replace

import pytest

from otpd import moving_factor
from otpd.directory import Token, Use
from otpd.otp import OtpParameters, Windows
from otpd.values import EntryId, ServiceName, TimeStep

NOW = 30_000_000.0
STEP = 1_000_000
TOTP = Token(EntryId("x"), "", "active", OtpParameters(), TimeStep(0), NOW, b"")
HOTP = replace(TOTP, parameters=OtpParameters(period_seconds=None), last_step=TimeStep(7))


def drifted(steps: int) -> Token:
    return replace(TOTP, last_use=Use(NOW, "host", ServiceName("sshd"), steps))


def test_the_window_moves_and_never_loses_the_step_of_now() -> None:
    for drift in range(-120, 121):
        steps = moving_factor.expected(drifted(drift), NOW, Windows(around=1))
        assert list(steps) == sorted({STEP, STEP + drift - 1, STEP + drift, STEP + drift + 1})


def test_a_drift_that_no_resynchronisation_finds_opens_no_old_code() -> None:
    """Who writes to the directory, and saw a code long ago, must not move the window there."""
    for drift, believed in ((-121, -120), (-100_000, -120), (2**31, 120)):
        for period in (15, 30, 120):
            token = replace(drifted(drift), parameters=OtpParameters(period_seconds=period))
            now, bound = int(NOW // period), 3600 // period
            steps = moving_factor.expected(token, NOW, Windows(around=1))
            assert steps[0] >= now - bound - 1
            assert steps[-1] <= now + bound + 1
        around = {STEP + believed - 1, STEP + believed, STEP + believed + 1}
        assert moving_factor.expected(drifted(drift), NOW, Windows()) == sorted({STEP, *around})
        assert abs(moving_factor.learned_drift(drifted(drift), TimeStep(1), NOW, Windows())) <= 120


def test_the_window_never_begins_before_the_epoch() -> None:
    assert list(moving_factor.expected(TOTP, 0, Windows(around=1))) == [0, 1]
    assert list(moving_factor.expected(drifted(-5), 0, Windows(around=1))) == [0]


def test_a_counter_looks_ahead() -> None:
    assert list(moving_factor.expected(HOTP, NOW, Windows(look_ahead=3))) == [7, 8, 9, 10, 11]
    unused = replace(HOTP, last_step=TimeStep(-1))
    assert list(moving_factor.expected(unused, NOW, Windows(look_ahead=0))) == [0]


def test_far_never_goes_back() -> None:
    assert moving_factor.far(HOTP, NOW) == range(8, 1008)
    assert moving_factor.far(TOTP, NOW) == range(STEP - 120, STEP + 121)
    spent = replace(TOTP, last_step=TimeStep(STEP))
    assert moving_factor.far(spent, NOW) == range(STEP + 1, STEP + 121)
    assert list(moving_factor.far(replace(TOTP, last_step=TimeStep(STEP + 500)), NOW)) == []


@pytest.mark.parametrize(
    ("known", "observed", "bound", "learned"),
    [(0, 1, 3, 1), (1, 0, 3, 0), (3, 4, 3, 3), (-3, -4, 3, -3), (0, 1, 0, 0), (-20, -21, 3, -20), (-20, -19, 3, -19)],
)
def test_what_is_learned_is_bounded(known: int, observed: int, bound: int, learned: int) -> None:
    step = TimeStep(STEP + observed)
    assert moving_factor.learned_drift(drifted(known), step, NOW, Windows(drift=bound)) == learned


def test_a_counter_has_no_clock() -> None:
    assert moving_factor.learned_drift(HOTP, TimeStep(9), NOW, Windows()) == 0
    assert list(moving_factor.nearby(HOTP.parameters, NOW)) == []
    assert moving_factor.clock(HOTP.parameters, 0) == ""


@pytest.mark.parametrize(
    ("drift", "words"),
    [(0, ""), (1, "30 seconds fast"), (-2, "60 seconds slow"), (-6, "3 minutes slow"), (120, "60 minutes fast")],
)
def test_in_words(drift: int, words: str) -> None:
    assert moving_factor.clock(OtpParameters(), drift) == words
