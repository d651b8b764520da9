"""Enrolling a token, in two steps; otpctl and the login share it.

The first shows a seed, or takes the one of a hardware key, and writes nothing: the enrolment travels in a ticket. The
second takes a code that proves that both sides have the same, and writes the token with that code's step as spent. A
user's first token has an id that follows from the user's name, so that of two first enrolments at the same time, on any
hosts, one Add succeeds (RFC 4511 section 4.7).
"""

import uuid
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Final, Literal

from otpd import audit, grants, moving_factor, otp, remembered
from otpd.clock import Deadline
from otpd.directory import Token, User
from otpd.errors import DirectoryError
from otpd.factor import Parts
from otpd.factors.code import open_seed, seal_seed, steps_of
from otpd.factors.recovery_code import new_recovery_codes, take_back
from otpd.otp import DEFAULT_PARAMETERS, OtpParameters
from otpd.secret import Secret
from otpd.symbols import Typo
from otpd.texts import _, mark
from otpd.values import EntryId, TimeStep, UserName

_NAMESPACE: Final = uuid.UUID("aae1f399-e961-4f88-b936-69224b12d696")  # the schema's arc
_WINDOW_STEPS: Final = 1
_UNUSED: Final = TimeStep(-1)
MAX_TOKENS: Final = 20  # so that a list of them fits into a message


@dataclass(frozen=True)
class Pending:
    """An enrolment that was begun: what travels in a ticket.

    ``usable`` are the tokens that the user had then, any of which may have been the proof. ``reset`` is when the user
    had last been reset, and ``grant`` the id of the enrolment ticket that is taken at the end, if one was the proof.
    """

    token: str
    first: bool
    label: str
    parameters: OtpParameters
    sealed_seed: str = field(repr=False)
    reset: float | None
    grant: str
    usable: tuple[str, ...] = ()

    def to_ticket(self) -> dict[str, Any]:
        """Itself as what JSON can hold."""
        return asdict(self)

    @classmethod
    def from_ticket(cls, raw: dict[str, Any]) -> "Pending":
        """What :meth:`to_ticket` was called on."""
        return cls(**{**raw, "parameters": OtpParameters(**raw["parameters"])})


@dataclass(frozen=True)
class Begun:
    """What is shown: the secret in base32, and the URI for the QR code."""

    pending: Pending
    secret: str = field(repr=False)
    uri: str = field(repr=False)


@dataclass(frozen=True)
class Finished:
    """The token that was activated, and recovery codes to be shown once: none where the user has some already."""

    token: EntryId
    recovery_codes: tuple[Secret, ...]


@dataclass(frozen=True)
class Unfinished:
    """Why an enrolment was not finished: a word for programs, and a sentence for people."""

    reason: Literal["disabled", "overtaken", "wrong-code", "ticket-used"]
    sentence: str
    off: str = ""

    @property
    def text(self) -> str:
        """The sentence, in the current language."""
        return _(self.sentence, off=self.off)


DISABLED: Final = Unfinished("disabled", mark("The second factor is disabled. Ask your administrator."))
OVERTAKEN: Final = Unfinished(
    "overtaken", mark("Another enrolment, or a reset, came between, so this one was not activated.")
)
TICKET_USED: Final = Unfinished(
    "ticket-used", mark("The enrolment ticket was used meanwhile. Ask your administrator for another.")
)
_WRONG: Final = {
    "totp": mark("Wrong code. Check that the clock of your phone is right, and try the next one."),
    "hotp": mark("Wrong code. Try the next one, and the one after it, if the key was used before."),
    "clock": mark("The clock of your device is {off}. Set it, and try the next code."),
}


@dataclass(frozen=True)
class Enrolments:
    """Begins and finishes enrolments.

    ``issuer`` is what authenticator apps show, ``parameters`` what they are enrolled with where nothing is chosen.
    """

    parts: Parts
    issuer: str
    parameters: OtpParameters = DEFAULT_PARAMETERS

    def begin(
        self,
        name: UserName,
        deadline: Deadline,
        *,
        label: str = "",
        grant: str = "",
        parameters: OtpParameters | None = None,
        seed: Secret | None = None,
    ) -> Begun:
        """A seed for the user, fresh where none is given; ``grant`` is the id of the ticket that was the proof."""
        user = self.parts.directory.user(name, deadline)
        chosen = parameters or self.parameters
        first = user is None or not user.enrolled
        token_id = first_token_id(name) if first else EntryId(str(uuid.uuid4()))
        seed = seed or otp.new_seed(chosen.algorithm)
        pending = Pending(
            token=token_id,
            first=first,
            label=label,
            parameters=chosen,
            sealed_seed=seal_seed(name, token_id, chosen, seed, self.parts).decode("ascii"),
            reset=user.reset if user else None,
            grant=grant,
            usable=tuple(token.id for token in user.usable_tokens) if user and not grant else (),
        )
        return Begun(pending, otp.base32(seed), otp.provisioning_uri(seed, chosen, name, self.issuer))

    def finish(
        self, name: UserName, pending: Pending, code: bytes, deadline: Deadline, before: bytes = b""
    ) -> Finished | Unfinished:
        """Activate the token, if ``code`` is right: once, whoever else tries the same.

        ``before`` is the code that was given before it: two in a row tell how far an HOTP key is ahead.
        """
        user = self.parts.directory.user(name, deadline)
        if user and user.state == "disabled":
            return DISABLED
        if _overtaken(user, pending):
            return OVERTAKEN
        begun = Token(
            id=EntryId(pending.token),
            label=pending.label,
            state="active",
            parameters=pending.parameters,
            last_step=_UNUSED,
            created=self.parts.clock.wall(),
            sealed_seed=pending.sealed_seed.encode(),
        )
        seed = open_seed(name, begun, self.parts)
        step = self._step_of(begun, seed, code, before)
        if step is None:
            return self._wrong(begun, seed, code)
        # The ticket may have been made with a key that is on its way out.
        sealed = seal_seed(name, begun.id, begun.parameters, seed, self.parts)
        # Before the token is added: of two who hold the ticket, one adds a token.
        if pending.grant and not self.parts.directory.take_grant(name, EntryId(pending.grant), deadline):
            return TICKET_USED
        self.parts.directory.ensure_user(name, deadline)
        added = replace(begun, last_step=step, sealed_seed=sealed)
        if not self.parts.directory.add_token(name, added, deadline):
            return OVERTAKEN
        remembered.forget_all(self.parts.directory, name, deadline)  # none would be known any more
        has_some = bool(user and user.sealed_recovery_codes)
        codes = () if has_some else self._recovery_codes(name, deadline)
        return Finished(added.id, codes) if self._stays(name, pending, added, codes, deadline) else OVERTAKEN

    def ticket_of(self, name: UserName, typed: Secret, deadline: Deadline) -> str:
        """The id of the enrolment ticket that ``typed`` is, or nothing where it is none that is good."""
        try:
            found = grants.find(self.parts, name, "enrolment", typed, deadline)
        except Typo:
            return ""
        return found.id if found else ""

    def _recovery_codes(self, name: UserName, deadline: Deadline) -> tuple[Secret, ...]:
        try:
            return new_recovery_codes(name, self.parts, deadline)
        except DirectoryError as error:
            # The token is active, and that is what must be told; codes can be made later.
            audit.broken(user=name, reason=error)
            return ()

    def _stays(
        self, name: UserName, pending: Pending, added: Token, codes: tuple[Secret, ...], deadline: Deadline
    ) -> bool:
        """Whether no reset came between; one that did may not have seen what was added, which goes now."""
        user = self.parts.directory.user(name, deadline)
        if user is None or user.reset == pending.reset:
            return user is not None
        if added.sealed_seed in {token.sealed_seed for token in user.tokens}:
            self.parts.directory.remove_token(name, added.id, deadline)
        take_back(user, codes, self.parts, deadline)
        return False

    def _step_of(self, begun: Token, seed: Secret, typed: bytes, typed_before: bytes) -> TimeStep | None:
        """The step of the code; of HOTP also one that is further ahead, where the code before it is given, too."""
        code, before = otp.parse_code(typed), otp.parse_code(typed_before)
        if code is None:
            return None
        windows = self.parts.windows
        wide_enough = replace(windows, around=max(_WINDOW_STEPS, windows.around))
        steps = steps_of(begun, seed, code, replace(self.parts, windows=wide_enough))
        if not steps and before is not None and begun.parameters.kind == "hotp":
            far = moving_factor.far(begun, self.parts.clock.wall())
            steps = otp.consecutive_steps(seed, begun.parameters, (before, code), far)
        return next(iter(steps), None)

    def _wrong(self, begun: Token, seed: Secret, typed: bytes) -> Unfinished:
        """A wrong code, and what may be the matter. Who is told knows the seed anyway."""
        if begun.parameters.kind == "hotp":
            return Unfinished("wrong-code", _WRONG["hotp"])
        code, now = otp.parse_code(typed) or "", self.parts.clock.wall()
        nearby = moving_factor.nearby(begun.parameters, now)
        for step in otp.matching_steps(seed, begun.parameters, code, nearby):
            drift = moving_factor.observed_drift(begun.parameters, step, now)
            off = moving_factor.clock(begun.parameters, drift)
            return Unfinished("wrong-code", _WRONG["clock"], off)
        return Unfinished("wrong-code", _WRONG["totp"])


def first_token_id(user: UserName) -> EntryId:
    """The id of a user's first token."""
    return EntryId(str(uuid.uuid5(_NAMESPACE, user)))


def _overtaken(user: User | None, pending: Pending) -> bool:
    """Whether what the proof was about has changed since: somebody enrolled, or everything was forgotten.

    The proof of a first enrolment is the account password, and it is none once there is a token. A code is none once
    its token is disabled or removed: whoever found the phone may have begun an enrolment with it.
    """
    if _reset(user) != pending.reset or pending.first == bool(user and user.enrolled):
        return True
    return not set(pending.usable) <= {token.id for token in (user.usable_tokens if user else ())}


def _reset(user: User | None) -> float | None:
    return user.reset if user else None
