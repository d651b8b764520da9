"""Single values of LDAP entries, read by their syntax (RFC 4517): times, numbers, words.

A value that is wrong raises :class:`~otpd.errors.EntryError`, which names entry and attribute and never the value.
"""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final, TypeVar, cast, get_args

from otpd.adapters.ldap.reader import Entry
from otpd.clock import to_datetime
from otpd.directory import GrantPurpose, State
from otpd.errors import EntryError
from otpd.otp import MAX_DIGITS, MAX_PERIOD_SECONDS, MIN_DIGITS, MIN_PERIOD_SECONDS

T = TypeVar("T")

_TIME_FORMAT: Final = "%Y%m%d%H%M%SZ"  # RFC 4517 section 3.3.13, in UTC and whole seconds


def from_time(seconds: float) -> str:
    """``seconds`` since the Unix epoch as generalizedTime."""
    return to_datetime(seconds).strftime(_TIME_FORMAT)


def one_value(where: str, entry: Entry, attribute: str, read: Callable[[bytes], T]) -> T:
    """The value of ``attribute``; raises :class:`EntryError` where there is none, or another than one of that form."""
    value = optional_value(where, entry, attribute, read)
    if value is None:
        raise EntryError(f"{where}: {attribute} is missing")
    return value


def optional_value(where: str, entry: Entry, attribute: str, read: Callable[[bytes], T]) -> T | None:
    """As :func:`one_value`, but None where there is none."""
    values = entry.get(attribute, [])
    if not values:
        return None
    if len(values) > 1:
        raise EntryError(f"{where}: {attribute} has more than one value")
    try:
        return read(values[0])
    except (ValueError, KeyError):
        raise EntryError(f"{where}: {attribute} does not parse") from None


def natural(value: bytes) -> int:
    """INTEGER from 0 on."""
    return _within(value, 0, 2**62)


def digits(value: bytes) -> int:
    """How many digits a code has."""
    return _within(value, MIN_DIGITS, MAX_DIGITS)


def period(value: bytes) -> int:
    """Seconds of a time step."""
    return _within(value, MIN_PERIOD_SECONDS, MAX_PERIOD_SECONDS)


def drift(value: bytes) -> int:
    """Time steps, of either sign."""
    return _within(value, -(2**31), 2**31)


def _within(value: bytes, least: int, most: int) -> int:
    number = int(value)
    if not least <= number <= most:
        raise ValueError
    return number


def state(value: bytes) -> State:
    """A record's state."""
    if value.decode() not in get_args(State):
        raise ValueError
    return cast("State", value.decode())


def purpose(value: bytes) -> GrantPurpose:
    """What a grant is for."""
    if value.decode() not in get_args(GrantPurpose):
        raise ValueError
    return cast("GrantPurpose", value.decode())


def time(value: bytes) -> float:
    """Seconds since the Unix epoch."""
    return datetime.strptime(value.decode(), _TIME_FORMAT).replace(tzinfo=UTC).timestamp()
