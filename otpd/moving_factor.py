"""Which steps of its moving factor a token's code may belong to, and how far its clock is off. Pure.

A login looks close to where the device should be. Somebody who sits at a shell is helped where it is not: over
:data:`HINT_SECONDS` each way the device's clock is told to be wrong, and :data:`RESYNC_SECONDS` each way, or
:data:`RESYNC_COUNTERS` ahead, two codes in a row bring the two together again (RFC 4226 section 7.4, RFC 6238
section 6).
"""

from collections.abc import Sequence
from typing import Final

from otpd.directory import Token
from otpd.otp import OtpParameters, Windows, time_step
from otpd.texts import plural
from otpd.values import TimeStep

HINT_SECONDS: Final = 600
RESYNC_SECONDS: Final = 3600
RESYNC_COUNTERS: Final = 1000
_MINUTE: Final = 60


def expected(token: Token, at_seconds: float, windows: Windows) -> Sequence[int]:
    """The steps that a login looks at.

    The window of TOTP moves where a drift was learned, but the step of now always counts: who typed late, twice, has a
    clock that is right. HOTP's begins with the code that was accepted last: to type one twice is no guess.
    """
    period = token.parameters.period_seconds
    if period is None:
        return range(max(0, token.last_step), token.last_step + windows.look_ahead + 2)
    now = time_step(period, at_seconds)
    steps = _around(now + _believed(token, period), windows.around)
    return sorted({now, *steps})


def nearby(parameters: OtpParameters, at_seconds: float) -> range:
    """The steps of a device whose clock is wrong; none of HOTP, which has no clock."""
    period = parameters.period_seconds
    return range(0) if period is None else _around(time_step(period, at_seconds), HINT_SECONDS // period)


def far(token: Token, at_seconds: float) -> range:
    """The steps in which two codes in a row are looked for; none that was spent."""
    period = token.parameters.period_seconds
    unspent = token.last_step + 1
    if period is None:
        return range(unspent, unspent + RESYNC_COUNTERS)
    steps = _around(time_step(period, at_seconds), RESYNC_SECONDS // period)
    return range(max(unspent, steps.start), steps.stop)


def observed_drift(parameters: OtpParameters, step: TimeStep, at_seconds: float) -> int:
    """How many time steps the device's clock is ahead if it shows the code of ``step`` now; 0 of HOTP."""
    period = parameters.period_seconds
    return 0 if period is None else step - time_step(period, at_seconds)


def learned_drift(token: Token, step: TimeStep, at_seconds: float, windows: Windows) -> int:
    """The drift that is noted after a login with the code of ``step``.

    It stays within ``windows.drift``. What a resynchronisation found beyond that is kept, and does not grow.
    """
    bound = max(windows.drift, abs(_believed(token, token.parameters.period_seconds or 1)))
    return max(-bound, min(bound, observed_drift(token.parameters, step, at_seconds)))


def clock(parameters: OtpParameters, drift: int) -> str:
    """``drift`` in words, such as ``3 minutes slow``; empty where the clock is right."""
    seconds = abs(drift) * (parameters.period_seconds or 0)
    if not seconds:
        return ""
    if seconds <= _MINUTE:
        if drift > 0:
            return plural("{count} second fast", "{count} seconds fast", seconds)
        return plural("{count} second slow", "{count} seconds slow", seconds)
    minutes = round(seconds / _MINUTE)
    if drift > 0:
        return plural("{count} minute fast", "{count} minutes fast", minutes)
    return plural("{count} minute slow", "{count} minutes slow", minutes)


def _believed(token: Token, period_seconds: int) -> int:
    """The token's drift, as far as a resynchronisation finds it.

    Who writes to the directory could otherwise move the window to a code that was seen long ago.
    """
    bound = RESYNC_SECONDS // period_seconds
    return max(-bound, min(bound, token.drift))


def _around(middle: int, steps: int) -> range:
    return range(max(0, middle - steps), max(0, middle + steps + 1))
