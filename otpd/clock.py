"""Time: the only place that asks the system for it, so that a test can hand in its own."""

import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Protocol


class Clock(Protocol):
    """What the rest of otpd knows of time."""

    def wall(self) -> float:
        """Seconds since the Unix epoch; it may jump."""
        ...

    def monotonic(self) -> float:
        """Seconds since the host booted, asleep or not, one for all processes of it; it never goes back."""
        ...


class SystemClock:
    """The host's clocks."""

    def wall(self) -> float:
        """Seconds since the Unix epoch."""
        return time.time()

    def monotonic(self) -> float:
        """Seconds on CLOCK_BOOTTIME: what was read before the host slept is not believed when it wakes up."""
        return time.clock_gettime(time.CLOCK_BOOTTIME)


@dataclass(frozen=True)
class Deadline:
    """A moment on the monotonic clock after which an answer is of no use to anybody."""

    clock: Clock
    at: float

    @classmethod
    def after(cls, clock: Clock, seconds: float) -> "Deadline":
        """The moment ``seconds`` from now."""
        return cls(clock, clock.monotonic() + seconds)

    def remaining_seconds(self) -> float:
        """Seconds left, never below zero."""
        return max(0.0, self.at - self.clock.monotonic())

    def expired(self) -> bool:
        """Whether the moment has passed."""
        return self.remaining_seconds() == 0.0


def to_datetime(seconds: float) -> datetime:
    """``seconds`` since the Unix epoch as an aware UTC datetime without a fraction."""
    return datetime.fromtimestamp(int(seconds), UTC)
