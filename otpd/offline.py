"""The offline rule: what a host may decide by itself while the directory is away, and for how long. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Final, Literal, Protocol

OfflineProof = Literal["code", "app-password"]
"""A kind of proof by the records that it needs: tokens, or app passwords."""

OFFLINE_PROOFS: Final[tuple[OfflineProof, ...]] = ("code", "app-password")


@dataclass(frozen=True)
class OfflineRule:
    """``[offline]``: for how many hours, which proofs, of how many users at most; 0 hours is off."""

    hours: int = 0
    accept: tuple[OfflineProof, ...] = OFFLINE_PROOFS
    users: int = 10_000

    def ends(self, contact: "Contact") -> float:
        """When the host stops deciding by itself, in seconds since the Unix epoch; 0 where it never knew anything."""
        return contact.at + self.hours * 3600 if contact.at else 0.0


@dataclass(frozen=True)
class Contact:
    """When this host heard of the directory. All are seconds since the Unix epoch, as this host's clock showed them.

    ``at`` is when the write provider last answered (0: never), ``latest`` the latest moment that the host has seen,
    and ``away`` says since when there is no answer for which proof.
    """

    at: float = 0.0
    latest: float = 0.0
    away: Mapping[OfflineProof, float] = field(default_factory=dict)

    def answered(self, wall: float) -> "Contact":
        """The provider answers at ``wall``; a clock that was wrong before is forgotten."""
        return replace(self, at=wall, latest=wall)

    def lost(self, proof: OfflineProof, now: float) -> "Contact":
        """No answer any more, as of ``now``; where there was none before, nothing changes."""
        return self if proof in self.away else replace(self, away={**self.away, proof: now})

    def back(self, proof: OfflineProof) -> "Contact":
        """Answers again."""
        return replace(self, away={other: since for other, since in self.away.items() if other != proof})


@dataclass
class HostTime:
    """The time that counts against the limit: it goes on when somebody sets the host's clock back.

    It starts at the latest moment that the host remembers, or now, and goes as fast as the monotonic clock at least.
    """

    latest: float
    monotonic: float

    def at(self, wall: float, monotonic: float) -> float:
        """Seconds since the Unix epoch, when the host's clocks show ``wall`` and ``monotonic``."""
        return max(wall, self.latest + monotonic - self.monotonic)


@dataclass(frozen=True)
class OfflineReport:
    """What the host remembers.

    ``away`` is that of :class:`Contact`, ``ends`` is the rule's, and ``accept`` too, until then. ``users`` are known,
    and of ``unsettled`` of them the directory lacks something. ``fault`` is why none of it can be read.
    """

    away: Mapping[OfflineProof, float] = field(default_factory=dict)
    accept: tuple[OfflineProof, ...] = ()
    ends: float = 0.0
    users: int = 0
    unsettled: int = 0
    fault: str = ""


class OfflineView(Protocol):
    """Reads the report, in any process of this host."""

    def report(self) -> OfflineReport:
        """As it is now; it never raises."""
        ...
