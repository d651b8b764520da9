"""Writing every entry of a directory into a backup."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from otpd.adapters.ldap.bulk import BulkDirectory
from otpd.backup import Writer
from otpd.entry import Entry
from otpd.seal import KeyRing
from otpd.transfer.sealed import faults

SHOWN: Final = 100
"""How many names a report holds; the numbers are those of all."""


@dataclass
class Exported:
    """What was written, by object class; whose secrets do not open; and what is below the base and not otpd's."""

    entries: Counter[str] = field(default_factory=Counter)
    not_opening: int = 0
    faults: list[tuple[str, str]] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)

    def note(self, entry: Entry, keys: KeyRing) -> None:
        """Count an entry, and look whether its secrets open."""
        self.entries[entry.object_class] += 1
        if bad := faults(entry, keys):
            self.not_opening += bad
            if len(self.faults) < SHOWN:
                self.faults.append((entry.user, entry.id))


def export(bulk: BulkDirectory, writer: Writer, keys: KeyRing, advance: Callable[[int], None]) -> Exported:
    """Write all entries, and the last chunk; after :class:`DirectoryError` or OSError, the file is no backup.

    What is written to the directory meanwhile may be in the backup, or not; an entry is never half of one form.
    """
    result = Exported()
    for page in bulk.pages():
        for entry in filter(_is_kept, page.entries):
            result.note(entry, keys)
            writer.add(entry.to_line())
        result.left_out += [one.dn for one in page.foreign][: SHOWN - len(result.left_out)]
        advance(len(page.entries))
    writer.close()
    return result


def _is_kept(entry: Entry) -> bool:
    """Whether it belongs into a backup: what is good for a while and was used or forgotten must not be good again."""
    return entry.object_class not in ("otpdGrant", "otpdDevice", "otpdMailedCode")
