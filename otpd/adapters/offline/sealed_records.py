"""A file of sealed records on this host (SQLite): what the offline rule remembers.

A record is found by a keyed digest of its user, and holds JSON that is sealed for that place, so the file shows as
little as the directory does. Its key is the file's own, and is sealed with the key ring. A change is on disk when its
transaction ends.
"""

import json
import os
import secrets
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from otpd.clock import Deadline
from otpd.errors import SealError, StoreError
from otpd.seal import KeyRing
from otpd.secret import Secret

_PURPOSE: Final = "offline"
_KEY_PURPOSE: Final = "offline key"
_KEY_BYTES: Final = 32
_FORMAT: Final = 1
_SECONDS: Final = 5.0
_TABLES: Final = """
CREATE TABLE IF NOT EXISTS key (sealed BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS record (
    user BLOB NOT NULL, kind TEXT NOT NULL, item BLOB NOT NULL,
    unsettled INTEGER NOT NULL, day INTEGER NOT NULL, sealed BLOB NOT NULL,
    PRIMARY KEY (user, kind, item)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS unsettled ON record (unsettled) WHERE unsettled;
"""

_FAULTS: Final = (sqlite3.Error, OSError, SealError, ValueError, TypeError, KeyError)

Value = dict[str, Any]


@dataclass(frozen=True)
class Record:
    """One record; ``unsettled`` says that the directory does not know of it yet."""

    value: Value
    unsettled: bool
    day: int


class Records:
    """The records, within one transaction. ``item`` tells records of one kind and user apart."""

    def __init__(self, database: sqlite3.Connection, ring: KeyRing) -> None:
        self._database = database
        self._ring = ring

    def get(self, user: str, kind: str, item: str = "") -> Record | None:
        """One record; raises :class:`SealError` where it does not open."""
        where = "user = ? AND kind = ? AND item = ?"
        return next(self._select(where, self._user(user), kind, self._item(user, item)), None)

    def of_user(self, user: str, kind: str) -> list[Record]:
        """All records of a kind."""
        return list(self._select("user = ? AND kind = ?", self._user(user), kind))

    def unsettled(self, kind: str, limit: int) -> list[Record]:
        """What the directory does not know yet, of all users."""
        return list(self._select("unsettled AND kind = ? LIMIT ?", kind, limit))

    def has_unsettled(self, user: str) -> bool:
        """Whether the directory does not know all of a user yet."""
        found = self._database.execute("SELECT 1 FROM record WHERE user = ? AND unsettled LIMIT 1", [self._user(user)])
        return found.fetchone() is not None

    def put(self, user: str, kind: str, item: str, record: Record) -> None:
        """Write a record, in the place of the one that is there."""
        place = (self._user(user), kind, self._item(user, item))
        sealed = self._ring.seal(_PURPOSE, _place(*place), Secret(json.dumps(record.value).encode()))
        self._database.execute(
            "INSERT OR REPLACE INTO record VALUES (?, ?, ?, ?, ?, ?)", [*place, record.unsettled, record.day, sealed]
        )

    def remove(self, user: str, kind: str, item: str = "") -> None:
        """Remove a record, if it is there."""
        place = (self._user(user), kind, self._item(user, item))
        self._database.execute("DELETE FROM record WHERE user = ? AND kind = ? AND item = ?", place)

    def remove_settled(self, user: str) -> None:
        """Remove all of a user that the directory knows."""
        self._database.execute("DELETE FROM record WHERE user = ? AND NOT unsettled", [self._user(user)])

    def make_room(self, kind: str, limit: int) -> None:
        """Leave fewer than ``limit`` records of a kind: those of users who were not seen for longest go.

        With a record go all of its user, but for what is unsettled.
        """
        oldest = "SELECT user FROM record WHERE kind = ? ORDER BY day LIMIT max(0, ? + 1 - ?)"
        count = self.count(kind)
        for (user,) in self._database.execute(oldest, [kind, count, limit]).fetchall():
            self._database.execute("DELETE FROM record WHERE user = ? AND (NOT unsettled OR kind = ?)", [user, kind])

    def count(self, kind: str) -> int:
        """How many records of a kind there are."""
        return int(self._database.execute("SELECT count(*) FROM record WHERE kind = ?", [kind]).fetchone()[0])

    def count_unsettled(self) -> int:
        """Of how many users the directory does not know all."""
        return int(self._database.execute("SELECT count(DISTINCT user) FROM record WHERE unsettled").fetchone()[0])

    def _select(self, where: str, *values: object) -> Iterator[Record]:
        columns = "user, kind, item, unsettled, day, sealed"
        rows = self._database.execute(f"SELECT {columns} FROM record WHERE {where}", values).fetchall()  # noqa: S608
        for user, kind, item, unsettled, day, sealed in rows:
            plain = self._ring.open(_PURPOSE, _place(user, kind, item), bytes(sealed))
            yield Record(json.loads(plain.reveal()), bool(unsettled), int(day))

    def _user(self, user: str) -> bytes:
        return self._ring.tag("user", (user,))

    def _item(self, user: str, item: str) -> bytes:
        return self._ring.tag("item", (user, item)) if item else b""


class SealedRecords:
    """The file, from many threads; other processes may have it open too."""

    def __init__(
        self, path: Path, keys: KeyRing, *, read_only: bool = False, on_failure: Callable[[], None] = lambda: None
    ) -> None:
        """Open ``path``, and make it where there is none; raises :class:`StoreError` as everything here does.

        ``on_failure`` is called when a change could not be made, before anybody else's turn comes.
        """
        self._lock = threading.Lock()
        self._path = path
        self._on_failure = on_failure
        with self._faults():
            self._database = _open(path, read_only=read_only)
            try:
                if not read_only:
                    self._set_up(keys)
                self._ring = self._own_ring(keys)
            except BaseException:
                self._database.close()
                raise

    @contextmanager
    def transaction(self, deadline: Deadline, *, read_only: bool = False) -> Iterator[Records]:
        """All or nothing: what is written is on disk when the block ends, and nobody else writes meanwhile."""
        if not self._lock.acquire(timeout=deadline.remaining_seconds()):
            raise StoreError(f"{self._path}: others keep it busy")
        try:
            with self._faults():
                self._database.execute(f"PRAGMA busy_timeout = {int(deadline.remaining_seconds() * 1000)}")
                with self._begun(read_only=read_only):
                    yield Records(self._database, self._ring)
        finally:
            self._lock.release()

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._database.close()

    @contextmanager
    def _begun(self, *, read_only: bool) -> Iterator[None]:
        self._database.execute("BEGIN" if read_only else "BEGIN IMMEDIATE")
        try:
            yield
            self._database.execute("COMMIT")
        except BaseException as error:
            if isinstance(error, _FAULTS) and not read_only:
                self._on_failure()
            with suppress(sqlite3.Error):
                self._database.execute("ROLLBACK")
            raise

    @contextmanager
    def _faults(self) -> Iterator[None]:
        try:
            yield
        except _FAULTS as error:
            # SQLite's sentences are of its own making; what is not may quote what is sealed.
            words = str(error) if isinstance(error, (sqlite3.Error, OSError, SealError)) else "a record does not parse"
            raise StoreError(f"{self._path}: {words}") from None

    def _set_up(self, keys: KeyRing) -> None:
        if self._value("PRAGMA quick_check") != "ok":
            raise sqlite3.DatabaseError("it is damaged")
        if self._value("PRAGMA user_version") not in (0, _FORMAT):
            raise sqlite3.DatabaseError("it is of another version of otpd")
        self._database.execute("PRAGMA journal_mode = WAL")
        self._database.execute("PRAGMA synchronous = FULL")
        self._database.executescript(_TABLES)
        self._database.execute(f"PRAGMA user_version = {_FORMAT}")
        with self._begun(read_only=False):
            found = self._value("SELECT sealed FROM key")
            key = keys.open(_KEY_PURPOSE, (), found) if found else Secret(secrets.token_bytes(_KEY_BYTES))
            if found is None or not found.startswith(f"{keys.current}.".encode()):
                # Sealed anew with the key that seals now: the one before it may be retired.
                self._database.execute("DELETE FROM key")
                self._database.execute("INSERT INTO key VALUES (?)", [keys.seal(_KEY_PURPOSE, (), key)])

    def _own_ring(self, keys: KeyRing) -> KeyRing:
        sealed = self._value("SELECT sealed FROM key")
        if sealed is None:
            raise sqlite3.DatabaseError("it holds no key")
        return KeyRing({_PURPOSE: keys.open(_KEY_PURPOSE, (), sealed)}, _PURPOSE)

    def _value(self, statement: str) -> Any:  # noqa: ANN401 - SQLite's
        with closing(self._database.execute(statement)) as cursor:
            row = cursor.fetchone()
        return row[0] if row else None


def _open(path: Path, *, read_only: bool) -> sqlite3.Connection:
    if not read_only:
        # SQLite gives its other files the mode of this one.
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600))
    uri = f"{path.absolute().as_uri()}?mode={'ro' if read_only else 'rw'}"
    return sqlite3.connect(uri, uri=True, timeout=_SECONDS, isolation_level=None, check_same_thread=False)


def _place(user: bytes, kind: str, item: bytes) -> tuple[str, ...]:
    return user.hex(), kind, item.hex()
