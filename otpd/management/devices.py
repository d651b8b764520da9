"""Remembered devices: list, forget."""

from typing import Any

from otpd import audit, remembered
from otpd.directory import Device
from otpd.management.verb import Call, Context, Refused
from otpd.texts import _
from otpd.values import EntryId


def listing(context: Context, call: Call) -> dict[str, Any]:
    """Those of the user that have not expired."""
    now = context.parts.clock.wall()
    devices = context.parts.directory.devices(call.user, call.deadline)
    return {"user": call.user, "devices": [_shown(device) for device in devices if now < device.expires]}


def forget(context: Context, call: Call) -> dict[str, Any] | Refused:
    """Forget one, by its id, or all. It takes no proof: it opens nothing."""
    directory, device_id = context.parts.directory, call.fields.get("id")
    if device_id is None:
        number = remembered.forget_all(directory, call.user, call.deadline)
    else:
        number = int(directory.forget_device(call.user, EntryId(device_id), call.deadline))
        if not number:
            return Refused("no-such-device", _("There is no remembered device of that id. See: otpctl device list"))
    audit.record("device forgotten", user=call.user, peer=call.peer, id=device_id or "all")
    return {"user": call.user, "forgotten": number}


def _shown(device: Device) -> dict[str, Any]:
    return {
        "id": device.id,
        "address": device.address,
        "group": device.group,
        "created": int(device.created),
        "expires": int(device.expires),
    }
