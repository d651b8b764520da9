"""Enrolling in the middle of a login: prove who it is, scan, keep the recovery codes.

What the PAM stack checked before, otpd cannot see, and does not believe: the account password is checked here, whether
the stack hands it on (``try_first_pass``) or the person types it; or an enrolment ticket takes its place. So no stack,
however it is written, lets a stranger enrol.
"""

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any, Final, Literal

from otpd import audit, handout, qr, recovery, symbols
from otpd.clock import Deadline
from otpd.enrolment import Begun, Enrolments, Finished, Pending
from otpd.factor import Reason
from otpd.policy import QrStyle, ServicePolicy
from otpd.secret import Secret
from otpd.texts import _
from otpd.values import EntryId, ServiceName, UserName

_MESSAGE_BYTES: Final = 511  # PAM_MAX_MSG_SIZE, less the NUL
_COLUMNS: Final = 80
_WRONG_CODES: Final = 5
_CODES_IN_A_LINE: Final = 2


@dataclass(frozen=True)
class Stage:
    """How far an enrolment has come; it travels in the dialogue's ticket.

    ``prove`` asks for the account password, ``scan`` for the first code, ``keep`` for nothing but that the recovery
    codes were seen: by then the code was right, and the token ``token`` is active.
    """

    name: Literal["prove", "scan", "keep"]
    tries: int = 0
    pending: Pending | None = None
    token: str = ""

    @classmethod
    def from_ticket(cls, raw: dict[str, Any]) -> "Stage":
        """The stage that :meth:`to_ticket` gave."""
        pending = raw["pending"]
        return cls(**{**raw, "pending": Pending.from_ticket(pending) if pending else None})

    def to_ticket(self) -> dict[str, Any]:
        """Itself as what JSON can hold."""
        return asdict(self)


@dataclass(frozen=True)
class Question:
    """What to show and ask next."""

    stage: Stage
    prompt: str
    infos: tuple[str, ...]
    echo: bool = False


@dataclass(frozen=True)
class End:
    """How it ended: let in, refused, or, where somebody else enrolled meanwhile, back to the ordinary prompt."""

    verdict: Literal["accept", "refuse", "exhausted", "ask for a code"]
    reason: Reason = Reason.NOT_ENROLLED
    infos: tuple[str, ...] = ()
    detail: str = ""


@dataclass(frozen=True)
class EnrolAtLogin:
    """Leads one user through; every step is told who it is about and gives the next question, or the end."""

    enrolments: Enrolments

    def begin(
        self, user: UserName, service: ServiceName, rules: ServicePolicy, authtok: Secret | None, deadline: Deadline
    ) -> Question:
        """Begin with what the stack holds, or ask for the proof."""
        if authtok and self.enrolments.parts.check_password(user, (authtok,), deadline):
            return self._scan(user, service, rules, "", deadline)
        return Question(Stage("prove"), prove_prompt(), _messages(_offer()))

    def answer(
        self,
        user: UserName,
        service: ServiceName,
        rules: ServicePolicy,
        stage: Stage,
        typed: Secret,
        deadline: Deadline,
    ) -> Question | End:
        """Judge what was typed, and go on."""
        if stage.name == "prove":
            return self._prove(user, service, rules, stage, typed, deadline)
        if stage.name == "scan" and stage.pending:
            return self._confirm(user, service, stage.pending, stage, typed, deadline)
        known = self.enrolments.parts.directory.user(user, deadline)
        usable = {token.id for token in known.usable_tokens} if known else set()
        if EntryId(stage.token) not in usable:
            return End("refuse", Reason.DISABLED)
        return End("accept", Reason.ACCEPTED, detail=f"enrolled token {stage.token}")

    def _prove(
        self,
        user: UserName,
        service: ServiceName,
        rules: ServicePolicy,
        stage: Stage,
        typed: Secret,
        deadline: Deadline,
    ) -> Question | End:
        grant = self.enrolments.ticket_of(user, typed, deadline)
        right = bool(grant or (typed and self.enrolments.parts.check_password(user, (typed,), deadline)))
        reason = Reason.ACCEPTED if right else Reason.WRONG_PASSWORD
        audit.record("proof", user=user, service=service, reason=reason, detail=f"ticket {grant}" if grant else "")
        if right:
            return self._scan(user, service, rules, grant, deadline)
        if stage.tries + 1 >= rules.tries:
            return End("refuse" if rules.tries == 1 else "exhausted", Reason.WRONG_PASSWORD)
        used = _("This ticket has expired, or was used. Ask your administrator for another.")
        text = used if _is_ticket(typed) else _("This was not accepted.")
        return Question(Stage("prove", stage.tries + 1), prove_prompt(), _messages(["", text]))

    def _scan(
        self, user: UserName, service: ServiceName, rules: ServicePolicy, grant: str, deadline: Deadline
    ) -> Question:
        begun = self.enrolments.begin(user, deadline, grant=grant)
        audit.record("enrolment begun", user=user, service=service, token=begun.pending.token)
        return Question(
            Stage("scan", pending=begun.pending), _("Code that the app shows now: "), _shown(begun, rules.qr)
        )

    def _confirm(
        self, user: UserName, service: ServiceName, pending: Pending, stage: Stage, typed: Secret, deadline: Deadline
    ) -> Question | End:
        result = self.enrolments.finish(user, pending, typed.reveal(), deadline)
        if isinstance(result, Finished):
            audit.record("enrolled", user=user, service=service, token=result.token, ticket=pending.grant)
            return Question(Stage("keep", token=result.token), _("Press Enter to go on: "), _codes(result), echo=True)
        if result.reason == "overtaken":
            remove = _("Remove it from the app. If you enrolled elsewhere just now, type a code of that.")
            return End("ask for a code", infos=_messages(["", result.text, remove]))
        if result.reason != "wrong-code":
            return End(
                "refuse", Reason.DISABLED if result.reason == "disabled" else Reason.NOT_ENROLLED, (result.text,)
            )
        if stage.tries + 1 >= _WRONG_CODES:
            return End("exhausted", Reason.WRONG_CODE)
        return Question(
            Stage("scan", stage.tries + 1, pending), _("Code that the app shows now: "), _messages(["", result.text])
        )


def prove_prompt() -> str:
    """What asks who it is."""
    return _("Account password or enrolment ticket: ")


def _offer() -> tuple[str, ...]:
    # A client of ssh writes "(user@host) " before the first line, so that one stays empty.
    return (
        "",
        _("You have no second factor yet, and logging in here takes one. Set it up now:"),
        _("you need a phone with an authenticator app."),
    )


def _is_ticket(typed: Secret) -> bool:
    try:
        handout.parse(typed.reveal())
    except handout.Typo:
        return False
    return True


def _shown(begun: Begun, style: QrStyle) -> tuple[str, ...]:
    """The QR code, where it is wanted and 80 columns hold it, and the secret in any case."""
    secret = symbols.in_groups(begun.secret, 4, " ")
    picture = {"utf8": qr.to_text, "ascii": qr.to_ascii}[style](begun.uri).split("\n") if style != "off" else []
    if not picture or len(picture[0]) > _COLUMNS:
        told = _("Set up your second factor: type this secret into the authenticator app on your phone.")
        return _messages(["", told, f"  {secret}"])
    told = _("Set up your second factor: scan this with the authenticator app on your phone.")
    return _messages(["", told, *picture, _("Or type this secret into it: {secret}", secret=secret)])


def _codes(finished: Finished) -> tuple[str, ...]:
    codes = [code.reveal().decode() for code in finished.recovery_codes]
    told = ["", _("Activated. From now on, logging in here takes a code of the app.")]
    if not codes:
        return _messages([*told, _("Recovery codes could not be made. Make them later: otpctl recovery-codes")])
    lines = ["  " + "    ".join(codes[at : at + _CODES_IN_A_LINE]) for at in range(0, len(codes), _CODES_IN_A_LINE)]
    return _messages([*told, recovery.what_they_are(), *lines, *recovery.how_to_keep_them()])


def _messages(lines: Iterable[str]) -> tuple[str, ...]:
    """``lines`` in as few messages as PAM's limit allows; applications end each with a newline."""
    messages: list[str] = []
    for line in lines:
        joined = f"{messages[-1]}\n{line}" if messages else line
        if messages and len(joined.encode()) <= _MESSAGE_BYTES:
            messages[-1] = joined
        else:
            messages.append(line)
    return tuple(messages)
