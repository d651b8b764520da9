"""Searches and writes below one base (RFC 4511), and what their results mean; nothing of what entries say.

Reads of one user's entries go through a :class:`~otpd.adapters.ldap.reader.Reader`, which is told of every write.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import ldap3
from ldap3.core.results import (
    RESULT_ATTRIBUTE_OR_VALUE_EXISTS,
    RESULT_ENTRY_ALREADY_EXISTS,
    RESULT_NO_SUCH_ATTRIBUTE,
    RESULT_NO_SUCH_OBJECT,
    RESULT_SIZE_LIMIT_EXCEEDED,
    RESULT_SUCCESS,
)
from ldap3.utils.conv import escape_filter_chars

from otpd.adapters.ldap.connections import Connections, Operation, Role, check
from otpd.adapters.ldap.entries import ATTRIBUTES, UUID
from otpd.adapters.ldap.names import child_dn, user_dn
from otpd.adapters.ldap.reader import Entries, Entry, Reader, Servers
from otpd.clock import Deadline
from otpd.errors import DirectoryError, DirectoryUnavailable
from otpd.values import EntryId, UserName

Changes = Mapping[str, list[tuple[str, list[Any]]]]

PAGED_RESULTS: Final = "1.2.840.113556.1.4.319"  # RFC 2696
LOST: Final = (RESULT_NO_SUCH_ATTRIBUTE, RESULT_NO_SUCH_OBJECT, RESULT_ATTRIBUTE_OR_VALUE_EXISTS)
"""What a compare-and-set is answered when somebody else was first."""

_MAX_ENTRIES: Final = 1000
_PAGE_ENTRIES: Final = 1000
_SUCCESS: Final[int] = RESULT_SUCCESS


class Operations:
    """On the servers behind ``connections``, below ``base_dn``; each raises as :mod:`otpd.directory` says."""

    def __init__(self, connections: Connections, base_dn: str, reader: Reader | None = None) -> None:
        self._connections = connections
        self._base_dn = base_dn
        self._reader = Servers() if reader is None else reader

    def _user_dn(self, name: UserName) -> str:
        return user_dn(name, self._base_dn)

    def _child_dn(self, name: UserName, entry_id: EntryId) -> str:
        return child_dn(name, entry_id, self._base_dn)

    def _read(self, name: UserName, which: str, role: Role, deadline: Deadline) -> Entries:
        """At least those entries of the user that match ``which``."""
        dn = self._user_dn(name)

        def ask(which: str, role: Role, deadline: Deadline) -> Entries:
            return dict(self._search(dn, ldap3.SUBTREE, which, deadline, role))

        return self._reader.read(name, which, role, deadline, ask)

    def _search(
        self, base: str, scope: str, which: str, deadline: Deadline, role: Role = "read"
    ) -> list[tuple[str, Entry]]:
        """DN and attributes of what was found; nothing where ``base`` does not exist."""
        found, more = self._find(base, scope, which, deadline, role, _MAX_ENTRIES)
        if more:
            raise DirectoryError(f"search: {self._base_dn} has more than {len(found)} entries for {which}")
        return found

    def _find(
        self, base: str, scope: str, which: str, deadline: Deadline, role: Role, limit: int
    ) -> tuple[list[tuple[str, Entry]], bool]:
        """As :meth:`_search`, but at most ``limit`` entries, or what the server gives, and whether it has more."""

        def search(link: ldap3.Connection) -> Any:  # noqa: ANN401 - ldap3's
            answer = link.search(
                base,
                which,
                search_scope=scope,
                attributes=[*ATTRIBUTES, UUID],
                size_limit=limit,
                time_limit=int(deadline.remaining_seconds()) + 1,
            )
            if answer[1]["result"] == RESULT_NO_SUCH_OBJECT and answer[1]["dn"].lower() != self._base_dn.lower():
                self._find_base(link)
            return answer

        _, result, found, _ = self._call(role, "search", deadline, search)
        accept = (_SUCCESS, RESULT_NO_SUCH_OBJECT, RESULT_SIZE_LIMIT_EXCEEDED)
        code = check(result, "search", self._base_dn, accept)
        items = [(item["dn"], item["raw_attributes"]) for item in found if item.get("type") == "searchResEntry"]
        return items, code == RESULT_SIZE_LIMIT_EXCEEDED

    def _walk(self, which: str, attributes: Sequence[str], deadline: Deadline) -> list[tuple[str, Entry]]:
        """Every entry below the base for which ``which`` holds, by the control of RFC 2696, on one connection."""

        def walk(link: ldap3.Connection) -> Any:  # noqa: ANN401 - ldap3's
            found: list[tuple[str, Entry]] = []
            cookie: bytes | None = None
            while True:
                _, result, page, _ = link.search(
                    self._base_dn,
                    which,
                    attributes=attributes,
                    paged_size=_PAGE_ENTRIES,
                    paged_criticality=True,
                    paged_cookie=cookie,
                    time_limit=int(deadline.remaining_seconds()) + 1,
                )
                found += [(item["dn"], item["raw_attributes"]) for item in page if item["type"] == "searchResEntry"]
                cookie = cookie_of(result)
                if result["result"] != RESULT_SUCCESS or not cookie:
                    return True, result, found, None

        _, result, found, _ = self._call("write", "search", deadline, walk)
        if result["result"] == RESULT_SIZE_LIMIT_EXCEEDED:
            raise DirectoryError(f"search: the directory gives otpd's account no more than {len(found)} entries")
        check(result, "search", self._base_dn, (_SUCCESS,))
        return list(found)

    def _find_base(self, link: ldap3.Connection) -> Any:  # noqa: ANN401 - ldap3's
        """Raise where this server lacks the base itself: then it has lost its data, and does not know who is enrolled.

        A replica that is being filled anew must not open the doors that are open to those who have not enrolled.
        """
        answer = link.search(self._base_dn, "(objectClass=*)", ldap3.BASE, attributes=ldap3.NO_ATTRIBUTES)
        if answer[1]["result"] == RESULT_NO_SUCH_OBJECT:
            raise DirectoryUnavailable(f"there is no {self._base_dn} that otpd may read")
        return answer

    def _compare_and_set(self, dn: str, changes: Changes, deadline: Deadline) -> bool:
        done = self._write("modify", dn, deadline, lambda link: link.modify(dn, changes), (_SUCCESS, *LOST))
        if done != _SUCCESS:
            self._reader.written(dn)
        return done == _SUCCESS

    def _modify(self, dn: str, changes: Changes, deadline: Deadline) -> None:
        self._write("modify", dn, deadline, lambda link: link.modify(dn, changes))
        self._reader.written(dn)

    def _delete(self, dn: str, deadline: Deadline) -> bool:
        done = self._write("delete", dn, deadline, lambda link: link.delete(dn), (_SUCCESS, RESULT_NO_SUCH_OBJECT))
        self._reader.written(dn)
        return done == _SUCCESS

    def _add(self, dn: str, attributes: Mapping[str, Any], deadline: Deadline) -> bool:
        accept = (_SUCCESS, RESULT_ENTRY_ALREADY_EXISTS)
        done = self._write("add", dn, deadline, lambda link: link.add(dn, attributes=attributes), accept)
        self._reader.written(dn)
        return done == _SUCCESS

    def _write(
        self, name: str, dn: str, deadline: Deadline, operation: Operation, accept: Sequence[int] = (_SUCCESS,)
    ) -> int:
        try:
            _, result, _, _ = self._call("write", name, deadline, operation)
            return check(result, name, self._base_dn, accept)
        except DirectoryError:
            self._reader.written(dn)
            raise

    def _call(self, role: Role, name: str, deadline: Deadline, operation: Operation) -> Any:  # noqa: ANN401 - ldap3's
        return self._connections.call(role, name, deadline, operation)

    def _delete_below(self, name: UserName, deadline: Deadline) -> None:
        for dn, _ in self._search(self._user_dn(name), ldap3.LEVEL, "(objectClass=*)", deadline, "write"):
            self._delete(dn, deadline)

    def _remove(self, name: UserName, classes: tuple[str, ...], entry_id: EntryId, deadline: Deadline) -> bool:
        # It is searched for first: the id of something else must not remove that.
        kinds = "".join(f"(objectClass={one})" for one in classes)
        which = f"(&(|{kinds})(otpdId={escape_filter_chars(entry_id)}))"
        found = self._search(self._user_dn(name), ldap3.LEVEL, which, deadline, "write")
        return any(self._delete(dn, deadline) for dn, _ in found)


def cookie_of(result: dict[str, Any]) -> bytes:
    """Where the next page begins (RFC 2696); nothing where this was the last."""
    control = result.get("controls", {}).get(PAGED_RESULTS)
    return control["value"]["cookie"] if control else b""
