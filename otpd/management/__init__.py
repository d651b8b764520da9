"""Management over ``control.sock``: every verb, who may send it, and the proof that it demands, in one table.

otpctl is only a client. Whatever a user must prove is proved here, before the verb's own code runs.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from otpd import audit
from otpd.clock import Deadline
from otpd.errors import DirectoryError, HelperError, OtpdError, ProtocolError, SealError
from otpd.factor import Attempt, Outcome, Reason
from otpd.factors import judge
from otpd.identity import Peer
from otpd.management import (
    app_passwords,
    devices,
    enrolment,
    handed_out,
    inspection,
    keys,
    recovery_codes,
    tokens,
    users,
)
from otpd.management.verb import SERVICE, Call, Context, Field, Refused, Verb, refusal_text
from otpd.policy import CODE
from otpd.secret import Secret
from otpd.texts import ENGLISH, _, mark, speaking
from otpd.values import UserName

_LABEL: Final = Field(64)
_ID: Final = Field(64, required=True)
_KEY: Final = Field(32, required=True)
_CODE: Final = Field(64, required=True)
_WORD: Final = Field(16)
_WALK_SECONDS: Final = 50.0  # otpctl waits for a minute

VERBS: Final[Mapping[str, Verb]] = {
    "status": Verb(users.status),
    "enrol-begin": Verb(
        enrolment.begin,
        {"label": _LABEL, "kind": _WORD, "algorithm": _WORD, "digits": _WORD, "period": _WORD, "seed": Field(256)},
        proof="to enrol",
        check=enrolment.may_begin,
    ),
    "enrol-confirm": Verb(
        enrolment.confirm, {"ticket": Field(4096, required=True), "code": _CODE, "before": Field(64)}
    ),
    "app-password-list": Verb(app_passwords.listing),
    "app-password-create": Verb(
        app_passwords.create,
        {"label": _LABEL, "services": Field(256, required=True), "days": Field(4), "networks": Field(1024)},
        proof="code",
        check=app_passwords.may_create,
    ),
    "app-password-rename": Verb(
        app_passwords.rename, {"id": _ID, "label": _LABEL}, proof="code", check=app_passwords.exists
    ),
    "app-password-revoke": Verb(app_passwords.revoke, {"id": _ID}, proof="code", check=app_passwords.exists),
    "app-password-revoke-all": Verb(app_passwords.revoke_all, proof="code", check=app_passwords.any_exists),
    "device-list": Verb(devices.listing),
    "device-forget": Verb(devices.forget, {"id": Field(64)}),
    "token-rename": Verb(tokens.rename, {"id": _ID, "label": _LABEL}, proof="code", check=tokens.exists),
    "token-disable": Verb(tokens.disable, {"id": _ID}, proof="code", check=tokens.may_go),
    "token-enable": Verb(tokens.enable, {"id": _ID}, proof="code", check=tokens.exists),
    "token-remove": Verb(tokens.remove, {"id": _ID}, proof="code", check=tokens.may_go),
    "resync": Verb(tokens.resync, {"code": _CODE, "next": _CODE}),
    "recovery-codes": Verb(recovery_codes.generate, proof="code", check=recovery_codes.may_have),
    "disable": Verb(users.disable, root_only=True),
    "enable": Verb(users.enable, root_only=True),
    "unlock": Verb(users.unlock, root_only=True),
    "reset": Verb(users.reset, root_only=True, gone_users=True),
    "ticket": Verb(handed_out.ticket, {"hours": Field(4, required=True)}, root_only=True),
    "bypass": Verb(
        handed_out.bypass, {"minutes": Field(4, required=True), "hosts": Field(1024, required=True)}, root_only=True
    ),
    # It looks at every entry, as key-strays does.
    "user-list": Verb(users.listing, {"after": Field(256)}, root_only=True, least_seconds=_WALK_SECONDS),
    "key-ring": Verb(keys.ring, root_only=True),
    "key-usage": Verb(keys.usage, {"key": _KEY}, root_only=True),
    "key-reseal": Verb(keys.reseal, {"key": _KEY, "skip": Field(8)}, root_only=True, check=keys.may_reseal),
    # It looks at every entry.
    "key-strays": Verb(keys.strays, root_only=True, least_seconds=_WALK_SECONDS),
    "directory-check": Verb(inspection.check, root_only=True),
}

_COMMON: Final = {"user": Field(256), "proof": Field(512), "language": Field(16)}

_PROVE: Final = {
    "code": mark("Prove that it is you: your code."),
    "account password": mark("Prove that it is you: your account password."),
}
_WRONG: Final = {"code": mark("Wrong code."), "account password": mark("Wrong account password.")}
_PROVING: Final = ("proof", "code", "before", "next")


@dataclass(frozen=True)
class Management:
    """Answers control.sock."""

    context: Context

    def call(self, peer: Peer, verb: str, body: Mapping[str, Any], deadline: Deadline) -> dict[str, Any] | Refused:
        """The reply to ``verb`` of ``peer``; raises :class:`ProtocolError` for a body that is not the verb's."""
        if verb not in VERBS:
            raise ProtocolError("an unknown verb")
        fields = _fields(VERBS[verb], body)
        with speaking(fields.get("language", ENGLISH)):
            return self._answer(peer, verb, fields, deadline)

    def _answer(self, peer: Peer, verb: str, fields: Mapping[str, str], deadline: Deadline) -> dict[str, Any] | Refused:
        known = VERBS[verb]
        user: UserName | None = None
        try:
            target = self._target(peer, known, fields.get("user"))
            if isinstance(target, Refused):
                reply: dict[str, Any] | Refused = target
            else:
                user = target
                reply = self._call(known, Call(peer, user, fields, deadline))
        except (DirectoryError, HelperError, SealError) as error:
            audit.broken(peer=peer, verb=verb, user=user, reason=error)
            return Refused("unavailable", _explained(error))
        if isinstance(reply, Refused) and reply.reason != "proof-required":
            audit.record("refused", peer=peer, verb=verb, user=user or fields.get("user"), reason=reply.reason)
        return reply

    def least_seconds(self, verb: str) -> float:
        """How long ``verb`` may take at the least, where that is longer than other requests may."""
        return VERBS[verb].least_seconds if verb in VERBS else 0.0

    def _call(self, verb: Verb, call: Call) -> dict[str, Any] | Refused:
        if verb.root_only and not call.peer.is_root:
            return Refused("not-permitted", _("Only root may do this."))
        refused = verb.check(self.context, call)
        if refused is not None:
            return refused
        proved = self._prove(verb, call) if verb.proof and not call.peer.is_root else call
        return proved if isinstance(proved, Refused) else verb.handler(self.context, proved)

    def _target(self, peer: Peer, verb: Verb, wanted: str | None) -> UserName | Refused:
        accounts = self.context.accounts
        name = accounts.name_of(peer.uid) if wanted is None else accounts.canonical_name(wanted)
        own = name is not None and accounts.uid(name) == peer.uid
        if not own and not peer.is_root:
            # The same words whether there is such a user or not.
            return Refused("not-permitted", _("You may manage your own second factor only."))
        if name is None and wanted and verb.gone_users:
            return UserName(wanted)
        return (
            name
            if name is not None
            else Refused("no-such-user", _("There is no user {wanted}.", wanted=wanted or peer))
        )

    def _prove(self, verb: Verb, call: Call) -> Refused | Call:
        user = self.context.parts.directory.user(call.user, call.deadline)
        enrolled = bool(user and user.enrolled)
        kind = "code" if verb.proof == "code" or enrolled else "account password"
        if verb.proof == "code" and not enrolled:
            return Refused("not-enrolled", _("You have no second factor yet. Enrol first: otpctl enroll"))
        if "proof" not in call.fields:
            return Refused("proof-required", _(_PROVE[kind]), {"kind": kind})
        proof, call = Secret(call.fields["proof"].encode()), replace(call, reset=user.reset if user else None)
        if verb.proof == "to enrol":
            grant = self.context.enrolments.ticket_of(call.user, proof, call.deadline)
            if grant:
                audit.record("proof", user=call.user, service=SERVICE, reason=Reason.ACCEPTED, detail=f"ticket {grant}")
                return replace(call, grant=grant)
        outcome = self._judge(kind, call, proof)
        audit.record("proof", user=call.user, service=SERVICE, reason=outcome.reason, detail=outcome.detail)
        return call if outcome.accepted else Refused("proof-refused", refusal_text(outcome, _WRONG[kind]))

    def _judge(self, kind: str, call: Call, proof: Secret) -> Outcome:
        if kind == "code":
            attempt = Attempt(call.user, SERVICE, proof, call.deadline, at_shell=True)
            return judge((CODE,), attempt, self.context.parts)
        right = self.context.parts.check_password(call.user, (proof,), call.deadline)
        return Outcome(Reason.ACCEPTED if right else Reason.WRONG_PASSWORD)


def _explained(error: OtpdError) -> str:
    if isinstance(error, HelperError):
        return _("otpd cannot check account passwords at the moment. Its log says why.")
    if isinstance(error, SealError):
        return _("A secret in the directory does not open. The administrator finds the entry in otpd's log.")
    return _("The directory is not available, or refused. Try again later; otpd's log says why.")


def _fields(verb: Verb, body: Mapping[str, Any]) -> dict[str, str]:
    shape = {**_COMMON, **verb.fields}
    for name, value in body.items():
        if name not in shape:
            raise ProtocolError("the body has an unknown field")
        _check_value(name, shape[name], value)
    for name, rule in shape.items():
        if rule.required and name not in body:
            raise ProtocolError(f"{name} is missing")
    return dict(body)


def _check_value(name: str, rule: Field, value: object) -> None:
    if not isinstance(value, str):
        raise ProtocolError(f"{name}: expected a string")
    try:
        length = len(value.encode())
    except UnicodeEncodeError:
        raise ProtocolError(f"{name}: is not Unicode text") from None
    if length > rule.limit_bytes:
        raise ProtocolError(f"{name}: more than {rule.limit_bytes} bytes")
    # What is stored or logged comes back on somebody's terminal. What proves something is neither, and is typed with
    # whatever spaces a keyboard makes.
    if "\0" in value or not (value.isprintable() or name in _PROVING):
        raise ProtocolError(f"{name}: holds a control character")
