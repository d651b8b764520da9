"""An app password: for a program that cannot be asked for a code, at the services it was made for."""

from dataclasses import dataclass

from otpd import app_password, policy
from otpd.factor import Attempt, Outcome, Parts, Reason
from otpd.offline import OfflineProof
from otpd.policy import ProofName
from otpd.symbols import Typo

DIGEST_PURPOSE = "app password"


@dataclass(frozen=True)
class AppPasswordFactor:
    """The factor ``app-password``. 130 random bits cannot be guessed, so nothing is counted.

    A mail client that goes on trying a revoked one must not throttle its owner.
    """

    proof: ProofName = policy.APP_PASSWORD
    prompt: str = "Password: "
    offline: OfflineProof | None = "app-password"

    def claims(self, typed: bytes) -> bool:
        """Whatever starts with the prefix."""
        return app_password.looks_like_one(typed)

    def verify(self, attempt: Attempt, parts: Parts) -> Outcome:
        """Look up the one entry that it names, and compare."""
        try:
            offered = app_password.parse(attempt.typed.reveal())
        except Typo:
            return Outcome(Reason.TYPO)
        user, record = parts.directory.app_password(attempt.user, offered.id, attempt.deadline)
        if user is None or record is None:
            return Outcome(Reason.NO_SUCH_APP_PASSWORD)
        if user.state == "disabled":
            return Outcome(Reason.DISABLED)
        digest = parts.keys.open(DIGEST_PURPOSE, (attempt.user, offered.id), record.sealed_digest)
        if digest != app_password.digest(offered, record.services):  # Secret compares in constant time
            return Outcome(Reason.WRONG_APP_PASSWORD)
        if attempt.service not in record.services:
            return Outcome(Reason.OTHER_SERVICE, detail=f"app password {record.id}")
        return Outcome(Reason.ACCEPTED, detail=f"app password {record.id}")


APP_PASSWORD = AppPasswordFactor()
