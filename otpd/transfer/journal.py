"""What a migration has put into its target, on disk: so that it knows its own entries from everybody else's.

A row is written before the entry that it is about, and completed after it. Between the two, the target may hold either
form, or nothing.
"""

import fcntl
import os
import sqlite3
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

from otpd.entry import Entry
from otpd.values import EntryId, UserName

_TABLES: Final = """
CREATE TABLE IF NOT EXISTS entry (
    user TEXT, id TEXT, was BLOB, now BLOB, pass INTEGER, PRIMARY KEY (user, id)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS target (name TEXT PRIMARY KEY);
"""


@dataclass(frozen=True)
class Row:
    """An entry: the digest that was written last, that of what is being written, and the pass that met it last."""

    user: UserName
    id: EntryId
    was: bytes | None
    now: bytes | None
    last_pass: int

    def may_be(self, digest: bytes) -> bool:
        """Whether the migration itself may have written this."""
        return digest in (self.was, self.now)


class BusyError(Exception):
    """Another migration is under way on this host."""


class Journal:
    """The file ``journal.sqlite`` below ``folder``, which is made; for one process at a time."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._lock = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(self._lock)
            raise BusyError from None
        self._file = folder / "journal.sqlite"
        self._database = sqlite3.connect(self._file)
        # The log stays open, and is not made anew for each change: the process is otpd's user then, and may make
        # no file here.
        for setting in ("locking_mode = EXCLUSIVE", "journal_mode = WAL", "synchronous = FULL", "temp_store = MEMORY"):
            self._database.execute(f"PRAGMA {setting}")
        self._database.executescript(_TABLES)
        self.next_pass()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._database.close()
        os.close(self._lock)

    def belongs_to(self, target: str) -> bool:
        """Whether it is about this target; one that is empty is from here on."""
        with self._database:
            self._database.execute("INSERT INTO target SELECT ? WHERE NOT EXISTS (SELECT 1 FROM target)", (target,))
        return self._database.execute("SELECT name FROM target").fetchall() == [(target,)]

    def next_pass(self) -> int:
        """A number greater than that of any pass before."""
        return int(self._database.execute("SELECT coalesce(max(pass), 0) + 1 FROM entry").fetchone()[0])

    def row(self, entry: Entry) -> Row | None:
        """What is known of the entry of this name."""
        found = self._database.execute(
            "SELECT user, id, was, now, pass FROM entry WHERE user = ? AND id = ?", _key(entry)
        ).fetchone()
        return Row(*found) if found else None

    def intend(self, entries: Iterable[Entry]) -> None:
        """Note that these are about to be written."""
        with self._database:
            self._database.executemany(
                "INSERT INTO entry VALUES (?, ?, NULL, ?, 0) ON CONFLICT DO UPDATE SET now = excluded.now",
                [(*_key(entry), entry.digest()) for entry in entries],
            )

    def done(self, entries: Iterable[Entry], number: int) -> None:
        """Note that the target has these, and that the pass ``number`` met them."""
        with self._database:
            self._database.executemany(
                "INSERT INTO entry VALUES (?, ?, ?, NULL, ?) "
                "ON CONFLICT DO UPDATE SET was = excluded.was, now = NULL, pass = excluded.pass",
                [(*_key(entry), entry.digest(), number) for entry in entries],
            )

    def not_met(self, number: int) -> Iterator[Row]:
        """The entries that the pass did not meet, those below others first."""
        query = "SELECT user, id, was, now, pass FROM entry WHERE pass <> ? ORDER BY id = ''"
        for found in self._database.execute(query, (number,)).fetchall():
            yield Row(*found)

    def forget(self, row: Row) -> None:
        """Note that the target does not have this one any more."""
        with self._database:
            self._database.execute("DELETE FROM entry WHERE user = ? AND id = ?", (row.user, row.id))

    def count(self) -> int:
        """Of how many entries it knows."""
        return int(self._database.execute("SELECT count(*) FROM entry").fetchone()[0])

    def remove(self) -> None:
        """Remove the file: the migration has come to its end."""
        self._file.unlink(missing_ok=True)


def _key(entry: Entry) -> tuple[str, str]:
    return entry.user, entry.id
