"""An entry of otpd's subtree as it is moved about: whose it is and what it holds, whatever the directory.

Pure. As a line it is JSON, with attributes and values in order, so that equal entries are equal lines.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from otpd.errors import BackupError
from otpd.values import EntryId, UserName

_DIGEST_BYTES: Final = 16

Attributes = Mapping[str, tuple[bytes, ...]]
"""The values of each attribute that is there, in order; ``objectClass`` is the one structural class."""


@dataclass(frozen=True)
class Entry:
    """The entry of ``user``, or, with an ``id``, one below it."""

    user: UserName
    id: EntryId
    attributes: Attributes = field(repr=False)

    @property
    def object_class(self) -> str:
        """Its structural class."""
        return self.attributes["objectClass"][0].decode()

    def value(self, attribute: str) -> bytes | None:
        """The first value of ``attribute``, if it is there."""
        return next(iter(self.attributes.get(attribute, ())), None)

    def to_line(self) -> bytes:
        """The entry as one line of JSON, without its end."""
        attributes = {name: [_text(value) for value in values] for name, values in self.attributes.items()}
        whole = {"user": self.user, "id": self.id, "attributes": attributes}
        return json.dumps(whole, sort_keys=True, separators=(",", ":")).encode("ascii")

    def digest(self) -> bytes:
        """16 bytes that differ where anything of the entry does."""
        return hashlib.sha256(self.to_line()).digest()[:_DIGEST_BYTES]


def make(user: UserName, entry_id: EntryId, attributes: Mapping[str, list[bytes]]) -> Entry:
    """An entry whose values are put in order, so that it can be compared."""
    return Entry(user, entry_id, {name: tuple(sorted(values)) for name, values in attributes.items() if values})


def from_line(line: bytes) -> Entry:
    """The entry of a line; raises :class:`BackupError` for what is none."""
    try:
        whole = json.loads(line)
        return make(
            UserName(_string(whole["user"])),
            EntryId(_string(whole["id"])),
            {_string(name): [_bytes(value) for value in values] for name, values in whole["attributes"].items()},
        )
    except (ValueError, TypeError, LookupError, AttributeError):
        raise BackupError("a line that is no entry") from None


def _text(value: bytes) -> str:
    return value.decode("utf-8", "surrogateescape")


def _bytes(value: Any) -> bytes:  # noqa: ANN401 - what JSON holds
    return _string(value).encode("utf-8", "surrogateescape")


def _string(value: Any) -> str:  # noqa: ANN401
    if not isinstance(value, str):
        raise TypeError
    return value
