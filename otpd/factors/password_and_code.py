"""The account password and a code in one answer, for a program that asks only once."""

import re
from dataclasses import dataclass, replace
from typing import Final

from otpd.factor import Attempt, Outcome, Parts, Reason
from otpd.factors.code import CODE
from otpd.offline import OfflineProof
from otpd.policy import ProofName
from otpd.secret import Secret

_FORM: Final = re.compile(rb"(.+)([0-9]{6})", re.DOTALL)


@dataclass(frozen=True)
class PasswordAndCode:
    """The factor ``password+code``: the last six digits are the code."""

    proof: ProofName = "password+code"
    prompt: str = "Password and verification code: "
    offline: OfflineProof | None = "code"

    def claims(self, typed: bytes) -> bool:
        """Something, then six digits."""
        return _FORM.fullmatch(typed) is not None

    def verify(self, attempt: Attempt, parts: Parts) -> Outcome:
        """The password first: a wrong one must not cost a code."""
        form = _FORM.fullmatch(attempt.typed.reveal())
        if form is None:
            return Outcome(Reason.NO_PROOF)
        password, code = Secret(form[1]), Secret(form[2])
        if not parts.check_password(attempt.user, password, attempt.deadline):
            return Outcome(Reason.WRONG_PASSWORD)
        outcome = CODE.verify(replace(attempt, typed=code), parts)
        return replace(outcome, authtok=password) if outcome.accepted else outcome


PASSWORD_AND_CODE = PasswordAndCode()
