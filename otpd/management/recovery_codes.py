"""Recovery codes: made as a whole, and shown once."""

from typing import Any

from otpd import audit
from otpd.factors.recovery_code import new_recovery_codes, take_back
from otpd.management.verb import Call, Context, Refused, reset_meanwhile
from otpd.texts import _


def may_have(context: Context, call: Call) -> Refused | None:
    """Who has no token has nothing to recover."""
    user = context.parts.directory.user(call.user, call.deadline)
    if user is None or not user.enrolled:
        return Refused("not-enrolled", _("There is no second factor yet. Enrol first: otpctl enroll"))
    if user.state == "disabled":
        return Refused("disabled", _("The second factor is disabled. Ask your administrator."))
    return None


def generate(context: Context, call: Call) -> dict[str, Any] | Refused:
    """A fresh set in the place of whatever is left of the last one."""
    codes = new_recovery_codes(call.user, context.parts, call.deadline)
    user = context.parts.directory.user(call.user, call.deadline)
    if user and call.outlives_a_reset(user):
        take_back(user, codes, context.parts, call.deadline)
        return reset_meanwhile()
    audit.record("recovery codes made", user=call.user, peer=call.peer)
    return {"user": call.user, "recovery_codes": [code.reveal().decode() for code in codes]}
