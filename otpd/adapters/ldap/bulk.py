"""The directory as a whole: every entry of otpd's subtree read, and single ones written, for backups and migrations.

Entries are read in pages where the server has them (RFC 2696), so that a million of them need little memory. All of it
is asked of the provider: what a replica lacks is not to be missing from a backup.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import ldap3
from ldap3.core.results import (
    RESULT_ADMIN_LIMIT_EXCEEDED,
    RESULT_ENTRY_ALREADY_EXISTS,
    RESULT_NO_SUCH_OBJECT,
    RESULT_SIZE_LIMIT_EXCEEDED,
    RESULT_SUCCESS,
)

from otpd.adapters.ldap.connections import Connections, check
from otpd.adapters.ldap.entries import ATTRIBUTES, OBJECT_CLASSES, is_a
from otpd.adapters.ldap.names import child_dn, depth, place_of, user_dn
from otpd.adapters.ldap.operations import LOST, PAGED_RESULTS, cookie_of
from otpd.clock import Clock, Deadline
from otpd.entry import Entry, make
from otpd.errors import DirectoryError
from otpd.values import EntryId, UserName

PAGE: Final = 500
_SECONDS: Final = 60.0
_ANY: Final = "(objectClass=*)"
_SUCCESS: Final[int] = RESULT_SUCCESS
_LIMITS: Final = (RESULT_SIZE_LIMIT_EXCEEDED, RESULT_ADMIN_LIMIT_EXCEEDED)


@dataclass(frozen=True)
class Foreign:
    """An entry below the base that is none of otpd's, or that this version does not know."""

    dn: str


@dataclass(frozen=True)
class Page:
    """A part of what is there."""

    entries: tuple[Entry, ...]
    foreign: tuple[Foreign, ...]


class BulkDirectory:
    """otpd's subtree below ``base_dn``, whose own entry is left alone."""

    def __init__(self, connections: Connections, base_dn: str, clock: Clock) -> None:
        self._connections = connections
        self._base_dn = base_dn
        self._clock = clock

    def pages(self) -> Iterator[Page]:
        """Every entry; of those that are made or removed meanwhile, some. Raises :class:`DirectoryError`."""
        size, cookie = (PAGE if self._has_pages() else None), None
        while True:
            result, found = self._search(self._base_dn, ldap3.SUBTREE, paged_size=size, paged_cookie=cookie)
            if result["result"] in _LIMITS:
                raise DirectoryError(
                    f"search: {self._base_dn}: the server does not give otpd's account all entries; docs/directory.md, "
                    '"Limits", says how to lift its limits'
                )
            check(result, "search", self._base_dn, (_SUCCESS,))
            yield self._page(found)
            cookie = cookie_of(result)
            if not cookie:
                return

    def read(self, user: UserName, entry_id: EntryId) -> Entry | None:
        """One entry as it is now, or None; raises :class:`DirectoryError` for one that is not otpd's."""
        result, found = self._search(self._dn(user, entry_id), ldap3.BASE)
        if check(result, "search", self._base_dn, (_SUCCESS, RESULT_NO_SUCH_OBJECT)) != _SUCCESS or not found:
            return None
        page = self._page(found)
        if not page.entries:
            raise DirectoryError(f"{found[0][0]}: is no entry of otpd's")
        return page.entries[0]

    def add(self, entry: Entry) -> bool:
        """Add it; False where there is one of its name already. Raises :class:`MissingParent` for lack of its user."""
        attributes = {name: list(values) for name, values in entry.attributes.items()}
        dn = self._dn(entry.user, entry.id)
        result = self._write("add", lambda link: link.add(dn, attributes=attributes))
        accept = (_SUCCESS, RESULT_ENTRY_ALREADY_EXISTS, RESULT_NO_SUCH_OBJECT)
        code = check(result, "add", self._base_dn, accept)
        if code == RESULT_NO_SUCH_OBJECT:
            raise MissingParent(f"add: there is no entry above {dn}")
        return code == _SUCCESS

    def change(self, current: Entry, wanted: Entry) -> bool:
        """Make ``wanted`` of what is ``current``; False where that is not what is there any more."""
        changes = {
            name: list(_changes(current.attributes.get(name, ()), wanted.attributes.get(name, ())))
            for name in {*current.attributes, *wanted.attributes}
        }
        changes = {name: given for name, given in changes.items() if given}
        if not changes:
            return True
        dn = self._dn(current.user, current.id)
        result = self._write("modify", lambda link: link.modify(dn, changes))
        return check(result, "modify", self._base_dn, (_SUCCESS, *LOST)) == _SUCCESS

    def remove(self, user: UserName, entry_id: EntryId) -> None:
        """Remove an entry that nothing is below of."""
        result = self._write("delete", lambda link: link.delete(self._dn(user, entry_id)))
        check(result, "delete", self._base_dn, (_SUCCESS, RESULT_NO_SUCH_OBJECT))

    def _page(self, found: list[tuple[str, dict[str, list[bytes]]]]) -> Page:
        entries, foreign = [], []
        for dn, attributes in found:
            entry = self._entry(dn, attributes)
            if entry:
                entries.append(entry)
            elif depth(dn) > depth(self._base_dn):
                foreign.append(Foreign(dn))
        return Page(tuple(entries), tuple(foreign))

    def _entry(self, dn: str, attributes: dict[str, list[bytes]]) -> Entry | None:
        place = place_of(dn, self._base_dn)
        classes = [name for name in OBJECT_CLASSES if is_a(attributes, name)]
        if place is None or len(classes) != 1 or (classes[0] == "otpdUser") != (not place[1]):
            return None
        named = attributes.get("otpdId" if place[1] else "uid", [])
        if (place[1] or place[0]).encode("utf-8", "surrogateescape") not in named:
            return None
        return make(*place, {**attributes, "objectClass": [classes[0].encode()]})

    def _has_pages(self) -> bool:
        _, found = self._search("", ldap3.BASE, attributes=["supportedControl"])
        return any(PAGED_RESULTS.encode() in entry.get("supportedControl", []) for _, entry in found)

    def _search(
        self,
        base: str,
        scope: str,
        **options: Any,  # noqa: ANN401 - ldap3's
    ) -> tuple[dict[str, Any], list[tuple[str, dict[str, list[bytes]]]]]:
        given = {"attributes": list(ATTRIBUTES)} | options
        deadline = Deadline.after(self._clock, _SECONDS)
        _, result, found, _ = self._connections.call(
            "write", "search", deadline, lambda link: link.search(base, _ANY, scope, **given)
        )
        entries = [item for item in found or [] if item.get("type") == "searchResEntry"]
        return result, [(item["dn"], item["raw_attributes"]) for item in entries]

    def _write(self, name: str, operation: Any) -> dict[str, Any]:  # noqa: ANN401 - ldap3's
        _, result, _, _ = self._connections.call("write", name, Deadline.after(self._clock, _SECONDS), operation)
        return dict(result)

    def _dn(self, user: UserName, entry_id: EntryId) -> str:
        return child_dn(user, entry_id, self._base_dn) if entry_id else user_dn(user, self._base_dn)


class MissingParent(DirectoryError):  # noqa: N818 - it says what is missing
    """The entry that another one would be below of is not there."""


def _changes(old: tuple[bytes, ...], new: tuple[bytes, ...]) -> Iterator[tuple[str, list[bytes]]]:
    gone, come = [value for value in old if value not in new], [value for value in new if value not in old]
    if gone:
        yield ldap3.MODIFY_DELETE, gone
    if come:
        yield ldap3.MODIFY_ADD, come
