"""What a management verb is made of."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from otpd.clock import Deadline
from otpd.directory import User
from otpd.enrolment import Enrolments
from otpd.factor import Outcome, Parts, Reason
from otpd.identity import Accounts, Peer
from otpd.inspection import Inspector
from otpd.offline import OfflineView
from otpd.policy import Policy
from otpd.texts import _, mark
from otpd.ticket import Tickets
from otpd.values import ServiceName, UserName

SERVICE: Final = ServiceName("otpctl")
"""Under this name management appears in the audit log."""

_REFUSED: Final = {
    Reason.USED_CODE: mark("This code was already used. Wait for the next one."),
    Reason.THROTTLED: mark("Too many wrong codes. Wait a while; otpctl status says how long."),
    Reason.DISABLED: mark("The second factor is disabled. Ask your administrator."),
    Reason.NO_PROOF: mark("This is not a code."),
    Reason.TYPO: mark("There is a typo in this recovery code."),
}


def refusal_text(outcome: Outcome, otherwise: str) -> str:
    """What is said at the shell of a proof that was refused."""
    return outcome.info or _(_REFUSED.get(outcome.reason, otherwise))


@dataclass(frozen=True)
class Refused:
    """A refusal: ``reason`` is a stable word for programs, ``message`` a sentence for people."""

    reason: str
    message: str
    details: Mapping[str, str] = field(default_factory=dict)


def reset_meanwhile() -> Refused:
    """Said of what was added, and taken back: see :meth:`Call.outlives_a_reset`."""
    return Refused("overtaken", _("An administrator reset your second factor meanwhile. Enrol again: otpctl enroll"))


@dataclass(frozen=True)
class Context:
    """What the verbs work with; ``app_passwords`` is how many a user may have."""

    policy: Policy
    accounts: Accounts
    parts: Parts
    tickets: Tickets
    enrolments: Enrolments
    inspector: Inspector
    offline: OfflineView | None = None
    app_passwords: int = 30


@dataclass(frozen=True)
class Call:
    """One call, after permission and proof were checked: ``peer`` acts for ``user``.

    ``grant`` is the id of the enrolment ticket that was the proof, if one was; ``reset`` is when the user had last been
    reset before it was judged.
    """

    peer: Peer
    user: UserName
    fields: Mapping[str, str] = field(repr=False)
    deadline: Deadline = field(repr=False)
    grant: str = ""
    reset: float | None = None

    def outlives_a_reset(self, user: User | None) -> bool:
        """Whether ``user`` was reset since the proof: what was added on its strength must go again."""
        return not self.peer.is_root and (user is None or user.reset != self.reset)


@dataclass(frozen=True)
class Field:
    """A field of a verb's body; all are strings."""

    limit_bytes: int
    required: bool = False


@dataclass(frozen=True)
class Verb:
    """A verb: its code, its fields beside ``user`` and ``proof``, and what stands before it.

    ``proof`` is what a peer other than root must give: a current code; or, to enrol, an enrolment ticket, or the
    account password of who has no token yet.
    ``gone_users`` says that it is of use for names that NSS does not know any more.
    ``check`` refuses, before a proof is asked for and a code spent, what could not be done anyway. ``least_seconds`` is
    for what takes longer than logins may: its deadline is no nearer than that, whatever the configuration says.
    """

    handler: Callable[[Context, Call], dict[str, Any] | Refused]
    fields: Mapping[str, Field] = field(default_factory=dict)
    proof: Literal["", "code", "to enrol"] = ""
    root_only: bool = False
    gone_users: bool = False
    least_seconds: float = 0.0
    check: Callable[[Context, Call], Refused | None] = lambda _context, _call: None
