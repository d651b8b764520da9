"""A code of one of the user's TOTP tokens (RFC 6238), spent once over the whole fleet."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

from otpd import otp
from otpd.directory import Token, User
from otpd.factor import Attempt, Outcome, Parts, Reason
from otpd.guesses import Guesses, Spend
from otpd.offline import OfflineProof
from otpd.policy import ProofName
from otpd.values import TimeStep

SEED_PURPOSE = "totp seed"


@dataclass(frozen=True)
class Code:
    """The codes of authenticator apps."""

    proof: ProofName = "code"
    prompt: str = "Verification code: "
    offline: OfflineProof | None = "code"

    def claims(self, typed: bytes) -> bool:
        """Six to eight digits."""
        return otp.parse_code(typed) is not None

    def verify(self, attempt: Attempt, parts: Parts) -> Outcome:
        """Find the token and time step that the code belongs to, and spend the step."""
        code = otp.parse_code(attempt.typed.reveal())
        if code is None:
            return Outcome(Reason.NO_PROOF)
        user = parts.directory.user(attempt.user, attempt.deadline)
        if user is None or not user.enrolled:
            return Outcome(Reason.NOT_ENROLLED)
        if not user.usable_tokens:
            return Outcome(Reason.DISABLED)

        def find() -> list[Spend]:
            return [partial(_spend, user, token, step, attempt, parts) for token, step in _matches(user, code, parts)]

        guesses = Guesses(parts.directory, parts.clock, user, attempt.deadline)
        return guesses.judge(find, wrong=Reason.WRONG_CODE, used=Reason.USED_CODE)


def _matches(user: User, code: str, parts: Parts) -> Iterator[tuple[Token, TimeStep]]:
    """Every token and step that ``code`` is right for, whether spent or not."""
    for token in user.usable_tokens:
        if len(code) != token.parameters.digits:
            continue
        seed = parts.keys.open(SEED_PURPOSE, (user.name, token.id), token.sealed_seed)
        now = otp.time_step(token.parameters, parts.clock.wall())
        for step in otp.matching_steps(seed, token.parameters, code, now, parts.window_steps):
            yield token, step


def _spend(user: User, token: Token, step: TimeStep, attempt: Attempt, parts: Parts) -> Outcome | None:
    """Spend ``step``: this caller alone, on any host, gets an outcome.

    Another host may have spent an earlier step since ``token`` was read. Then the token is read again, and the step is
    still good; each round, the last step has moved on, so it ends.
    """
    current: Token | None = token
    while current is not None and current.state == "active" and step > current.last_step:
        if parts.directory.spend_step(user.name, current, step, attempt.deadline):
            return Outcome(Reason.ACCEPTED, detail=f"token {token.id}")
        fresh = parts.directory.user(user.name, attempt.deadline)
        usable = fresh.usable_tokens if fresh else ()
        current = next((other for other in usable if other.id == token.id), None)
    return None


CODE = Code()
