"""A recovery code: what is left to a person whose phone is gone. Each works once, over the whole fleet."""

from dataclasses import dataclass
from functools import partial

from otpd import policy, recovery
from otpd.clock import Deadline
from otpd.directory import User
from otpd.factor import Attempt, Outcome, Parts, Reason
from otpd.guesses import Guesses, Spend
from otpd.offline import OfflineProof
from otpd.policy import ProofName
from otpd.secret import Secret
from otpd.symbols import Typo
from otpd.texts import _, mark, plural
from otpd.values import UserName

RECOVERY_PURPOSE = "recovery code"
FEW = 3
_TRIES = 3  # a key does not change twice in the time of a login


@dataclass(frozen=True)
class RecoveryCode:
    """Typed at the prompt for a code, wherever a code is accepted."""

    proof: ProofName = policy.CODE
    prompt: str = mark("Verification code: ")
    offline: OfflineProof | None = None

    def claims(self, typed: bytes) -> bool:
        """Twelve letters and digits."""
        return recovery.looks_like_one(typed)

    def verify(self, attempt: Attempt, parts: Parts) -> Outcome:
        """Find the code among those that are left, and take it away."""
        try:
            digest = recovery.digest(attempt.typed.reveal())
        except Typo:
            return Outcome(Reason.TYPO)
        user = parts.directory.user(attempt.user, attempt.deadline)
        if user is None or not user.enrolled:
            return Outcome(Reason.NOT_ENROLLED)
        if user.state == "disabled":
            return Outcome(Reason.DISABLED)

        def find() -> list[Spend]:
            return [partial(_spend, user, digest, attempt, parts)] if _right(user, digest, parts) else []

        guesses = Guesses(parts.directory, parts.clock, user, attempt.deadline)
        return guesses.judge(find, wrong=Reason.WRONG_RECOVERY_CODE, used=Reason.WRONG_RECOVERY_CODE)


def new_recovery_codes(user: UserName, parts: Parts, deadline: Deadline) -> tuple[Secret, ...]:
    """A fresh set, as it is shown, in the place of whatever is left of the last one."""
    codes = recovery.generate()
    sealed = [parts.keys.seal(RECOVERY_PURPOSE, (user,), recovery.digest(code.reveal())) for code in codes]
    parts.directory.set_recovery_codes(user, sealed, parts.clock.wall(), deadline)
    return tuple(codes)


def take_back(user: User, codes: tuple[Secret, ...], parts: Parts, deadline: Deadline) -> None:
    """Forget ``codes``, and none of another set."""
    for code in codes:
        for sealed in _right(user, recovery.digest(code.reveal()), parts):
            parts.directory.spend_recovery_code(user.name, sealed, deadline)


def _right(user: User, digest: Secret, parts: Parts) -> list[bytes]:
    """The value that stands for the code; every one is opened and compared, in constant time, whichever it is."""
    return [
        sealed
        for sealed in user.sealed_recovery_codes
        if parts.keys.open(RECOVERY_PURPOSE, (user.name,), sealed) == digest
    ]


def _spend(user: User, digest: Secret, attempt: Attempt, parts: Parts) -> Outcome | None:
    """Take the code away.

    Its value may have been sealed with another key since ``user`` was read. Then it is still there, and looked for
    again.
    """
    current: User | None = user
    for _round in range(_TRIES):
        right = _right(current, digest, parts) if current else []
        if not current or not right:
            return None
        if parts.directory.spend_recovery_code(current.name, right[0], attempt.deadline):
            left = len(current.sealed_recovery_codes) - 1
            return Outcome(Reason.ACCEPTED, detail=f"recovery code, {left} left", info=_told(left))
        current = parts.directory.user(user.name, attempt.deadline)
    return None


def _told(left: int) -> str:
    used = _("You used a recovery code.")
    many = plural("{count} of them is left.", "{count} of them are left.", left) if left else _("None is left.")
    return " ".join((used, many, _("Make new ones: otpctl recovery-codes")) if left <= FEW else (used, many))


RECOVERY_CODE = RecoveryCode()
