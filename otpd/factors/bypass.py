"""A bypass code: break-glass, from an administrator's hand. It opens named hosts' doors, once, until it expires."""

from dataclasses import dataclass

from otpd import grants, handout, policy
from otpd.factor import Attempt, Outcome, Parts, Reason
from otpd.offline import OfflineProof
from otpd.policy import ProofName
from otpd.symbols import Typo
from otpd.texts import _, mark


@dataclass(frozen=True)
class Bypass:
    """Typed at the prompt for a code of a login; no proof towards otpctl. 70 random bits: nothing is counted."""

    proof: ProofName = policy.BYPASS
    prompt: str = mark("Verification code: ")
    offline: OfflineProof | None = None

    def claims(self, typed: bytes) -> bool:
        """Sixteen letters and digits."""
        return handout.looks_like_one(typed)

    def verify(self, attempt: Attempt, parts: Parts) -> Outcome:
        """Find it, and take it away."""
        try:
            grant = grants.find(parts, attempt.user, "bypass", attempt.typed, attempt.deadline)
        except Typo:
            return Outcome(Reason.TYPO)
        if grant is None:
            return Outcome(Reason.WRONG_BYPASS)
        user = parts.directory.user(attempt.user, attempt.deadline)
        if user is None or user.state == "disabled":
            return Outcome(Reason.DISABLED)
        host = parts.host.lower()
        if not grant.hosts & {host, host.partition(".")[0]}:
            return Outcome(Reason.OTHER_HOST, detail=f"bypass {grant.id}")
        if not parts.directory.take_grant(attempt.user, grant.id, attempt.deadline):
            return Outcome(Reason.WRONG_BYPASS)
        grants.record("bypass used", attempt.user, grant, service=attempt.service, host=parts.host)
        told = _(
            "You were let in by a bypass code, which is used up. If you did not ask for one, tell your administrator."
        )
        return Outcome(Reason.ACCEPTED, detail=f"bypass {grant.id}", info=told)


BYPASS = Bypass()
