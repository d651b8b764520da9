"""LDAP Content Synchronization (RFC 4533), as much of it as somebody needs who wants to hear of changes.

The search begins from now: its cookie is made of the server's own ``contextCSN``, so nothing of the content is sent.
RFC 4533 leaves the cookie to the server; this form is OpenLDAP's (slapo-syncprov(5)).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

REQUEST_CONTROL: Final = "1.3.6.1.4.1.4203.1.9.1.1"
STATE_CONTROL: Final = "1.3.6.1.4.1.4203.1.9.1.2"
INFO_MESSAGE: Final = "1.3.6.1.4.1.4203.1.9.1.4"

_SEQUENCE: Final = 0x30
_ENUMERATED: Final = 0x0A
_OCTET_STRING: Final = 0x04
_BOOLEAN: Final = 0x01
_REFRESH_AND_PERSIST: Final = 3
_STATES: Final[tuple[Literal["present", "add", "modify", "delete"], ...]] = ("present", "add", "modify", "delete")
_INFOS: Final = {0xA0: "cookie", 0x80: "cookie", 0xA1: "refresh", 0xA2: "refresh", 0xA3: "uuids"}
_UUID_BYTES: Final = 16
_SHORT: Final = 0x80


@dataclass(frozen=True)
class State:
    """What the Sync State Control (section 2.3) says of an entry."""

    state: Literal["present", "add", "modify", "delete"]
    uuid: bytes


Info = Literal["cookie", "refreshing", "refreshed", "uuids"]
"""What a Sync Info Message (section 2.5) says; ``refreshed`` ends the refresh stage."""


def request_value(context_csns: Sequence[bytes]) -> bytes:
    """The value of a Sync Request Control (section 2.2): refreshAndPersist, from the state that the CSNs stand for."""
    cookie = b"rid=000,csn=" + b";".join(sorted(context_csns))
    return _tlv(_SEQUENCE, _tlv(_ENUMERATED, bytes([_REFRESH_AND_PERSIST])) + _tlv(_OCTET_STRING, cookie))


def state_of(message: dict[str, Any]) -> State | None:
    """What is said of the entry in ``message`` (of ldap3); None where nothing is. Raises ValueError."""
    control = (message.get("controls") or {}).get(STATE_CONTROL)
    if control is None:
        return None
    inside = _open(_SEQUENCE, control["value"])
    number, rest = _next(_ENUMERATED, inside)
    uuid, _ = _next(_OCTET_STRING, rest)
    if len(number) != 1 or number[0] >= len(_STATES) or len(uuid) != _UUID_BYTES:
        raise ValueError("a sync state that does not parse")
    return State(_STATES[number[0]], uuid)


def info_of(value: bytes) -> Info:
    """What a Sync Info Message says. Raises ValueError."""
    kind = _INFOS.get(value[0] if value else 0)
    if kind is None:
        raise ValueError("a sync info that does not parse")
    if kind != "refresh":
        return kind  # type: ignore[return-value]  # one of the literals
    inside = _open(value[0], value)
    if inside[:1] == bytes([_OCTET_STRING]):
        _, inside = _next(_OCTET_STRING, inside)
    # refreshDone is TRUE by default.
    return "refreshing" if inside and not any(_next(_BOOLEAN, inside)[0]) else "refreshed"


def _tlv(tag: int, content: bytes) -> bytes:
    """BER, as RFC 4511 section 5.1 restricts it."""
    length = bytes([len(content)])
    if len(content) >= _SHORT:
        octets = len(content).to_bytes(4, "big").lstrip(b"\0")
        length = bytes([_SHORT | len(octets)]) + octets
    return bytes([tag]) + length + content


def _open(tag: int, data: bytes) -> bytes:
    content, _ = _next(tag, data)
    return content


def _next(tag: int, data: bytes) -> tuple[bytes, bytes]:
    """The content of the first element, and what follows it."""
    if len(data) < 2 or data[0] != tag:  # noqa: PLR2004 - tag and length
        raise ValueError("an element is missing")
    length, start = data[1], 2
    if length >= _SHORT:
        start += length - _SHORT
        length = int.from_bytes(data[2:start], "big")
    if len(data) < start + length:
        raise ValueError("an element is cut short")
    return data[start : start + length], data[start + length :]
