"""The sealed values of entries that are moved: do they open, and do two of them say the same."""

from collections.abc import Iterator

from otpd.adapters.ldap.entries import SEALED
from otpd.directory import SealedValue
from otpd.entry import Entry
from otpd.errors import SealError
from otpd.management.keys import bound_to
from otpd.seal import KeyRing
from otpd.secret import Secret


def attribute_of(entry: Entry) -> str:
    """The attribute of the entry that holds what is sealed; empty where there is none."""
    return SEALED[entry.object_class][1] if entry.object_class in SEALED else ""


def opened(entry: Entry, keys: KeyRing) -> Iterator[tuple[bytes, Secret | None]]:
    """Each sealed value, and what it holds; None where it does not open for this user, this entry and this purpose."""
    if entry.object_class not in SEALED:
        return
    kind, attribute = SEALED[entry.object_class]
    for sealed in entry.attributes.get(attribute, ()):
        value = SealedValue(user=entry.user, id=entry.id, kind=kind, place="", sealed=sealed)
        try:
            yield sealed, keys.open(*bound_to(value), sealed)
        except SealError:
            yield sealed, None


def faults(entry: Entry, keys: KeyRing) -> int:
    """How many of its sealed values do not open."""
    return sum(plain is None for _, plain in opened(entry, keys))
