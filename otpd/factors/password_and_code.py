"""The account password and a code in one answer, for a program that asks only once."""

import re
from dataclasses import dataclass, replace
from typing import Final

from otpd import policy
from otpd.factor import Attempt, Outcome, Parts, Reason
from otpd.factors.code import CODE
from otpd.offline import OfflineProof
from otpd.otp import DEFAULT_PARAMETERS, MIN_DIGITS
from otpd.policy import ProofName
from otpd.secret import Secret
from otpd.texts import mark

_DIGIT: Final = r"[0-9\uff10-\uff19][ \u00a0\u3000\-\u2010-\u2015\u2212]*"
"""One of a code, and what people and phones write behind it."""


@dataclass(frozen=True)
class PasswordAndCode:
    """The factor ``password+code``: as many digits at the end as the user's tokens give are the code.

    What stands between password and code belongs to the password; what stands between the digits, or after, does not.
    """

    proof: ProofName = policy.PASSWORD_AND_CODE
    prompt: str = mark("Password and verification code: ")
    offline: OfflineProof | None = "code"

    def claims(self, typed: bytes) -> bool:
        """Something, then six digits or more."""
        return _split(typed, MIN_DIGITS) is not None

    def verify(self, attempt: Attempt, parts: Parts) -> Outcome:
        """The password first: a wrong one must not cost a code."""
        readings = _readings(attempt, parts)
        right = parts.check_password(attempt.user, [password for password, _code in readings], attempt.deadline)
        for password, code in readings:
            if password == right:
                outcome = CODE.verify(replace(attempt, typed=code), parts)
                return replace(outcome, authtok=password) if outcome.accepted else outcome
        return Outcome(Reason.WRONG_PASSWORD)


def _readings(attempt: Attempt, parts: Parts) -> list[tuple[Secret, Secret]]:
    """What may be password and code in the answer, the longest code first.

    Only a password that ends in digits itself, of a user whose tokens differ in length, makes more than one.
    """
    user, typed = parts.directory.user(attempt.user, attempt.deadline), attempt.typed.reveal()
    lengths = {token.parameters.digits for token in (user.usable_tokens if user else ())}
    found = [reading for digits in sorted(lengths, reverse=True) if (reading := _split(typed, digits))]
    usual = _split(typed, DEFAULT_PARAMETERS.digits)
    return found or ([usual] if usual else [])


def _split(typed: bytes, digits: int) -> tuple[Secret, Secret] | None:
    """The password, and the last ``digits`` digits; None where there are none, or nothing before them."""
    form = re.compile(f"(.+)((?:{_DIGIT}){{{digits}}})", re.DOTALL)
    found = form.fullmatch(typed.decode("utf-8", "surrogateescape"))
    if found is None:
        return None
    password, code = (Secret(part.encode("utf-8", "surrogateescape")) for part in found.groups())
    return password, code


PASSWORD_AND_CODE = PasswordAndCode()
