"""One-time codes: HOTP (RFC 4226) and TOTP (RFC 6238), through pyotp. Pure: the time comes in as a number.

Both are one function of a seed and a moving factor: a counter of the device's in the one, a time step in the other.
Here, both are called steps.
"""

import base64
import binascii
import hashlib
import hmac
import secrets
import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

import pyotp

from otpd.secret import Secret
from otpd.values import TimeStep

Kind = Literal["totp", "hotp"]
Algorithm = Literal["sha1", "sha256", "sha512"]

ALGORITHMS: Final[dict[str, Callable[..., Any]]] = {
    "sha1": hashlib.sha1,
    "sha256": hashlib.sha256,
    "sha512": hashlib.sha512,
}
MIN_DIGITS: Final = 6
MAX_DIGITS: Final = 8
MIN_PERIOD_SECONDS: Final = 15
MAX_PERIOD_SECONDS: Final = 120
# As many bytes as the hash gives: RFC 6238 section 5.1, and appendix A, whose seeds have these lengths.
SEED_BYTES: Final = {"sha1": 20, "sha256": 32, "sha512": 64}
MIN_SEED_BYTES: Final = 16  # RFC 4226 section 4, R6
MAX_SEED_BYTES: Final = 64
_SEPARATORS: Final = str.maketrans("", "", " -\u2010\u2011\u2012\u2013\u2014\u2015\u2212")
_HEX: Final = "hex:"


@dataclass(frozen=True)
class OtpParameters:
    """What both sides must agree on; the defaults are those that every authenticator app assumes.

    ``period_seconds`` is how long a time step takes, or None for HOTP, which counts.
    """

    digits: int = 6
    algorithm: str = "sha1"
    period_seconds: int | None = 30

    @property
    def kind(self) -> Kind:
        """Which of the two it is."""
        return "hotp" if self.period_seconds is None else "totp"


DEFAULT_PARAMETERS: Final = OtpParameters()


@dataclass(frozen=True)
class Windows:
    """How far from the expected step a code may be.

    ``around`` is how many time steps each way (RFC 6238 section 5.2), ``drift`` how many of them the clock of a device
    may be learned to be off, and ``look_ahead`` how many codes may have been made and not used (RFC 4226 section 7.4).
    """

    around: int = 1
    drift: int = 3
    look_ahead: int = 10


def new_seed(algorithm: str) -> Secret:
    """A fresh seed of the length that suits ``algorithm``."""
    return Secret(secrets.token_bytes(SEED_BYTES[algorithm]))


def base32(seed: Secret) -> str:
    """The seed as an authenticator app wants it typed: base32 (RFC 4648) without padding."""
    return base64.b32encode(seed.reveal()).decode().rstrip("=")


def parse_seed(typed: str) -> Secret | None:
    """The seed that a maker of hardware tokens gives as base32, or as ``hex:`` and hex digits; None where it is none.

    Spaces, hyphens, padding and case do not matter.
    """
    bare = typed.translate(_SEPARATORS).rstrip("=")
    try:
        if bare.lower().startswith(_HEX):
            seed = bytes.fromhex(bare[len(_HEX) :])
        else:
            seed = base64.b32decode(bare + "=" * (-len(bare) % 8), casefold=True)
    except (ValueError, binascii.Error):
        return None
    return Secret(seed) if MIN_SEED_BYTES <= len(seed) <= MAX_SEED_BYTES else None


def time_step(period_seconds: int, at_seconds: float) -> TimeStep:
    """RFC 6238 section 4.2: the time step of ``at_seconds`` (since the Unix epoch), with T0 = 0."""
    return TimeStep(int(at_seconds // period_seconds))


def code_at(seed: Secret, parameters: OtpParameters, step: TimeStep) -> str:
    """The code of ``step``, ``parameters.digits`` decimal digits."""
    return _generator(seed, parameters).generate_otp(step)


def matching_steps(seed: Secret, parameters: OtpParameters, code: str, steps: Sequence[int]) -> tuple[TimeStep, ...]:
    """Those of ``steps`` whose code is ``code``, in their order.

    Every step is computed and compared in constant time, whichever of them matches.
    """
    generator = _generator(seed, parameters)
    right = [hmac.compare_digest(generator.generate_otp(step).encode(), code.encode()) for step in steps]
    return tuple(TimeStep(step) for step, matches in zip(steps, right, strict=True) if matches)


def consecutive_steps(
    seed: Secret, parameters: OtpParameters, codes: tuple[str, str], steps: range
) -> tuple[TimeStep, ...]:
    """Those of ``steps`` whose code is the second of ``codes`` while the step before has the first."""
    first = set(matching_steps(seed, parameters, codes[0], range(max(0, steps.start - 1), steps.stop - 1)))
    return tuple(step for step in matching_steps(seed, parameters, codes[1], steps) if step - 1 in first)


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


def provisioning_uri(seed: Secret, parameters: OtpParameters, account: str, issuer: str) -> str:
    """The ``otpauth://`` URI that an authenticator app reads from a QR code."""
    return _generator(seed, parameters).provisioning_uri(name=account, issuer_name=issuer)


def _generator(seed: Secret, parameters: OtpParameters) -> pyotp.HOTP | pyotp.TOTP:
    key, digits, digest = base32(seed), parameters.digits, ALGORITHMS[parameters.algorithm]
    if parameters.period_seconds is None:
        return pyotp.HOTP(key, digits=digits, digest=digest)
    return pyotp.TOTP(key, digits=digits, digest=digest, interval=parameters.period_seconds)
