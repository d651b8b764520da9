"""What otpd asks of a directory, and the records that come back.

Consuming is strict: every method that returns a ``bool`` is one compare-and-set on the directory, and True means that
this caller, and nobody else on any host, made the change. Every method raises
:class:`~otpd.errors.DirectoryUnavailable` when the deadline passes or the directory is gone,
:class:`~otpd.errors.EntryError` for an entry that does not parse, and :class:`~otpd.errors.DirectoryError` when the
directory refuses.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol

from otpd.clock import Deadline
from otpd.offline import OfflineProof
from otpd.otp import OtpParameters
from otpd.values import EntryId, ServiceName, TimeStep, UserName

State = Literal["active", "disabled", "suspended"]
"""``suspended`` is a token that was active when its user was disabled as a whole, and will be again."""
Kind = Literal["token", "HOTP token", "app password", "recovery code", "grant", "remembered device", "mailed code"]
"""What a sealed value belongs to."""
GrantPurpose = Literal["enrolment", "bypass"]
"""What an administrator hands out: a ticket to enrol with, or a code that opens the door once."""


@dataclass(frozen=True)
class Use:
    """A use of a token, as it is noted with what it spent.

    ``at`` is in seconds since the Unix epoch, and kept in whole minutes. ``drift`` is how many time steps the device's
    clock was ahead; it is 0 for HOTP.
    """

    at: float
    host: str
    service: ServiceName
    drift: int = 0


@dataclass(frozen=True)
class Token:
    """A device that gives codes.

    ``last_step`` is the last time step, or counter, that was spent; ``created`` is in seconds since the Unix epoch.
    """

    id: EntryId
    label: str
    state: State
    parameters: OtpParameters
    last_step: TimeStep
    created: float
    sealed_seed: bytes = field(repr=False)
    last_use: Use | None = None

    @property
    def drift(self) -> int:
        """How many time steps the device's clock was ahead when it was last used."""
        return self.last_use.drift if self.last_use else 0


@dataclass(frozen=True)
class User:
    """A user's entry and tokens.

    ``failures`` are wrong codes in a row; ``last_failure``, and ``reset``, when all that was known of the user was last
    forgotten, are in seconds since the Unix epoch. ``sealed_mailed_code`` is what is known of the code that was mailed
    last.
    """

    name: UserName
    state: State = "active"
    failures: int = 0
    last_failure: float | None = None
    reset: float | None = None
    tokens: tuple[Token, ...] = ()
    sealed_recovery_codes: tuple[bytes, ...] = field(default=(), repr=False)
    sealed_mailed_code: bytes | None = field(default=None, repr=False)

    @property
    def usable_tokens(self) -> tuple[Token, ...]:
        """The tokens whose codes count."""
        return tuple(token for token in self.tokens if self.state == "active" == token.state)

    @property
    def enrolled(self) -> bool:
        """Whether there is anything to ask for: a user whose tokens are all disabled is enrolled, and is refused."""
        return bool(self.tokens or self.sealed_recovery_codes) or self.state == "disabled"


@dataclass(frozen=True)
class AppPasswordRecord:
    """An app password as it is stored.

    ``services`` are the PAM services it opens; ``networks`` (``address/bits``) those from which alone it does, where
    there are any. ``created`` and ``expires`` are in seconds since the Unix epoch.
    """

    id: EntryId
    label: str
    services: frozenset[ServiceName]
    created: float
    sealed_digest: bytes = field(repr=False)
    expires: float | None = None
    networks: frozenset[str] = frozenset()
    last_use: "AppPasswordUse | None" = None

    @property
    def scope(self) -> tuple[str, ...]:
        """All that limits it, each under its own name, so that none can be taken for another."""
        ends = () if self.expires is None else (f"expires={int(self.expires)}",)
        services = (f"service={service}" for service in self.services)
        return (*services, *ends, *(f"network={network}" for network in self.networks))


@dataclass(frozen=True)
class AppPasswordUse:
    """A use of an app password: ``at``, in seconds since the Unix epoch and kept in whole minutes, and from where."""

    at: float
    host: str
    service: ServiceName
    address: str = ""


@dataclass(frozen=True)
class Device:
    """An address from which a user is not asked for a code again, at one group of services.

    ``created`` and ``expires`` are whole seconds since the Unix epoch.
    """

    id: EntryId
    address: str
    group: str
    created: float
    expires: float
    sealed_digest: bytes = field(repr=False)


@dataclass(frozen=True)
class Grant:
    """Something that an administrator handed out for once.

    ``created`` and ``expires`` are whole seconds since the Unix epoch. ``hosts`` are those on which a bypass is good.
    """

    id: EntryId
    purpose: GrantPurpose
    created: float
    expires: float
    hosts: frozenset[str]
    sealed_digest: bytes = field(repr=False)


@dataclass(frozen=True)
class Summary:
    """What the directory knows of one user, in numbers, for who looks at all of them.

    ``usable_tokens`` are those of ``tokens`` whose codes count. ``has_recovery_codes`` says whether any is left.
    """

    name: UserName
    disabled: bool = False
    failures: int = 0
    tokens: int = 0
    usable_tokens: int = 0
    has_recovery_codes: bool = False
    app_passwords: int = 0


@dataclass(frozen=True)
class SealedValue:
    """A sealed value and where it stands: what it belongs to, below which user, in which entry.

    ``place`` is the directory's own name for the entry. ``user`` and ``id`` are empty where it does not show them; such
    a value opens nowhere.
    """

    user: UserName
    id: EntryId
    kind: Kind
    place: str
    sealed: bytes = field(repr=False)


@dataclass(frozen=True)
class SealedValues:
    """What a search for sealed values found, and whether there are more."""

    values: tuple[SealedValue, ...]
    more: bool


class Directory(Protocol):
    """otpd's own subtree."""

    @property
    def offline(self) -> bool:
        """Whether what it says is what this host remembers, since the servers are away."""
        ...

    def attempt(self, proof: OfflineProof | None) -> "Directory":
        """The directory for one attempt at proving something.

        Its first read decides, for all of the attempt, whether the servers answer, or, where ``[offline]`` admits
        ``proof``, what this host remembers. Without ``proof`` it is always the servers.
        """
        ...

    def user(self, name: UserName, deadline: Deadline) -> User | None:
        """The user's entry with all tokens, or None; as the server knows it that takes the writes."""
        ...

    def app_password(
        self, name: UserName, app_id: EntryId, deadline: Deadline
    ) -> tuple[User | None, AppPasswordRecord | None]:
        """The user's entry (without tokens) and one app password."""
        ...

    def app_passwords(self, name: UserName, deadline: Deadline) -> tuple[AppPasswordRecord, ...]:
        """All app passwords of the user, oldest first; as the server knows it that takes the writes."""
        ...

    def ensure_user(self, name: UserName, deadline: Deadline) -> None:
        """Make the user's entry where there is none."""
        ...

    def add_token(self, name: UserName, token: Token, deadline: Deadline) -> bool:
        """Add a token below the user's entry; False when there is one of that id."""
        ...

    def spend_step(
        self, name: UserName, token: Token, step: TimeStep, deadline: Deadline, use: Use | None = None
    ) -> bool:
        """Move the token's last step from ``token.last_step`` to ``step`` if the token is active. Note ``use``."""
        ...

    def set_failures(self, name: UserName, old: int, new: int, at: float, deadline: Deadline) -> bool:
        """Move the failure count from ``old`` to ``new``, noting the moment ``at``."""
        ...

    def set_state(self, name: UserName, state: State, deadline: Deadline) -> None:
        """Set the state of the user: ``disabled`` suspends what is active below, ``active`` undoes that."""
        ...

    def summaries(self, deadline: Deadline) -> tuple[Summary, ...]:
        """All users, in one walk over the whole subtree; it takes its time."""
        ...

    def clear_user(self, name: UserName, at: float, deadline: Deadline) -> None:
        """Remove all below the user's entry, which must be there, and note the moment ``at`` as that of the reset.

        The moment is noted first, so that an enrolment which was begun before is not finished meanwhile. Who is
        disabled stays so.
        """
        ...

    def remove_user(self, name: UserName, deadline: Deadline) -> bool:
        """Remove the user's entry and all below it; False when there is none."""
        ...

    def set_token_state(self, name: UserName, token: Token, state: State, deadline: Deadline) -> bool:
        """Move a token from ``token.state`` to ``state``."""
        ...

    def rename_token(self, name: UserName, token_id: EntryId, label: str, deadline: Deadline) -> bool:
        """Give a token another label; False when there is none of that id."""
        ...

    def remove_token(self, name: UserName, token_id: EntryId, deadline: Deadline) -> bool:
        """Remove a token; False when there is none of that id."""
        ...

    def set_recovery_codes(self, name: UserName, sealed: Sequence[bytes], created: float, deadline: Deadline) -> None:
        """Put ``sealed`` in the place of all recovery codes of the user, whose entry must be there."""
        ...

    def spend_recovery_code(self, name: UserName, sealed: bytes, deadline: Deadline) -> bool:
        """Take one recovery code away, if it is still there and not suspended."""
        ...

    def set_mailed_code(self, name: UserName, old: bytes | None, new: bytes, deadline: Deadline) -> bool:
        """Put ``new`` in the place of ``old``, which is what was known of the code that was mailed last.

        Without ``old``, where nothing is known yet. The user's entry must be there, and not be disabled.
        """
        ...

    def add_app_password(self, name: UserName, record: AppPasswordRecord, deadline: Deadline) -> bool:
        """Add an app password below the user's entry; False when there is one of that id."""
        ...

    def rename_app_password(self, name: UserName, app_id: EntryId, label: str, deadline: Deadline) -> bool:
        """Give an app password another label; False when there is none of that id."""
        ...

    def note_use(self, name: UserName, record: AppPasswordRecord, use: AppPasswordUse, deadline: Deadline) -> bool:
        """Note that it was used, if nobody has since ``record`` was read."""
        ...

    def remove_app_password(self, name: UserName, app_id: EntryId, deadline: Deadline) -> bool:
        """Remove an app password; False when there is none of that id."""
        ...

    def devices(self, name: UserName, deadline: Deadline) -> tuple[Device, ...]:
        """All remembered devices of the user, expired ones too; as the server knows them that takes the writes."""
        ...

    def put_device(self, name: UserName, device: Device, deadline: Deadline) -> None:
        """Add a remembered device, in the place of the one that has its id."""
        ...

    def forget_device(self, name: UserName, device_id: EntryId, deadline: Deadline) -> bool:
        """Remove a remembered device; False when there is none of that id."""
        ...

    def grants(self, name: UserName, deadline: Deadline) -> tuple[Grant, ...]:
        """All grants of the user, expired ones too, oldest first; as the server knows them that takes the writes."""
        ...

    def add_grant(self, name: UserName, grant: Grant, deadline: Deadline) -> bool:
        """Add a grant below the user's entry; False when there is one of that id."""
        ...

    def take_grant(self, name: UserName, grant_id: EntryId, deadline: Deadline) -> bool:
        """Remove a grant, whose id is never used again: True for one caller alone."""
        ...

    def sealed_with(self, key_id: str, limit: int, deadline: Deadline) -> SealedValues:
        """The values that name the key ``key_id``, in at most ``limit`` entries of all users.

        As the server knows them that takes the writes.
        """
        ...

    def sealed_without(self, key_ids: tuple[str, ...], limit: int, deadline: Deadline) -> SealedValues:
        """The values that name none of ``key_ids``, in at most ``limit`` entries.

        It may look at every entry, and take its time. Of several values in one entry, some of which name one of
        ``key_ids``, it need not find the others.
        """
        ...

    def reseal(self, value: SealedValue, sealed: bytes, deadline: Deadline) -> bool:
        """Put ``sealed`` in the place of ``value``, if that still stands there."""
        ...
