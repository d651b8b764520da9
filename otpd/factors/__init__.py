"""The factors, in one table."""

from dataclasses import replace
from typing import Final

from otpd.factor import Attempt, Delivering, Factor, Outcome, Parts, Reason
from otpd.factors.app_password import APP_PASSWORD
from otpd.factors.bypass import BYPASS
from otpd.factors.code import CODE
from otpd.factors.mail import MAIL
from otpd.factors.password_and_code import PASSWORD_AND_CODE
from otpd.factors.recovery_code import RECOVERY_CODE
from otpd.policy import ProofName
from otpd.texts import _

FACTORS: Final[tuple[Factor, ...]] = (APP_PASSWORD, CODE, PASSWORD_AND_CODE, RECOVERY_CODE, BYPASS, MAIL)


def judge(accept: tuple[ProofName, ...], attempt: Attempt, parts: Parts) -> Outcome:
    """Let the first factor of the table that ``accept`` admits and that knows the form decide.

    What looks like an app password with a typo may be an account password that starts like one, so others are heard.
    """
    typed = attempt.typed.reveal()
    outcome = Outcome(Reason.NO_PROOF)
    for factor in FACTORS:
        if factor.proof in accept and factor.claims(typed):
            directory = parts.directory.attempt(factor.offline)
            outcome = factor.verify(attempt, replace(parts, directory=directory))
            outcome = replace(outcome, offline=directory.offline)
            if outcome.reason is not Reason.TYPO:
                break
    return outcome


def proofs() -> tuple[ProofName, ...]:
    """The words that a service's ``accept`` may have."""
    return tuple(dict.fromkeys(factor.proof for factor in FACTORS if factor is not BYPASS))


def prompt_of(proof: ProofName) -> str:
    """What asks for ``proof``."""
    return _(next(factor.prompt for factor in FACTORS if factor.proof == proof))


def offers(accept: tuple[ProofName, ...]) -> tuple[str, ...]:
    """How to ask for what has to be delivered."""
    return tuple(_(factor.offer) for factor in FACTORS if factor.proof in accept and isinstance(factor, Delivering))
