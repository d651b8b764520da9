"""Bringing what a backup holds into a directory: all of it looked at first, then what is missing added.

Run again after a crash, it goes on: what is there already is found equal.
"""

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from otpd.adapters.ldap.bulk import BulkDirectory, MissingParent
from otpd.backup import Reader
from otpd.entry import Entry, from_line
from otpd.seal import KeyRing
from otpd.transfer.exporting import Exported
from otpd.transfer.merge import merged, same

_TRIES: Final = 5

Tell = Callable[["Outcome", Entry], None]


class Outcome(StrEnum):
    """What became of an entry of a backup."""

    ADDED = "added"
    EQUAL = "equal"
    NEWER = "newer"  # what is in the directory was used, disabled or made anew since, and stays
    CHANGED = "changed"
    DIFFERS = "differs"
    OTHER_NAME = "other_name"  # the directory has a user whose name differs in case alone
    ORPHAN = "orphan"  # no entry of its user, neither here nor there


LEFT_ALONE: Final = (Outcome.DIFFERS, Outcome.OTHER_NAME, Outcome.ORPHAN)
"""What the directory does not have as the backup does, though it could."""


@dataclass
class Import:
    """One run, from ``reader`` to ``bulk``."""

    reader: Reader
    bulk: BulkDirectory
    keys: KeyRing
    overwrite: bool = False
    dry_run: bool = False
    outcomes: Counter[Outcome] = field(default_factory=Counter)
    _others: set[str] = field(default_factory=set)

    def look(self, advance: Callable[[int], None]) -> Exported:
        """Read the whole file: what is in it, and whose secrets do not open; raises :class:`BackupError`."""
        found = Exported()
        for entry in self._entries():
            found.note(entry, self.keys)
            advance(1)
        return found

    def run(self, tell: Tell) -> None:
        """Bring everything in, users' own entries first; ``tell`` hears of each. Raises :class:`DirectoryError`."""
        for own in (True, False):
            for entry in self._entries():
                if own is not bool(entry.id):
                    outcome = self._bring(entry)
                    self.outcomes[outcome] += 1
                    tell(outcome, entry)

    def _entries(self) -> Iterator[Entry]:
        return map(from_line, self.reader.lines())

    def _bring(self, entry: Entry) -> Outcome:
        if entry.user in self._others:
            return Outcome.OTHER_NAME
        if not self.dry_run:
            try:
                if self.bulk.add(entry):
                    return Outcome.ADDED
            except MissingParent:
                return Outcome.ORPHAN
        for _ in range(_TRIES):
            current = self.bulk.read(entry.user, entry.id)
            outcome = self._meet(current, entry) if current else self._would_add(entry)
            if outcome:
                return outcome
        return Outcome.DIFFERS

    def _would_add(self, entry: Entry) -> Outcome | None:
        return Outcome.ADDED if self.dry_run or self.bulk.add(entry) else None

    def _meet(self, current: Entry, entry: Entry) -> Outcome | None:
        """What becomes of an entry that is there; None where it changed meanwhile."""
        if current.user != entry.user or current.id != entry.id:
            self._others.add(entry.user)
            return Outcome.OTHER_NAME
        if current.object_class != entry.object_class:
            return Outcome.DIFFERS
        if same(current, entry, self.keys):
            return Outcome.EQUAL
        wanted = merged(current, entry, self.keys)
        if wanted == current:
            return Outcome.NEWER
        if not self.overwrite:
            return Outcome.DIFFERS
        if self.dry_run or self.bulk.change(current, wanted):
            return Outcome.CHANGED
        return None
