"""A user's tokens: rename, disable, enable, remove, resynchronise."""

from dataclasses import replace
from typing import Any

from otpd import audit, moving_factor
from otpd.directory import State, Token, User
from otpd.factor import Attempt
from otpd.factors.code import resynchronise
from otpd.management.verb import SERVICE, Call, Context, Refused, refusal_text
from otpd.remembered import forget_all
from otpd.secret import Secret
from otpd.texts import _, mark


def exists(context: Context, call: Call) -> Refused | None:
    """A wrong id must not cost a code."""
    return None if _find(_user(context, call), call) else _unknown()


def may_go(context: Context, call: Call) -> Refused | None:
    """The last token that works goes by root's hand alone: its owner could not log in afterwards."""
    user = _user(context, call)
    token = _find(user, call)
    if token is None:
        return _unknown()
    if not call.peer.is_root and user and [one.id for one in user.usable_tokens] == [token.id]:
        return _last()
    return None


def rename(context: Context, call: Call) -> dict[str, Any] | Refused:
    """Give a token another label."""
    token = _find(_user(context, call), call)
    label = call.fields.get("label", "")
    if token is None or not context.parts.directory.rename_token(call.user, token.id, label, call.deadline):
        return _unknown()
    return {"user": call.user, "id": token.id, "label": label}


def disable(context: Context, call: Call) -> dict[str, Any] | Refused:
    """Refuse its codes until it is enabled."""
    return _set_state(context, call, "disabled")


def enable(context: Context, call: Call) -> dict[str, Any] | Refused:
    """Accept its codes again."""
    return _set_state(context, call, "active")


def remove(context: Context, call: Call) -> dict[str, Any] | Refused:
    """Forget it for good."""
    user = _user(context, call)
    token = _find(user, call)
    if token and user and token in user.usable_tokens:
        # Disabled first: of two that go at the same moment, one may have to stay, with all that was spent of it.
        refused = _change_state(context, call, token, "disabled")
        if refused:
            return refused
    if token is None or not context.parts.directory.remove_token(call.user, token.id, call.deadline):
        return _unknown()
    forget_all(context.parts.directory, call.user, call.deadline)
    audit.record("token removed", user=call.user, peer=call.peer, token=token.id)
    return {"user": call.user, "id": token.id}


def resync(context: Context, call: Call) -> dict[str, Any] | Refused:
    """Bring a token whose clock or counter is off together with otpd again, by two codes in a row, which prove it."""
    code, following = (Secret(call.fields[name].encode()) for name in ("code", "next"))
    attempt = Attempt(call.user, SERVICE, code, call.deadline, at_shell=True)
    outcome = resynchronise(attempt, following, context.parts)
    audit.record("resynchronised", user=call.user, peer=call.peer, reason=outcome.reason, detail=outcome.detail)
    if not outcome.accepted:
        text = mark("These are no two codes in a row of an active token. Wait for the next two.")
        return Refused("wrong-code", refusal_text(outcome, text))
    return {"user": call.user, "clock": outcome.info}


def described(token: Token) -> dict[str, Any]:
    """A token as it is shown; times are seconds since the Unix epoch."""
    parameters, use = token.parameters, token.last_use
    return {
        "id": token.id,
        "label": token.label,
        "state": token.state,
        "created": int(token.created),
        "kind": parameters.kind,
        "algorithm": parameters.algorithm,
        "digits": parameters.digits,
        "period_seconds": parameters.period_seconds,
        "clock": moving_factor.clock(parameters, token.drift),
        "last_used": {"at": int(use.at), "host": use.host, "service": use.service} if use else None,
    }


def _set_state(context: Context, call: Call, state: State) -> dict[str, Any] | Refused:
    user = _user(context, call)
    token = _find(user, call)
    if token is None or user is None:
        return _unknown()
    if user.state == "disabled":
        return Refused("disabled", _("The user is disabled as a whole. See: otpctl user enable"))
    refused = _change_state(context, call, token, state) if token.state != state else None
    if refused:
        return refused
    forget_all(context.parts.directory, call.user, call.deadline)
    audit.record(f"token set {state}", user=call.user, peer=call.peer, token=token.id)
    return {"user": call.user, "id": token.id, "state": state}


def _change_state(context: Context, call: Call, token: Token, state: State) -> Refused | None:
    """Change it, unless that leaves its owner without any: then the change is taken back."""
    directory = context.parts.directory
    if not directory.set_token_state(call.user, token, state, call.deadline):
        return Refused("overtaken", _("Somebody else changed this token meanwhile. Look again: otpctl token list"))
    left = _user(context, call)
    if call.peer.is_root or state == "active" or (left and left.usable_tokens):
        return None
    directory.set_token_state(call.user, replace(token, state=state), token.state, call.deadline)
    return _last()


def _user(context: Context, call: Call) -> User | None:
    return context.parts.directory.user(call.user, call.deadline)


def _find(user: User | None, call: Call) -> Token | None:
    tokens = user.tokens if user else ()
    return next((token for token in tokens if token.id == call.fields["id"]), None)


def _last() -> Refused:
    return Refused("last-token", _("This is your last token. Enrol another one first, or ask your administrator."))


def _unknown() -> Refused:
    return Refused("no-such-token", _("There is no token of that id. See: otpctl token list"))
