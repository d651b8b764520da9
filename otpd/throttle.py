"""How fast a user's code may be guessed (RFC 4226 section 7.3). Pure.

It slows, and never locks for good. The first failures cost nothing, since people mistype; after them each failure
doubles the wait, up to a quarter of an hour. At that pace a six-digit code with a window of three steps falls to a
guesser, who already holds the password or the key, with a chance of 3 in 10,000 a day.
"""

from typing import Final

FREE_FAILURES: Final = 5
MAX_WAIT_SECONDS: Final = 900


def wait_seconds(failures: int) -> int:
    """Seconds from the last failure until the next guess is looked at, after ``failures`` in a row."""
    if failures < FREE_FAILURES:
        return 0
    return int(min(MAX_WAIT_SECONDS, 2 ** min(failures - FREE_FAILURES, 16)))


def seconds_left(failures: int, last_failure_at: float | None, now: float) -> float:
    """Seconds until a guess is looked at again; ``last_failure_at`` and ``now`` are seconds since the Unix epoch.

    A last failure further in the future than the longest wait was written under a wrong clock, and holds nobody up.
    """
    if last_failure_at is None or now - last_failure_at < -MAX_WAIT_SECONDS:
        return 0.0
    return max(0.0, last_failure_at + wait_seconds(failures) - now)


def allowed(failures: int, last_failure_at: float | None, now: float) -> bool:
    """Whether a guess may be looked at."""
    return seconds_left(failures, last_failure_at, now) == 0.0
