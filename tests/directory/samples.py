"""Records to store, and time to do it in."""

from dataclasses import replace

from otpd.clock import Deadline, SystemClock
from otpd.directory import AppPasswordRecord, Grant, Token
from otpd.otp import OtpParameters
from otpd.values import EntryId, ServiceName, TimeStep

CLOCK = SystemClock()


def soon(seconds: float = 10) -> Deadline:
    return Deadline.after(CLOCK, seconds)


def token(number: int = 1, **other: object) -> Token:
    made = Token(
        id=EntryId(f"00000000-0000-4000-8000-{number:012}"),
        label="phone",
        state="active",
        parameters=OtpParameters(8, "sha256", 60),
        last_step=TimeStep(7),
        created=1_700_000_000.0,
        sealed_seed=b"k1.c2VhbGVk",
    )
    return replace(made, **other)  # type: ignore[arg-type]


def app_password(number: int = 1, **other: object) -> AppPasswordRecord:
    made = AppPasswordRecord(
        id=EntryId(f"app{number:05}"),
        label="mail",
        services=frozenset({ServiceName("imap"), ServiceName("smtp")}),
        created=1_700_000_000.0 + number,
        sealed_digest=b"k1.ZGlnZXN0",
    )
    return replace(made, **other)  # type: ignore[arg-type]


def grant(number: int = 1, **other: object) -> Grant:
    made = Grant(
        id=EntryId(f"grant{number:03}"),
        purpose="bypass",
        created=1_700_000_000.0 + number,
        expires=1_700_000_900.0 + number,
        hosts=frozenset({"web1", "web2.example.org"}),
        sealed_digest=b"k1.ZGlnZXN0",
    )
    return replace(made, **other)  # type: ignore[arg-type]
