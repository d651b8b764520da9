"""The key ring: which keys this process has, what each one seals, and sealing anew. For root.

A rotation is many calls. What is still to be done is known from the directory alone, so it goes on from wherever it was
left, by whomever. Every change is a compare-and-set on one entry, and both keys are in the ring, so each value opens
before, in between and after.
"""

import logging
from collections.abc import Iterable, Iterator
from typing import Any, Final

from otpd import audit
from otpd.directory import SealedValue, SealedValues
from otpd.errors import ProtocolError, SealError
from otpd.factors.app_password import DIGEST_PURPOSE
from otpd.factors.code import HOTP_PURPOSE, SEED_PURPOSE
from otpd.factors.mail import MAILED_PURPOSE
from otpd.factors.recovery_code import RECOVERY_PURPOSE
from otpd.grants import GRANT_PURPOSE
from otpd.management.verb import Call, Context, Refused
from otpd.remembered import DEVICE_PURPOSE
from otpd.ring_text import KEY_ID
from otpd.texts import _

BATCH: Final = 100
"""Entries in a call."""

_MAX_SKIPPED: Final = 10_000
_MAX_COUNTED: Final = 1000
_MAX_SHOWN: Final = 10  # a reply has its limits, and whoever has more faults needs the log
_MAX_SHOWN_LENGTH: Final = 64


def ring(context: Context, _call: Call) -> dict[str, Any]:
    """The keys of this process. A fingerprint tells two keys of one id apart."""
    keys = context.parts.keys
    return {
        "current": keys.current,
        "keys": [{"id": key_id, "fingerprint": keys.fingerprint(key_id)} for key_id in keys.ids],
    }


def usage(context: Context, call: Call) -> dict[str, Any] | Refused:
    """How many values a key seals, counted up to a limit."""
    key_id = call.fields["key"]
    if not KEY_ID.fullmatch(key_id):
        return _unknown(key_id)
    found = context.parts.directory.sealed_with(key_id, _MAX_COUNTED, call.deadline)
    return {"key": key_id, "values": len(found.values), "more": found.more}


def strays(context: Context, call: Call) -> dict[str, Any]:
    """The values that name no key of the ring, so that no rotation by key finds them."""
    found = context.parts.directory.sealed_without(context.parts.keys.ids, _MAX_COUNTED, call.deadline)
    for value in found.values:
        _log_fault(value, "it names no key of the ring")
    return {"values": len(found.values), "more": found.more, "faults": _shown(found.values)}


def may_reseal(context: Context, call: Call) -> Refused | None:
    """The current key stays, and what another seals can be opened only with that one."""
    keys, key_id = context.parts.keys, call.fields["key"]
    if key_id == keys.current:
        return Refused("current-key", _("{key_id} is the current key: what it seals stays as it is.", key_id=key_id))
    return None if key_id in keys.ids else _unknown(key_id)


def reseal(context: Context, call: Call) -> dict[str, Any]:
    """Seal a batch of what a key seals with the current one.

    The field ``skip`` says how many values of the key are known not to open: so many more are asked for, since the
    directory may give those first each time. A batch ends early rather than come near the deadline.
    """
    key_id, skip = call.fields["key"], _natural(call.fields.get("skip", "0"))
    found = context.parts.directory.sealed_with(key_id, BATCH + skip, call.deadline)
    resealed, faults, looked_at = 0, [], 0
    for value in _until_half_time(found, call):
        looked_at += 1
        try:
            resealed += _reseal(context, value, call)
        except SealError as error:
            faults.append((value, str(error)))
    if len(faults) > skip:  # else they were logged before
        for value, reason in faults:
            _log_fault(value, reason)
    audit.record("sealed anew", peer=call.peer, detail=f"{resealed} values of key {key_id}")
    return {
        "key": key_id,
        "resealed": resealed,
        "overtaken": looked_at - resealed - len(faults),
        "failed": len(faults),
        "more": found.more or looked_at < len(found.values),
        "faults": _shown(value for value, _why in faults),
    }


def bound_to(value: SealedValue) -> tuple[str, tuple[str, ...]]:
    """The purpose and the place that a value is sealed for; see :meth:`otpd.seal.KeyRing.seal`."""
    match value.kind:
        case "token":
            return SEED_PURPOSE, (value.user, value.id)
        case "HOTP token":
            return HOTP_PURPOSE, (value.user, value.id)
        case "app password":
            return DIGEST_PURPOSE, (value.user, value.id)
        case "mailed code":
            return MAILED_PURPOSE, (value.user, value.id)
        case "remembered device":
            return DEVICE_PURPOSE, (value.user, value.id)
        case "grant":
            return GRANT_PURPOSE, (value.user, value.id)
        case "recovery code":
            return RECOVERY_PURPOSE, (value.user,)


def _reseal(context: Context, value: SealedValue, call: Call) -> bool:
    """Whether it was this call that did it; raises :class:`SealError` where the value does not open."""
    purpose, place = bound_to(value)
    plain = context.parts.keys.open(purpose, place, value.sealed)
    return context.parts.directory.reseal(value, context.parts.keys.seal(purpose, place, plain), call.deadline)


def _until_half_time(found: SealedValues, call: Call) -> Iterator[SealedValue]:
    seconds = call.deadline.remaining_seconds() / 2
    for value in found.values:
        if call.deadline.remaining_seconds() < seconds:
            return
        yield value


def _natural(text: str) -> int:
    if not (text.isascii() and text.isdigit()):
        raise ProtocolError("skip: expected a number")
    return min(int(text), _MAX_SKIPPED)


def _log_fault(value: SealedValue, reason: str) -> None:
    audit.record(
        "does not open", level=logging.WARNING, user=value.user, id=value.id, detail=value.place, reason=reason
    )


def _shown(values: Iterable[SealedValue]) -> list[dict[str, str]]:
    first = list(values)[:_MAX_SHOWN]
    return [{"user": _printable(value.user), "id": _printable(value.id), "kind": value.kind} for value in first]


def _printable(name: str) -> str:
    # It may be anything that somebody wrote into the directory, and goes to root's terminal.
    return "".join(character if character.isprintable() else "?" for character in name[:_MAX_SHOWN_LENGTH])


def _unknown(key_id: str) -> Refused:
    return Refused("no-such-key", _("There is no key {key_id} in the key ring of otpd.", key_id=key_id))
