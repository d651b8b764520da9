"""Enrolling a token, in two steps.

The first shows a seed, or takes the one of a hardware key, and writes nothing: the enrolment travels in a ticket. The
second takes a code that proves that both sides have the same, and writes the token with that code's step as spent. A
user's first token has an id that follows from the user's name, so that of two first enrolments at the same time, on any
hosts, one Add succeeds (RFC 4511 section 4.7).
"""

import uuid
from dataclasses import asdict, replace
from typing import Any, Final

from otpd import audit, moving_factor, otp
from otpd.directory import Token
from otpd.errors import TicketError
from otpd.factors.code import open_seed, seal_seed, steps_of
from otpd.management.verb import Call, Context, Refused
from otpd.otp import OtpParameters
from otpd.protocol import DIALOGUE_SECONDS
from otpd.secret import Secret
from otpd.values import EntryId, TimeStep, UserName

_PURPOSE: Final = "enrolment"
_NAMESPACE: Final = uuid.UUID("aae1f399-e961-4f88-b936-69224b12d696")  # the schema's arc
_WINDOW_STEPS: Final = 1
_UNUSED: Final = TimeStep(-1)
MAX_TOKENS: Final = 20  # so that a list of them fits into a message


def may_begin(context: Context, call: Call) -> Refused | None:
    """There is an end to devices; and a device of a user who is disabled would give codes that are refused."""
    user = context.parts.directory.user(call.user, call.deadline)
    if user and user.state == "disabled":
        return _disabled()
    if user and len(user.tokens) >= MAX_TOKENS:
        return Refused("too-many", f"There are {MAX_TOKENS} devices already. Remove one: otpctl token remove")
    chosen = _parameters(context, call)
    if isinstance(chosen, Refused):
        return chosen
    if "seed" in call.fields and otp.parse_seed(call.fields["seed"]) is None:
        return Refused("bad-seed", "A seed is 16 to 64 bytes, in base32, or in hex with hex: before it.")
    return None


def begin(context: Context, call: Call) -> dict[str, Any] | Refused:
    """A fresh seed, its URI for the QR code, and the ticket for :func:`confirm`; or, for a seed that is given, that."""
    parameters = _parameters(context, call)
    if isinstance(parameters, Refused):
        return parameters
    user = context.parts.directory.user(call.user, call.deadline)
    first = user is None or not user.enrolled
    token_id = first_token_id(call.user) if first else EntryId(str(uuid.uuid4()))
    given = otp.parse_seed(call.fields["seed"]) if "seed" in call.fields else None
    seed = given or otp.new_seed(parameters.algorithm)
    state = {
        "user": call.user,
        "token": token_id,
        "first": first,
        "label": call.fields.get("label", ""),
        "parameters": asdict(parameters),
        "sealed_seed": seal_seed(call.user, token_id, parameters, seed, context.parts).decode("ascii"),
    }
    ticket = context.tickets.issue(_PURPOSE, call.peer.uid, state, DIALOGUE_SECONDS)
    audit.record("enrolment begun", user=call.user, peer=call.peer, token=token_id)
    shown = {
        "secret": otp.base32(seed),
        "uri": otp.provisioning_uri(seed, parameters, call.user, context.issuer),
    }
    return {
        "user": call.user,
        **({} if given else shown),
        "kind": parameters.kind,
        "ticket": ticket.decode("ascii"),
        "seconds": DIALOGUE_SECONDS,
    }


def confirm(context: Context, call: Call) -> dict[str, Any] | Refused:
    """Activate the token of the ticket, if the code is right."""
    try:
        state, _ = context.tickets.redeem(_PURPOSE, call.peer.uid, call.fields["ticket"].encode())
    except TicketError:
        return Refused("expired", "This enrolment has expired. Start again: otpctl enroll")
    if state["user"] != call.user:
        return Refused("not-permitted", "This enrolment is another user's.")
    user = context.parts.directory.user(call.user, call.deadline)
    enrolled = bool(user and user.enrolled)
    if enrolled == state["first"]:
        # Somebody was faster; or the user was reset, so what proved this enrolment proves nothing any more.
        return _overtaken()
    if user and user.state == "disabled":
        return _disabled()
    begun = Token(
        id=EntryId(state["token"]),
        label=state["label"],
        state="active",
        parameters=OtpParameters(**state["parameters"]),
        last_step=_UNUSED,
        created=context.parts.clock.wall(),
        sealed_seed=state["sealed_seed"].encode(),
    )
    seed = open_seed(call.user, begun, context.parts)
    step = _step_of(context, call, begun, seed)
    if step is None:
        return _wrong(context, call, begun, seed)
    # The ticket may have been made with a key that is on its way out.
    sealed = seal_seed(call.user, begun.id, begun.parameters, seed, context.parts)
    token = replace(begun, last_step=step, sealed_seed=sealed)
    context.parts.directory.ensure_user(call.user, call.deadline)
    if not context.parts.directory.add_token(call.user, token, call.deadline):
        return _overtaken()
    audit.record("enrolled", user=call.user, peer=call.peer, token=token.id)
    return {"user": call.user, "token": token.id}


def first_token_id(user: UserName) -> EntryId:
    """The id of a user's first token."""
    return EntryId(str(uuid.uuid5(_NAMESPACE, user)))


def _parameters(context: Context, call: Call) -> OtpParameters | Refused:
    """What was chosen, and the configuration's defaults; hardware keys have none but RFC 4226's own."""
    kind = call.fields.get("kind", "totp")
    default = context.parameters if kind == "totp" else OtpParameters(period_seconds=None)
    if kind not in ("totp", "hotp"):
        return Refused("bad-parameter", "kind: expected totp or hotp.")
    algorithm = call.fields.get("algorithm", default.algorithm)
    if algorithm not in otp.ALGORITHMS:
        return Refused("bad-parameter", f"algorithm: expected one of {', '.join(otp.ALGORITHMS)}.")
    digits = _number(call.fields.get("digits", str(default.digits)), otp.MIN_DIGITS, otp.MAX_DIGITS)
    if digits is None:
        return Refused("bad-parameter", f"digits: expected {otp.MIN_DIGITS} to {otp.MAX_DIGITS}.")
    if default.period_seconds is None:
        if "period" in call.fields:
            return Refused("bad-parameter", "period: a code of HOTP is shown for as long as it takes.")
        return OtpParameters(digits, algorithm, None)
    least, most = otp.MIN_PERIOD_SECONDS, otp.MAX_PERIOD_SECONDS
    period = _number(call.fields.get("period", str(default.period_seconds)), least, most)
    if period is None:
        return Refused("bad-parameter", f"period: expected {least} to {most} seconds.")
    return OtpParameters(digits, algorithm, period)


def _number(text: str, least: int, most: int) -> int | None:
    number = int(text) if text.isascii() and text.isdigit() else least - 1
    return number if least <= number <= most else None


def _step_of(context: Context, call: Call, begun: Token, seed: Secret) -> TimeStep | None:
    """The step of the code; of HOTP also one that is further ahead, where the code ``before`` it is given, too."""
    code, before = (otp.parse_code(call.fields.get(name, "").encode()) for name in ("code", "before"))
    if code is None:
        return None
    windows = context.parts.windows
    wide_enough = replace(windows, around=max(_WINDOW_STEPS, windows.around))
    steps = steps_of(begun, seed, code, replace(context.parts, windows=wide_enough))
    if not steps and before is not None and begun.parameters.kind == "hotp":
        far = moving_factor.far(begun, context.parts.clock.wall())
        steps = otp.consecutive_steps(seed, begun.parameters, (before, code), far)
    return next(iter(steps), None)


def _wrong(context: Context, call: Call, begun: Token, seed: Secret) -> Refused:
    """A wrong code, and what may be the matter. Who is told knows the seed anyway."""
    if begun.parameters.kind == "hotp":
        return Refused("wrong-code", "Wrong code. Try the next one, and the one after it, if the key was used before.")
    code, now = otp.parse_code(call.fields["code"].encode()) or "", context.parts.clock.wall()
    nearby = moving_factor.nearby(begun.parameters, now)
    for step in otp.matching_steps(seed, begun.parameters, code, nearby):
        drift = moving_factor.observed_drift(begun.parameters, step, now)
        off = moving_factor.clock(begun.parameters, drift)
        return Refused("wrong-code", f"The clock of your device is {off}. Set it, and try the next code.")
    return Refused("wrong-code", "Wrong code. Check that the clock of your phone is right, and try the next one.")


def _disabled() -> Refused:
    return Refused("disabled", "The second factor is disabled. An administrator can enable it: otpctl enable")


def _overtaken() -> Refused:
    return Refused("overtaken", "Another enrolment, or a reset, came between, so this one was not activated.")
