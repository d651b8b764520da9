"""Users' entries as they were read, kept for as long as somebody vouches for them.

Who vouches is :mod:`otpd.adapters.ldap.watch`: it proves, over and over, that the provider is there, and hands on what
it notifies of. Where a provider notifies of nothing, what was read is good for a second. Where nobody vouches,
every read goes to the servers, as if there were no cache.
"""

import re
import sys
import threading
import unicodedata
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final
from uuid import UUID

from otpd.adapters.ldap import entries as ldap_entries
from otpd.adapters.ldap import names as ldap_names
from otpd.adapters.ldap.connections import Role
from otpd.adapters.ldap.reader import Ask, Entries, Entry
from otpd.clock import Clock, Deadline
from otpd.errors import DirectoryError, DirectoryUnavailable
from otpd.values import UserName

UNNOTIFIED_SECONDS: Final = 0.8
"""How long what was read is good for where changes are not notified of."""

_ALL: Final = "(objectClass=*)"
_PATIENCE_SECONDS: Final = 0.5
"""How long the provider has to answer what any server may: it was there two seconds ago, and may be there no more."""
_LARGEST_SHARE: Final = 16
"""A user who takes more than this part of the cache is not kept."""
_USER_BYTES: Final = 700
_ENTRY_BYTES: Final = 400
"""What one user and one entry take beside names and values: measured, in tests/unit/test_ldap_cache.py."""

_ATTRIBUTES: Final = {name.lower(): sys.intern(name) for name in ldap_entries.ATTRIBUTES}
_SPACES: Final = re.compile(r"\s+")


@dataclass(frozen=True)
class Change:
    """What a server notifies of: the entry ``uuid``, whose name is ``dn``, is ``entry`` now, or is gone (None)."""

    uuid: bytes
    dn: str
    entry: Entry | None


Held = Mapping[bytes, tuple[str, Entry]]
"""DN and attributes by UUID, or by DN where the server has no UUIDs."""


@dataclass(frozen=True, slots=True)
class _Kept:
    """A user's entries; ``read_at`` is the moment (monotonic seconds) before they were asked for."""

    name: UserName
    held: Held
    read_at: float
    size_bytes: int


@dataclass(eq=False)
class _Fill:
    """A read that is under way, and what changed meanwhile: what it gives may be older than that."""

    key: str
    spoiled: bool = False
    changed: set[bytes] = field(default_factory=set)


class Cache:
    """:class:`otpd.adapters.ldap.reader.Reader` that keeps entries in up to ``limit_bytes``; many threads share it.

    A user's entries are read all at once, from the provider. Users without an entry are not kept.
    """

    def __init__(self, clock: Clock, limit_bytes: int) -> None:
        self._clock = clock
        self._limit_bytes = limit_bytes
        self._lock = threading.Lock()
        self._users: OrderedDict[str, _Kept] = OrderedDict()
        self._owners: dict[bytes, str] = {}
        self._fills: set[_Fill] = set()
        self._bytes = 0
        self._vouched_until = 0.0
        self._notified = False

    def __len__(self) -> int:
        """How many users are kept."""
        return len(self._users)

    def vouch(self, until: float, *, notified: bool) -> None:
        """The provider is there until that moment (monotonic seconds); ``notified``: it tells of changes."""
        with self._lock:
            if notified != self._notified:
                self._clear()
            self._vouched_until, self._notified = until, notified

    def lose(self) -> None:
        """Nobody vouches any more."""
        with self._lock:
            self._vouched_until = 0.0
            self._clear()

    def change(self, change: Change) -> None:
        """Take over what was notified of."""
        owner = ldap_names.user_of(change.dn)
        with self._lock:
            if owner is None:
                self._clear()
                return
            key, before = _key(owner), self._owners.get(change.uuid, "")
            for fill in self._fills:
                fill.spoiled = fill.spoiled or fill.key == key
                fill.changed.add(change.uuid)
            if before != key:
                self._drop(before)  # an entry that was moved
            kept = self._users.get(key)
            if kept:
                self._put(key, kept.name, _changed(kept.held, change), kept.read_at)

    def written(self, dn: str) -> None:  # noqa: D102
        owner = ldap_names.user_of(dn)
        with self._lock:
            if owner is None:
                self._clear()
            else:
                self._forget(_key(owner))

    def read(self, name: UserName, which: str, role: Role, deadline: Deadline, ask: Ask) -> Entries:  # noqa: D102
        with self._lock:
            vouched = self._vouches()
            kept = self._users.get(_key(name)) if vouched else None
            if kept and kept.name == name and self._is_good(kept):
                self._users.move_to_end(_key(name))
                return dict(kept.held.values())
        if not vouched:
            return ask(which, role, deadline)
        try:
            return self._fill(name, ask, deadline if role == "write" else _soon(deadline))
        except DirectoryError as error:
            # What any server may answer must not depend on the provider, nor a login on what else a user has.
            if role == "write" and isinstance(error, DirectoryUnavailable):
                raise
            return ask(which, role, deadline)

    def _fill(self, name: UserName, ask: Ask, deadline: Deadline) -> Entries:
        fill, asked_at = _Fill(_key(name)), self._clock.monotonic()
        with self._lock:
            self._fills.add(fill)
        try:
            found = ask(_ALL, "write", deadline)
        finally:
            with self._lock:
                self._fills.discard(fill)
        held = {_uuid(entry) or dn.encode(): (dn, _compact(entry)) for dn, entry in found.items()}
        with self._lock:
            keeps = _is_of(name, held) and (not self._notified or all(map(_uuid, found.values())))
            if keeps and self._vouches() and not fill.spoiled and fill.changed.isdisjoint(held):
                self._put(fill.key, name, held, asked_at)
        return found

    def _vouches(self) -> bool:
        return self._clock.monotonic() < self._vouched_until

    def _is_good(self, kept: _Kept) -> bool:
        return self._notified or self._clock.monotonic() < kept.read_at + UNNOTIFIED_SECONDS

    def _put(self, key: str, name: UserName, held: Held, read_at: float) -> None:
        self._drop(key)
        size = _size(held)
        if size > self._limit_bytes // _LARGEST_SHARE or not _is_of(name, held):
            return
        for uuid in held:
            self._drop(self._owners.get(uuid, ""))  # an entry that was moved
        self._users[key] = _Kept(name, held, read_at, size)
        self._owners |= dict.fromkeys(held, key)
        self._bytes += size
        while self._bytes > self._limit_bytes:
            self._drop(next(iter(self._users)))

    def _drop(self, key: str) -> None:
        kept = self._users.pop(key, None)
        if kept:
            self._bytes -= kept.size_bytes
            for uuid in kept.held:
                del self._owners[uuid]

    def _forget(self, key: str) -> None:
        self._drop(key)
        for fill in self._fills:
            fill.spoiled = fill.spoiled or fill.key == key

    def _clear(self) -> None:
        self._users.clear()
        self._owners.clear()
        self._bytes = 0
        for fill in self._fills:
            fill.spoiled = True


def _key(name: str) -> str:
    """One for all names that a server may take for the same (RFC 4518, and coarser than it)."""
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", name).casefold())
    return _SPACES.sub(" ", folded).strip()


def _changed(held: Held, change: Change) -> Held:
    others = {uuid: entry for uuid, entry in held.items() if uuid != change.uuid}
    return others if change.entry is None else {**others, change.uuid: (change.dn, _compact(change.entry))}


def _is_of(name: UserName, held: Held) -> bool:
    """Whether the user's own entry is there, under the very name."""
    return any(
        name.encode() in entry.get("uid", ()) for _, entry in held.values() if ldap_entries.is_a(entry, "otpdUser")
    )


def _uuid(entry: Entry) -> bytes:
    """Empty where the server has none."""
    return UUID(entry[ldap_entries.UUID][0].decode()).bytes if entry.get(ldap_entries.UUID) else b""


def _compact(entry: Entry) -> Entry:
    """What otpd reads of an entry, in a form that takes little."""
    return {_ATTRIBUTES[name.lower()]: tuple(values) for name, values in entry.items() if name.lower() in _ATTRIBUTES}


def _size(held: Held) -> int:
    parts = (part for dn, entry in held.values() for part in (dn, entry, *entry.values()))
    values = (value for _, entry in held.values() for values in entry.values() for value in values)
    return _USER_BYTES + _ENTRY_BYTES * len(held) + _total(parts) + _total(values)


def _total(things: Iterable[object]) -> int:
    return sum(map(sys.getsizeof, things))


def _soon(deadline: Deadline) -> Deadline:
    return Deadline.after(deadline.clock, min(_PATIENCE_SECONDS, deadline.remaining_seconds() / 2))
