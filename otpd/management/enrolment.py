"""Enrolment at a shell: :mod:`otpd.enrolment` as two verbs."""

from typing import Any, Final

from otpd import audit, otp
from otpd.enrolment import DISABLED, MAX_TOKENS, Finished, Pending, Unfinished
from otpd.errors import TicketError
from otpd.management.verb import Call, Context, Refused
from otpd.otp import OtpParameters
from otpd.protocol import DIALOGUE_SECONDS
from otpd.texts import _

_PURPOSE: Final = "enrolment"


def may_begin(context: Context, call: Call) -> Refused | None:
    """There is an end to devices; and a device of a user who is disabled would give codes that are refused."""
    user = context.parts.directory.user(call.user, call.deadline)
    if user and user.state == "disabled":
        return _refused(DISABLED)
    if user and len(user.tokens) >= MAX_TOKENS:
        return Refused(
            "too-many", _("There are {most} tokens already. Remove one: otpctl token remove", most=MAX_TOKENS)
        )
    chosen = _parameters(context, call)
    if isinstance(chosen, Refused):
        return chosen
    if "seed" in call.fields and otp.parse_seed(call.fields["seed"]) is None:
        return Refused("bad-seed", _("A seed is 16 to 64 bytes, in base32, or in hex with hex: before it."))
    return None


def begin(context: Context, call: Call) -> dict[str, Any] | Refused:
    """A fresh seed, its URI for the QR code, and the ticket for :func:`confirm`; or, for a seed that is given, that."""
    parameters = _parameters(context, call)
    if isinstance(parameters, Refused):
        return parameters
    given = otp.parse_seed(call.fields["seed"]) if "seed" in call.fields else None
    begun = context.enrolments.begin(
        call.user,
        call.deadline,
        label=call.fields.get("label", ""),
        grant=call.grant,
        parameters=parameters,
        seed=given,
    )
    state = {"user": call.user, **begun.pending.to_ticket()}
    ticket = context.tickets.issue(_PURPOSE, call.peer.uid, state, DIALOGUE_SECONDS)
    audit.record("enrolment begun", user=call.user, peer=call.peer, token=begun.pending.token)
    return {
        "user": call.user,
        **({} if given else {"secret": begun.secret, "uri": begun.uri}),
        "kind": parameters.kind,
        "ticket": ticket.decode("ascii"),
        "seconds": DIALOGUE_SECONDS,
    }


def confirm(context: Context, call: Call) -> dict[str, Any] | Refused:
    """Activate the token of the ticket, if the code is right."""
    try:
        state, _expires = context.tickets.redeem(_PURPOSE, call.peer.uid, call.fields["ticket"].encode())
    except TicketError:
        return Refused("expired", _("This enrolment has expired. Start again: otpctl enroll"))
    if state.pop("user") != call.user:
        return Refused("not-permitted", _("This enrolment is another user's."))
    pending = Pending.from_ticket(state)
    code, before = (call.fields.get(name, "").encode() for name in ("code", "before"))
    result = context.enrolments.finish(call.user, pending, code, call.deadline, before)
    if not isinstance(result, Finished):
        return _refused(result)
    audit.record("enrolled", user=call.user, peer=call.peer, token=result.token, ticket=pending.grant)
    codes = [code.reveal().decode() for code in result.recovery_codes]
    return {"user": call.user, "token": result.token, "recovery_codes": codes}


def _refused(why: Unfinished) -> Refused:
    return Refused(why.reason, why.text)


def _parameters(context: Context, call: Call) -> OtpParameters | Refused:
    """What was chosen, and the configuration's defaults; hardware keys have none but RFC 4226's own."""
    kind = call.fields.get("kind", "totp")
    default = context.enrolments.parameters if kind == "totp" else OtpParameters(period_seconds=None)
    if kind not in ("totp", "hotp"):
        return Refused("bad-parameter", _("kind: expected totp or hotp."))
    algorithm = call.fields.get("algorithm", default.algorithm)
    if algorithm not in otp.ALGORITHMS:
        return Refused("bad-parameter", _("algorithm: expected one of {names}.", names=", ".join(otp.ALGORITHMS)))
    digits = _number(call.fields.get("digits", str(default.digits)), otp.MIN_DIGITS, otp.MAX_DIGITS)
    if digits is None:
        return Refused(
            "bad-parameter", _("digits: expected {least} to {most}.", least=otp.MIN_DIGITS, most=otp.MAX_DIGITS)
        )
    if default.period_seconds is None:
        if "period" in call.fields:
            return Refused("bad-parameter", _("period: a code of HOTP is shown for as long as it takes."))
        return OtpParameters(digits, algorithm, None)
    least, most = otp.MIN_PERIOD_SECONDS, otp.MAX_PERIOD_SECONDS
    period = _number(call.fields.get("period", str(default.period_seconds)), least, most)
    if period is None:
        return Refused("bad-parameter", _("period: expected {least} to {most} seconds.", least=least, most=most))
    return OtpParameters(digits, algorithm, period)


def _number(text: str, least: int, most: int) -> int | None:
    number = int(text) if text.isascii() and text.isdigit() else least - 1
    return number if least <= number <= most else None
