"""What a factor is: one kind of proof, as a service's ``accept`` names it.

A factor is one file under ``otpd/factors/``, registered in one table there. It judges what was typed and says why; that
reason is for the audit log, and decides whether the person may be told something and whether a guess was made.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol, runtime_checkable

from otpd.clock import Clock, Deadline
from otpd.directory import Directory
from otpd.offline import OfflineProof
from otpd.otp import Windows
from otpd.policy import ProofName
from otpd.seal import KeyRing
from otpd.secret import Secret
from otpd.values import EntryId, ServiceName, UserName


class Reason(StrEnum):
    """Why a proof was accepted or refused, as it stands in the audit log."""

    ACCEPTED = "accepted"
    WRONG_CODE = "wrong code"
    WRONG_RECOVERY_CODE = "wrong or used recovery code"
    USED_CODE = "code already used"
    NO_PROOF = "not a proof that this service accepts"
    TYPO = "a typo in an app password, recovery code, bypass code or mailed code"
    WRONG_BYPASS = "wrong, used or expired bypass code"
    OTHER_HOST = "bypass code of another host"
    MAIL_ASKED_FOR = "asked for a code by mail"
    WRONG_MAILED_CODE = "wrong mailed code"
    NO_MAILED_CODE = "no mailed code that is still good"
    NO_SUCH_APP_PASSWORD = "unknown or revoked app password"  # noqa: S105 - a sentence
    WRONG_APP_PASSWORD = "wrong app password"  # noqa: S105
    EXPIRED_APP_PASSWORD = "expired app password"  # noqa: S105
    OTHER_NETWORK = "app password of another network"
    OTHER_SERVICE = "app password of another service"
    WRONG_PASSWORD = "wrong account password"  # noqa: S105
    NOT_ENROLLED = "not enrolled"
    DISABLED = "disabled"
    THROTTLED = "too many failures, must wait"
    UNKNOWN_USER = "unknown user"


@dataclass(frozen=True)
class Outcome:
    """What a factor found.

    ``authtok`` is the password part of an answer that was accepted, and ``detail`` is for the log. ``info`` is told to
    the person: after a proof that was accepted anywhere, after one that was refused at the shell alone. ``offline``
    says that it was judged by what this host remembers. ``token`` is the token whose code it was; a person may be
    remembered for that, and for nothing else. ``delivery`` is a sentence that is the same for everybody: something was
    asked for that will be delivered, and the person is asked again. That is no try.
    """

    reason: Reason
    authtok: Secret | None = None
    detail: str = ""
    info: str = ""
    offline: bool = False
    token: EntryId | None = None
    delivery: str = ""

    @property
    def accepted(self) -> bool:
        """Whether the proof holds."""
        return self.reason is Reason.ACCEPTED


@dataclass(frozen=True)
class Attempt:
    """Something that somebody typed to prove that they are ``user``.

    ``at_shell`` says that the kernel vouches for them already, since they ask as the user's own uid. ``rhost`` is where
    they come from, as the service has it: an address, a name, or nothing. Of a user whom NSS does not know, ``known``
    is False, and ``user`` a name that no entry has.
    """

    user: UserName
    service: ServiceName
    typed: Secret
    deadline: Deadline
    at_shell: bool = False
    rhost: str = ""
    known: bool = True


class Aside(Protocol):
    """Does later, or not at all, what nobody waits for."""

    def __call__(self, work: Callable[[Deadline], object]) -> bool:
        """Come back at once: False where there is too much to do already."""
        ...


class PasswordCheck(Protocol):
    """Which account password is right; raises :class:`~otpd.errors.HelperError` when that cannot be told."""

    def __call__(self, user: UserName, passwords: Sequence[Secret], deadline: Deadline) -> Secret | None:
        """The one of up to three that is right, if one is. All together they are one try."""
        ...


class Mailer(Protocol):
    """Sends mail to users."""

    def __call__(self, user: UserName, subject: str, text: str, deadline: Deadline) -> None:
        """Come back when a server has taken it; raises :class:`~otpd.errors.MailError`, which says why none did."""
        ...


@dataclass(frozen=True)
class Post:
    """What it takes to mail codes: who sends them, in whose time, and for how many seconds each is good."""

    send: Mailer
    aside: Aside
    valid_seconds: int


@dataclass(frozen=True)
class Parts:
    """What factors work with.

    ``host`` is this host's name: where a token is used, and what a bypass is good for. ``unused_seconds`` is after how
    long without use an app password ends (0: never). Without ``post``, nothing is mailed.
    """

    directory: Directory
    keys: KeyRing
    clock: Clock
    check_password: PasswordCheck
    windows: Windows
    host: str
    aside: Aside
    unused_seconds: float = 0.0
    post: Post | None = None


class Factor(Protocol):
    """One kind of proof."""

    @property
    def proof(self) -> ProofName:
        """The word in a service's ``accept`` that admits it."""
        ...

    @property
    def prompt(self) -> str:
        """What it asks with."""
        ...

    @property
    def offline(self) -> OfflineProof | None:
        """The word in ``[offline]`` that admits it while the directory is away; None where nothing does."""
        ...

    def claims(self, typed: bytes) -> bool:
        """Whether what was typed has this factor's form; it is then judged by this one alone."""
        ...

    def verify(self, attempt: Attempt, parts: Parts) -> Outcome:
        """Judge it; blocking, within the attempt's deadline. Raises what the directory and the seal raise."""
        ...


@runtime_checkable
class Delivering(Factor, Protocol):
    """A factor whose proof is delivered once it is asked for."""

    @property
    def offer(self) -> str:
        """What is said before the first prompt: how to ask for it."""
        ...
