"""Making a directory the exact copy of another, in passes, and proving that it is.

Whatever the target holds that this did not put there is left alone and named; with any such entry, nothing is proven.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from otpd.adapters.ldap.bulk import BulkDirectory, MissingParent
from otpd.entry import Entry
from otpd.seal import KeyRing
from otpd.transfer.journal import Journal, Row
from otpd.transfer.sealed import faults

SHOWN: Final = 100

Advance = Callable[[int], None]


@dataclass
class Migration:
    """From ``source`` to ``target``. ``foreign`` names entries of the target that are not the migration's own."""

    source: BulkDirectory
    target: BulkDirectory
    journal: Journal
    keys: KeyRing
    foreign: list[str] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)
    not_opening: list[str] = field(default_factory=list)
    number: int = 0

    def copy(self, advance: Advance) -> int:
        """One pass: bring the target up to date with every entry of the source; how many were written."""
        self.number = self.journal.next_pass()
        self.left_out, written, waiting = [], 0, list[Entry]()
        for page in self.source.pages():
            self.left_out += [one.dn for one in page.foreign]
            todo = [entry for entry in page.entries if not self._is_there(entry)]
            self.journal.intend(todo)
            late = [entry for entry in todo if not self._put(entry)]
            waiting += late
            self.journal.done([entry for entry in page.entries if entry not in late], self.number)
            written += len(todo)
            advance(len(page.entries))
        # Only a server that gives what is below an entry before the entry itself leaves something here; or an enrolment
        # in the middle of a pass, which the next one finds.
        self.journal.done([entry for entry in waiting if self._put(entry)], self.number)
        return written

    def remove_vanished(self) -> int:
        """Remove from the target what the last pass did not meet in the source any more; how many."""
        removed = 0
        for row in self.journal.not_met(self.number):
            current = self.target.read(row.user, row.id)
            if current and not row.may_be(current.digest()):
                self._note(current)
                continue
            if current:
                self.target.remove(row.user, row.id)
                removed += 1
            self.journal.forget(row)
        return removed

    def verify(self, advance: Advance) -> int:
        """Read all of the target: every entry is as the source has it, and its secrets open. How many there are.

        ``foreign`` and ``not_opening`` say what is not so.
        """
        seen = 0
        for page in self.target.pages():
            for one in page.foreign:
                self._name(one.dn)
            for entry in page.entries:
                row = self.journal.row(entry)
                if row is None or row.was != entry.digest() or row.last_pass != self.number:
                    self._note(entry)
                if faults(entry, self.keys):
                    self.not_opening.append(_called(entry))
                seen += 1
            advance(len(page.entries))
        return seen

    def complete(self, seen: int) -> bool:
        """Whether the target is the copy of the source that it should be, ``seen`` entries having been read back."""
        return not self.foreign and not self.not_opening and seen == self.journal.count()

    def _is_there(self, entry: Entry) -> bool:
        """Whether an earlier pass has written it so; what the target says of it is looked at in the end."""
        row = self.journal.row(entry)
        return row is not None and row.now is None and row.was == entry.digest()

    def _put(self, entry: Entry) -> bool:
        """Write it; False where its user's entry is not there yet."""
        row = self.journal.row(entry)
        try:
            if self.target.add(entry):
                return True
        except MissingParent:
            return False
        current = self.target.read(entry.user, entry.id)
        if current is None or not self._may_write(current, entry, row) or not self.target.change(current, entry):
            self._note(entry)
        return True

    def _may_write(self, current: Entry, entry: Entry, row: Row | None) -> bool:
        if (current.user, current.id) != (entry.user, entry.id):
            return False
        return current == entry or bool(row and row.may_be(current.digest()))

    def _note(self, entry: Entry) -> None:
        self._name(_called(entry))

    def _name(self, name: str) -> None:
        if len(self.foreign) < SHOWN and name not in self.foreign:
            self.foreign.append(name)


def _called(entry: Entry) -> str:
    return f"{entry.id} of {entry.user}" if entry.id else entry.user
