"""What a host remembers of the directory for when it is away, and what it decides then, in one file of sealed records.

``entries`` are a user's entries as they were last read. ``step`` is the last time step of a token that this host
accepted, or sent to the directory: a code is claimed here before it is spent anywhere, so that one which is judged
while the directory goes or comes back is not accepted twice. ``failures`` are the wrong codes that the directory does
not know of.
"""

import base64
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Final

from otpd.adapters.ldap import entries as ldap_entries
from otpd.adapters.ldap.reader import Entries
from otpd.adapters.offline.sealed_records import Record, SealedRecords
from otpd.clock import Clock, Deadline
from otpd.directory import Token
from otpd.errors import DirectoryUnavailable
from otpd.offline import Contact, OfflineProof
from otpd.seal import KeyRing
from otpd.values import EntryId, TimeStep, UserName

DOUBT_SECONDS: Final = 3600.0
"""Longer than any code is right: the widest window of the longest steps is 42 minutes."""

_ENTRIES: Final = "entries"
_STEP: Final = "step"
_FAILURES: Final = "failures"
_CONTACT: Final = "contact"
_DAY_SECONDS: Final = 86400
_BATCH: Final = 100


@dataclass(frozen=True)
class Remembered:
    """A user's entries, the last time step of each token that this host knows to be spent, and the failures."""

    found: Entries = field(repr=False)
    steps: Mapping[EntryId, "Spent"]
    failures: "Failures | None"


@dataclass(frozen=True)
class Failures:
    """The failure count as this host sees it.

    ``unknown`` of them are to be added to the directory's, which is being moved from ``old`` to ``new``, if any.
    """

    user: UserName
    count: int
    last: float
    unknown: int
    old: int | None = None
    new: int | None = None


@dataclass(frozen=True)
class Spent:
    """A time step that the directory may not know to be spent.

    ``created`` is when its token was made: after a reset, another token has the same id, and begins anew.
    """

    user: UserName
    token: EntryId
    step: TimeStep
    created: float = 0.0

    def is_of(self, token: Token) -> bool:
        """Whether it is a step of this very token."""
        return (self.token, self.created) == (token.id, token.created)


class Memory:
    """The file, for the one process that writes it; raises :class:`~otpd.errors.StoreError` where it cannot be used."""

    def __init__(self, path: Path, keys: KeyRing, clock: Clock, users: int) -> None:
        self._clock = clock
        self._users = users
        self._doubt_until = 0.0
        self._records = SealedRecords(path, keys, on_failure=self._doubt)

    @property
    def doubtful(self) -> bool:
        """Whether something could not be written lately: then a code may be spent that this host takes for good."""
        return self._clock.monotonic() < self._doubt_until

    def remember(self, name: UserName, proof: OfflineProof, found: Entries, deadline: Deadline) -> bool:
        """Keep the entries as they were read now; whether there is something of the user that the directory lacks."""
        with self._records.transaction(deadline) as records:
            if found:
                today = int(self._clock.wall() // _DAY_SECONDS)
                known = records.get(name, _ENTRIES)
                value = {**(known.value if known else {}), proof: _to_json(found)}
                if known is None:
                    records.make_room(_ENTRIES, self._users)
                if known is None or (known.value, known.day) != (value, today):
                    records.put(name, _ENTRIES, "", Record(value, unsettled=False, day=today))
            else:
                # What is gone from the directory must not come back when that is away.
                records.remove_settled(name)
            return records.has_unsettled(name)

    def recall(self, name: UserName, proof: OfflineProof, deadline: Deadline) -> Remembered | None:
        """What :meth:`remember` kept, or None; a user whom either kind of entries shows disabled is so in both."""
        with self._records.transaction(deadline, read_only=True) as records:
            known = records.get(name, _ENTRIES)
            steps = [_to_spent(record) for record in records.of_user(name, _STEP)]
            failures = records.get(name, _FAILURES)
        if known is None or proof not in known.value:
            return None
        kinds = {kind: _from_json(value) for kind, value in known.value.items()}
        disabled = any(_is_disabled(found) for found in kinds.values())
        return Remembered(
            found=_disabled(kinds[proof]) if disabled else kinds[proof],
            steps={spent.token: spent for spent in steps},
            failures=Failures(**failures.value) if failures else None,
        )

    def claim(self, spent: Spent, deadline: Deadline, *, offline: bool) -> bool:
        """Take a time step for this caller alone, durably; False where this host knows it or a later one to be taken.

        ``offline`` says that the directory does not get to know of it by the caller.
        """
        with self._records.transaction(deadline) as records:
            if offline and self.doubtful:
                raise DirectoryUnavailable("this host cannot be sure which codes were used, since a write failed")
            known = records.get(spent.user, _STEP, spent.token)
            if known and _to_spent(known).created != spent.created:
                known = None  # the token that is gone
            if known and known.value["step"] >= spent.step:
                return False
            unsettled = offline or (known is not None and known.unsettled)
            records.put(spent.user, _STEP, spent.token, Record(asdict(spent), unsettled, day=0))
            return True

    def set_failures(self, name: UserName, known: int, move: tuple[int, int], at: float, deadline: Deadline) -> bool:
        """Move the failure count, from and to; ``known`` is the directory's, as remembered."""
        old, new = move
        with self._records.transaction(deadline) as records:
            record = records.get(name, _FAILURES)
            failures = Failures(**record.value) if record else Failures(name, count=known, last=0.0, unknown=0)
            if failures.count != old:
                return False
            unknown = max(0, failures.unknown + new - old)
            changed = Failures(name, new, at, unknown, failures.old, failures.new)
            records.put(name, _FAILURES, "", Record(asdict(changed), unsettled=True, day=0))
            return True

    def unsettled(self, deadline: Deadline, passed_over: int = 0) -> list[UserName]:
        """Users of whom the directory lacks something; not all, but more than ``passed_over``, if there are more."""
        limit = _BATCH * (1 + passed_over)  # a user has fewer records than a batch
        with self._records.transaction(deadline, read_only=True) as records:
            found = [*records.unsettled(_STEP, limit), *records.unsettled(_FAILURES, limit)]
        return list(dict.fromkeys(UserName(record.value["user"]) for record in found))

    def unsettled_steps(self, name: UserName, deadline: Deadline) -> list[Spent]:
        """The time steps of a user that the directory may lack."""
        with self._records.transaction(deadline, read_only=True) as records:
            return [_to_spent(record) for record in records.of_user(name, _STEP) if record.unsettled]

    def settle_step(self, spent: Spent, deadline: Deadline) -> None:
        """The directory shows ``spent``, or lacks the token for good."""
        with self._records.transaction(deadline) as records:
            known = records.get(spent.user, _STEP, spent.token)
            if known and _to_spent(known).created == spent.created and known.value["step"] <= spent.step:
                records.put(spent.user, _STEP, spent.token, replace(known, unsettled=False))

    def failures(self, name: UserName, deadline: Deadline) -> Failures | None:
        """The failures of a user that the directory lacks."""
        with self._records.transaction(deadline, read_only=True) as records:
            record = records.get(name, _FAILURES)
        return Failures(**record.value) if record else None

    def replace_failures(self, old: Failures, new: Failures | None, deadline: Deadline) -> bool:
        """Put ``new`` in the place of ``old``, if that still stands there."""
        with self._records.transaction(deadline) as records:
            record = records.get(old.user, _FAILURES)
            if record is None or Failures(**record.value) != old:
                return False
            if new is None:
                records.remove(old.user, _FAILURES)
            else:
                records.put(old.user, _FAILURES, "", Record(asdict(new), unsettled=True, day=0))
            return True

    def contact(self, deadline: Deadline) -> Contact:
        """What was kept by :meth:`keep_contact`."""
        with self._records.transaction(deadline, read_only=True) as records:
            record = records.get("", _CONTACT)
        return Contact(**record.value) if record else Contact()

    def keep_contact(self, contact: Contact, deadline: Deadline) -> None:
        """Keep when this host heard of the directory."""
        with self._records.transaction(deadline) as records:
            value = {**asdict(contact), "away": dict(contact.away)}
            records.put("", _CONTACT, "", Record(value, unsettled=False, day=0))

    def close(self) -> None:
        """Close the file."""
        self._records.close()

    def _doubt(self) -> None:
        self._doubt_until = self._clock.monotonic() + DOUBT_SECONDS


@dataclass(frozen=True)
class Counts:
    """How many users are remembered, and of how many the directory lacks something."""

    users: int
    unsettled: int


def look(path: Path, keys: KeyRing, deadline: Deadline) -> tuple[Contact, Counts]:
    """What another process keeps in ``path``; nothing is changed."""
    file = SealedRecords(path, keys, read_only=True)
    try:
        with file.transaction(deadline, read_only=True) as records:
            record = records.get("", _CONTACT)
            counts = Counts(records.count(_ENTRIES), records.count_unsettled())
    finally:
        file.close()
    return Contact(**record.value) if record else Contact(), counts


def _to_spent(record: Record) -> Spent:
    return Spent(**record.value)


def _to_json(found: Entries) -> dict[str, Any]:
    return {
        dn: {name: sorted(map(_text, values)) for name in ldap_entries.ATTRIBUTES if (values := entry.get(name))}
        for dn, entry in found.items()
    }


def _from_json(value: dict[str, Any]) -> Entries:
    return {
        dn: {name: [base64.b64decode(text) for text in texts] for name, texts in entry.items()}
        for dn, entry in value.items()
    }


def _text(value: bytes) -> str:
    return base64.b64encode(value).decode()


def _is_disabled(found: Entries) -> bool:
    users = [entry for entry in found.values() if ldap_entries.is_a(entry, "otpdUser")]
    return any(list(entry.get("otpdState", ())) == [b"disabled"] for entry in users)


def _disabled(found: Entries) -> Entries:
    return {
        dn: {**entry, "otpdState": [b"disabled"]} if ldap_entries.is_a(entry, "otpdUser") else entry
        for dn, entry in found.items()
    }
