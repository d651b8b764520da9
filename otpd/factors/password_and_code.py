"""The account password and a code in one answer, for a program that asks only once."""

import re
from dataclasses import dataclass, replace
from typing import Final

from otpd import policy
from otpd.factor import Attempt, Outcome, Parts, Reason
from otpd.factors.code import CODE
from otpd.offline import OfflineProof
from otpd.otp import DEFAULT_PARAMETERS
from otpd.policy import ProofName
from otpd.secret import Secret
from otpd.texts import mark

_FORM: Final = re.compile(rb".+[0-9]{6}", re.DOTALL)


@dataclass(frozen=True)
class PasswordAndCode:
    """The factor ``password+code``: as many digits at the end as the user's tokens give are the code."""

    proof: ProofName = policy.PASSWORD_AND_CODE
    prompt: str = mark("Password and verification code: ")
    offline: OfflineProof | None = "code"

    def claims(self, typed: bytes) -> bool:
        """Something, then six digits or more."""
        return _FORM.fullmatch(typed) is not None

    def verify(self, attempt: Attempt, parts: Parts) -> Outcome:
        """The password first: a wrong one must not cost a code."""
        typed = attempt.typed.reveal()
        for digits in _lengths(attempt, parts):
            password, code = Secret(typed[:-digits]), Secret(typed[-digits:])
            if parts.check_password(attempt.user, password, attempt.deadline):
                outcome = CODE.verify(replace(attempt, typed=code), parts)
                return replace(outcome, authtok=password) if outcome.accepted else outcome
        return Outcome(Reason.WRONG_PASSWORD)


def _lengths(attempt: Attempt, parts: Parts) -> list[int]:
    """How many digits of the answer may be the code, the most first.

    Only a password that ends in digits itself, of a user whose tokens differ in length, fits more than one.
    """
    user, typed = parts.directory.user(attempt.user, attempt.deadline), attempt.typed.reveal()
    lengths = {token.parameters.digits for token in (user.usable_tokens if user else ())}
    fitting = [digits for digits in lengths if len(typed) > digits and typed[-digits:].isdigit()]
    return sorted(fitting, reverse=True) or [DEFAULT_PARAMETERS.digits]


PASSWORD_AND_CODE = PasswordAndCode()
