"""A factor of its own, as docs/factors.md says how to add one: otpd with a second word in its table.

Run it as otpd. It knows a user by the day of the week, which is no secret: it shows how little a factor is made of.
"""

from dataclasses import dataclass
from datetime import UTC, datetime

from otpd import daemon, factors
from otpd.factor import Attempt, Outcome, Parts, Reason
from otpd.policy import ProofName


@dataclass(frozen=True)
class Weekday:
    proof: ProofName = ProofName("weekday")  # noqa: RUF009 - a str
    prompt: str = "Day of the week: "
    offline: None = None

    def claims(self, typed: bytes) -> bool:
        return typed.endswith(b"day")

    def verify(self, attempt: Attempt, parts: Parts) -> Outcome:
        today = datetime.fromtimestamp(parts.clock.wall(), UTC).strftime("%A").lower().encode()
        return Outcome(Reason.ACCEPTED if attempt.typed.reveal().lower() == today else Reason.NO_PROOF)


factors.FACTORS = (*factors.FACTORS, Weekday())  # type: ignore[misc] - in the tree, it is a line of the table itself
daemon.main()
