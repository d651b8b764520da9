"""Enrolling a TOTP token, in two steps.

The first shows a seed and writes nothing: the enrolment travels in a ticket. The second takes a code that proves that
the seed arrived, and writes the token with that code's time step as spent. A user's first token has an id that follows
from the user's name, so that of two first enrolments at the same time, on any hosts, one Add succeeds (RFC 4511 section
4.7).
"""

import uuid
from typing import Any, Final

from otpd import audit, otp
from otpd.directory import Token
from otpd.errors import TicketError
from otpd.factors.code import SEED_PURPOSE
from otpd.management.verb import Call, Context, Refused
from otpd.otp import DEFAULT_PARAMETERS
from otpd.protocol import DIALOGUE_SECONDS
from otpd.secret import Secret
from otpd.values import EntryId, TimeStep, UserName

_PURPOSE: Final = "enrolment"
_NAMESPACE: Final = uuid.UUID("aae1f399-e961-4f88-b936-69224b12d696")  # the schema's arc
_WINDOW_STEPS: Final = 1
MAX_TOKENS: Final = 20  # so that a list of them fits into a message


def may_begin(context: Context, call: Call) -> Refused | None:
    """There is an end to devices; and a device of a user who is disabled would give codes that are refused."""
    user = context.parts.directory.user(call.user, call.deadline)
    if user and user.state == "disabled":
        return _disabled()
    if user and len(user.tokens) >= MAX_TOKENS:
        return Refused("too-many", f"There are {MAX_TOKENS} devices already. Remove one: otpctl token remove")
    return None


def begin(context: Context, call: Call) -> dict[str, Any]:
    """A fresh seed, its URI for the QR code, and the ticket for :func:`confirm`."""
    user = context.parts.directory.user(call.user, call.deadline)
    first = user is None or not user.enrolled
    token_id = first_token_id(call.user) if first else EntryId(str(uuid.uuid4()))
    seed = otp.new_seed()
    sealed = context.parts.keys.seal(SEED_PURPOSE, (call.user, token_id), seed)
    state = {
        "user": call.user,
        "token": token_id,
        "first": first,
        "label": call.fields.get("label", ""),
        "sealed_seed": sealed.decode("ascii"),
    }
    ticket = context.tickets.issue(_PURPOSE, call.peer.uid, state, DIALOGUE_SECONDS)
    audit.record("enrolment begun", user=call.user, peer=call.peer, token=token_id)
    return {
        "user": call.user,
        "secret": otp.base32(seed),
        "uri": otp.provisioning_uri(seed, DEFAULT_PARAMETERS, call.user, context.issuer),
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
    place = (call.user, state["token"])
    seed = context.parts.keys.open(SEED_PURPOSE, place, state["sealed_seed"].encode())
    step = _step_of(context, call, seed)
    if step is None:
        return Refused("wrong-code", "Wrong code. Check that the clock of your phone is right, and try the next one.")
    token = Token(
        id=EntryId(state["token"]),
        label=state["label"],
        state="active",
        parameters=DEFAULT_PARAMETERS,
        last_step=step,
        created=context.parts.clock.wall(),
        # The ticket may have been made with a key that is on its way out.
        sealed_seed=context.parts.keys.seal(SEED_PURPOSE, place, seed),
    )
    context.parts.directory.ensure_user(call.user, call.deadline)
    if not context.parts.directory.add_token(call.user, token, call.deadline):
        return _overtaken()
    audit.record("enrolled", user=call.user, peer=call.peer, token=token.id)
    return {"user": call.user, "token": token.id}


def first_token_id(user: UserName) -> EntryId:
    """The id of a user's first token."""
    return EntryId(str(uuid.uuid5(_NAMESPACE, user)))


def _step_of(context: Context, call: Call, seed: Secret) -> TimeStep | None:
    code = otp.parse_code(call.fields["code"].encode())
    if code is None or len(code) != DEFAULT_PARAMETERS.digits:
        return None
    now = otp.time_step(DEFAULT_PARAMETERS, context.parts.clock.wall())
    window = max(_WINDOW_STEPS, context.parts.window_steps)
    return next(iter(otp.matching_steps(seed, DEFAULT_PARAMETERS, code, now, window)), None)


def _disabled() -> Refused:
    return Refused("disabled", "The second factor is disabled. An administrator can enable it: otpctl enable")


def _overtaken() -> Refused:
    return Refused("overtaken", "Another enrolment, or a reset, came between, so this one was not activated.")
