"""The user as a whole: status, disable, enable, unlock, reset; and all users at a glance."""

import math
from dataclasses import asdict
from typing import Any, Final

from otpd import audit, throttle
from otpd.directory import State
from otpd.management import handed_out, tokens
from otpd.management.verb import Call, Context, Refused
from otpd.remembered import forget_all
from otpd.texts import _

_RACES: Final = 20
MAX_LISTED: Final = 10_000


def status(context: Context, call: Call) -> dict[str, Any]:
    """What otpd knows of the user; times are seconds since the Unix epoch."""
    offline = _offline(context, call)
    if offline.get("away"):
        return {"user": call.user, **offline}
    user = context.parts.directory.user(call.user, call.deadline)
    now = context.parts.clock.wall()
    wait = throttle.seconds_left(user.failures, user.last_failure, now) if user else 0.0
    return {
        "user": call.user,
        "enrolled": bool(user and user.tokens),
        "disabled": bool(user and user.state == "disabled"),
        "failures": user.failures if user else 0,
        "wait_seconds": math.ceil(wait),
        "tokens": [tokens.described(token) for token in (user.tokens if user else ())],
        "recovery_codes": len(user.sealed_recovery_codes) if user else 0,
        "app_passwords": len(context.parts.directory.app_passwords(call.user, call.deadline)),
        "grants": [handed_out.shown(grant) for grant in context.parts.directory.grants(call.user, call.deadline)],
        **offline,
    }


def _offline(context: Context, call: Call) -> dict[str, Any]:
    """What the host decides by itself, where the offline rule is on."""
    if context.offline is None:
        return {}
    report = context.offline.report()
    if report.fault:
        return {"offline": {"fault": report.fault}} if call.peer.is_root else {}
    counts = {"users": report.users, "unsettled": report.unsettled} if call.peer.is_root else {}
    if not report.away:
        return {"offline": counts} if counts else {}
    known = {
        "away_since": int(min(report.away.values())),
        "until": int(report.ends),
        "accept": [proof for proof in report.accept if proof in report.away],
    }
    return {"away": True, "offline": {**known, **counts}}


def disable(context: Context, call: Call) -> dict[str, Any] | Refused:
    """Refuse every code and app password of the user from now on, wherever policy stands."""
    return _set_state(context, call, "disabled")


def enable(context: Context, call: Call) -> dict[str, Any] | Refused:
    """The way back from :func:`disable`."""
    return _set_state(context, call, "active")


def unlock(context: Context, call: Call) -> dict[str, Any] | Refused:
    """Forget the wrong codes, so that the next one is looked at at once."""
    for _round in range(_RACES):
        user = context.parts.directory.user(call.user, call.deadline)
        if user is None or not user.failures:
            return {"user": call.user, "failures": user.failures if user else 0}
        now = context.parts.clock.wall()
        if context.parts.directory.set_failures(call.user, user.failures, 0, now, call.deadline):
            audit.record("unlocked", user=call.user, peer=call.peer)
            return {"user": call.user, "failures": user.failures}
    return Refused("unavailable", _("Somebody goes on guessing. Disable the user, or try again."))


def reset(context: Context, call: Call) -> dict[str, Any] | Refused:
    """Forget all that is known of the user, who is then as before the first enrolment.

    Of a user whom NSS knows, the moment is noted, so that no enrolment that was begun before can be finished; and who
    is disabled stays so: somebody is to be kept out.
    """
    directory, disabled = context.parts.directory, False
    if context.accounts.canonical_name(call.user) is not None:
        directory.ensure_user(call.user, call.deadline)
        directory.clear_user(call.user, context.parts.clock.wall(), call.deadline)
        left = directory.user(call.user, call.deadline)
        disabled = left is not None and left.state == "disabled"
    elif not directory.remove_user(call.user, call.deadline):
        return Refused("nothing-there", _("Nothing is known of this user."))
    audit.record("reset", user=call.user, peer=call.peer)
    return {"user": call.user, "disabled": disabled}


def listing(context: Context, call: Call) -> dict[str, Any]:
    """What the directory knows of all users, in numbers, after the name ``after``."""
    after = call.fields.get("after", "")
    summaries = [one for one in context.parts.directory.summaries(call.deadline) if one.name > after]
    return {"users": [asdict(one) for one in summaries[:MAX_LISTED]], "more": len(summaries) > MAX_LISTED}


def _set_state(context: Context, call: Call, state: State) -> dict[str, Any]:
    # A user who never enrolled can be disabled too: where policy lets the unenrolled in, that ends.
    context.parts.directory.ensure_user(call.user, call.deadline)
    context.parts.directory.set_state(call.user, state, call.deadline)
    forget_all(context.parts.directory, call.user, call.deadline)
    audit.record(f"set {state}", user=call.user, peer=call.peer)
    return {"user": call.user, "state": state}
