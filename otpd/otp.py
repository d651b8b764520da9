"""TOTP: RFC 6238 over RFC 4226, through pyotp. Pure: the time comes in as a number."""

import base64
import hashlib
import hmac
import secrets
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import pyotp

from otpd.secret import Secret
from otpd.values import TimeStep

ALGORITHMS: Final[dict[str, Callable[..., Any]]] = {
    "sha1": hashlib.sha1,
    "sha256": hashlib.sha256,
    "sha512": hashlib.sha512,
}
MIN_DIGITS: Final = 6
MAX_DIGITS: Final = 8
_SEPARATORS: Final = str.maketrans("", "", " -\u2010\u2011")
SEED_BYTES: Final = 20  # RFC 4226 section 4, R6 recommends 160 bits


@dataclass(frozen=True)
class TotpParameters:
    """What both sides must agree on; the defaults are those that every authenticator app assumes."""

    digits: int = 6
    algorithm: str = "sha1"
    period_seconds: int = 30


DEFAULT_PARAMETERS: Final = TotpParameters()


def new_seed() -> Secret:
    """A fresh seed of :data:`SEED_BYTES` bytes."""
    return Secret(secrets.token_bytes(SEED_BYTES))


def base32(seed: Secret) -> str:
    """The seed as an authenticator app wants it typed: base32 (RFC 4648) without padding."""
    return base64.b32encode(seed.reveal()).decode().rstrip("=")


def time_step(parameters: TotpParameters, at_seconds: float) -> TimeStep:
    """RFC 6238 section 4.2: the time step of ``at_seconds`` (since the Unix epoch), with T0 = 0."""
    return TimeStep(int(at_seconds // parameters.period_seconds))


def code_at(seed: Secret, parameters: TotpParameters, step: TimeStep) -> str:
    """The code of ``step``, ``parameters.digits`` decimal digits."""
    return _generator(seed, parameters).generate_otp(step)


def matching_steps(
    seed: Secret, parameters: TotpParameters, code: str, now: TimeStep, window_steps: int
) -> tuple[TimeStep, ...]:
    """The steps within ``window_steps`` before and after ``now`` whose code is ``code``, earliest first.

    Every step is computed and compared in constant time, whichever of them matches.
    """
    generator = _generator(seed, parameters)
    steps = [TimeStep(step) for step in range(max(0, now - window_steps), now + window_steps + 1)]
    right = [hmac.compare_digest(generator.generate_otp(step).encode(), code.encode()) for step in steps]
    return tuple(step for step, matches in zip(steps, right, strict=True) if matches)


def parse_code(typed: bytes) -> str | None:
    """What a person typed as plain digits, or None where it cannot be a code of any token.

    Spaces and hyphens between groups and full-width digits are how people and phones write codes.
    """
    try:
        text = unicodedata.normalize("NFKC", typed.decode())
    except UnicodeDecodeError:
        return None
    bare = text.translate(_SEPARATORS)
    return bare if MIN_DIGITS <= len(bare) <= MAX_DIGITS and bare.isascii() and bare.isdigit() else None


def provisioning_uri(seed: Secret, parameters: TotpParameters, account: str, issuer: str) -> str:
    """The ``otpauth://`` URI that an authenticator app reads from a QR code."""
    return _generator(seed, parameters).provisioning_uri(name=account, issuer_name=issuer)


def _generator(seed: Secret, parameters: TotpParameters) -> pyotp.TOTP:
    return pyotp.TOTP(
        base32(seed),
        digits=parameters.digits,
        digest=ALGORITHMS[parameters.algorithm],
        interval=parameters.period_seconds,
    )
