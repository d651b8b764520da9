"""Remembered devices: a user who gave a code from an address is not asked again for a while, on any host of the fleet.

What is remembered is bound to the address, the services and the tokens that the user has then, and sealed: who may
write to the directory cannot remember anybody, and whatever becomes of a token ends it.
"""

import hashlib
import uuid
from ipaddress import ip_address
from typing import Final

from otpd.clock import Deadline
from otpd.directory import Device, Directory, User
from otpd.factor import Parts
from otpd.secret import Secret
from otpd.values import EntryId, UserName

DEVICE_PURPOSE: Final = "remembered device"
MAX_PER_USER: Final = 20
_NAMESPACE: Final = uuid.UUID("aae1f399-e961-4f88-b936-69224b12d696")  # the schema's arc


def address_of(rhost: str) -> str:
    """``rhost`` as an address, written in one way; empty where it is none: a name may be anybody's."""
    try:
        address = ip_address(rhost.partition("%")[0])
    except ValueError:
        return ""
    return str(getattr(address, "ipv4_mapped", None) or address)


def knows(parts: Parts, user: User, group: str, address: str, seconds: float, deadline: Deadline) -> EntryId | None:
    """The device that lets ``user`` in from ``address`` without a code, if there is one.

    It does so for ``seconds``, which the service that asks decides, and no longer than the one that remembered it said.
    """
    wanted, now = _id(group, address), parts.clock.wall()
    for device in parts.directory.devices(user.name, deadline) if user.usable_tokens else ():
        if device.id == wanted and device.created <= now < min(device.expires, device.created + seconds):
            known = parts.keys.open(DEVICE_PURPOSE, (user.name, device.id), device.sealed_digest)
            if known == _digest(user, device) and (device.group, device.address) == (group, address):
                return device.id
    return None


def remember(  # noqa: PLR0913, PLR0917 - all that it depends on
    parts: Parts, name: UserName, token: EntryId, group: str, address: str, seconds: float, deadline: Deadline
) -> None:
    """Remember a user who just gave a code of ``token``, unless that was disabled or removed meanwhile.

    The ones that have expired go, and none is added to too many.
    """
    user, now = parts.directory.user(name, deadline), float(int(parts.clock.wall()))
    if user is None or token not in {one.id for one in user.usable_tokens}:
        return
    wanted, left = _id(group, address), 0
    for other in parts.directory.devices(name, deadline):
        if other.expires <= now:
            parts.directory.forget_device(name, other.id, deadline)
        elif other.id != wanted:
            left += 1
    if left < MAX_PER_USER:
        device = Device(wanted, address, group, now, now + seconds, b"")
        sealed = parts.keys.seal(DEVICE_PURPOSE, (name, wanted), _digest(user, device))
        parts.directory.put_device(name, Device(wanted, address, group, now, now + seconds, sealed), deadline)


def forget_all(directory: Directory, name: UserName, deadline: Deadline) -> int:
    """Forget every device of a user; how many there were."""
    return sum(directory.forget_device(name, device.id, deadline) for device in directory.devices(name, deadline))


def _id(group: str, address: str) -> EntryId:
    return EntryId(str(uuid.uuid5(_NAMESPACE, f"{len(group)}:{group}:{address}")))


def _digest(user: User, device: Device) -> Secret:
    """Of all that it depends on. A token that is made anew has the id of the one before, and another date."""
    tokens = sorted(f"{token.id} {int(token.created)}" for token in user.usable_tokens)
    span = f"{int(device.created)} {int(device.expires)}"
    parts = [part.encode() for part in (device.group, device.address, span, *tokens)]
    return Secret(hashlib.sha256(b"".join(len(part).to_bytes(4, "big") + part for part in parts)).digest())
