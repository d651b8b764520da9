"""The directory over LDAP (RFC 4511), through ldap3; the only importer of ldap3.

Every consuming write is one Modify that deletes the value it expects and adds the one it wants (RFC 4511 section 4.6:
all changes or none). A Modify whose answer was lost raises, since it may have happened. Connections are one a thread,
made when needed and thrown away at the first fault.
"""

import threading
from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import Any, Final

import ldap3
from ldap3.core.exceptions import LDAPException
from ldap3.core.results import (
    RESULT_ATTRIBUTE_OR_VALUE_EXISTS,
    RESULT_BUSY,
    RESULT_ENTRY_ALREADY_EXISTS,
    RESULT_NO_SUCH_ATTRIBUTE,
    RESULT_NO_SUCH_OBJECT,
    RESULT_SUCCESS,
    RESULT_UNAVAILABLE,
)
from ldap3.utils.conv import escape_filter_chars

from otpd.adapters import ldap_entries as entries
from otpd.clock import Deadline
from otpd.directory import AppPasswordRecord, State, Token, User
from otpd.errors import DirectoryError, DirectoryUnavailable
from otpd.values import EntryId, TimeStep, UserName

Changes = Mapping[str, list[tuple[str, list[Any]]]]
Entry = Mapping[str, list[bytes]]

_MAX_ENTRIES: Final = 1000
_GONE: Final = (RESULT_NO_SUCH_ATTRIBUTE, RESULT_NO_SUCH_OBJECT)
_OVERLOADED: Final = (RESULT_BUSY, RESULT_UNAVAILABLE)


class LdapDirectory:
    """:class:`otpd.directory.Directory` on a server that listens on ldapi, as the local user that the process runs as.

    ``uri`` is ``ldapi://`` with the socket's path percent-encoded, ``base_dn`` the entry that holds the users' entries.
    """

    def __init__(self, uri: str, base_dn: str) -> None:
        self._uri = uri
        self._base_dn = base_dn
        self._local = threading.local()

    def user(self, name: UserName, deadline: Deadline) -> User | None:  # noqa: D102 - otpd.directory says it
        found = self._search(
            self._user_dn(name), ldap3.SUBTREE, "(|(objectClass=otpdUser)(objectClass=otpdToken))", deadline
        )
        users = [entry for dn, entry in found if entries.is_a(entry, "otpdUser")]
        if not users:
            return None
        tokens = [entries.to_token(dn, entry) for dn, entry in found if entries.is_a(entry, "otpdToken")]
        return entries.to_user(name, users[0], tuple(sorted(tokens, key=lambda token: (token.created, token.id))))

    def app_password(  # noqa: D102
        self, name: UserName, app_id: EntryId, deadline: Deadline
    ) -> tuple[User | None, AppPasswordRecord | None]:
        which = f"(|(objectClass=otpdUser)(&(objectClass=otpdAppPassword)(otpdId={escape_filter_chars(app_id)})))"
        found = self._search(self._user_dn(name), ldap3.SUBTREE, which, deadline)
        users = [entries.to_user(name, entry, ()) for _, entry in found if entries.is_a(entry, "otpdUser")]
        records = [entries.to_app_password(dn, entry) for dn, entry in found if entries.is_a(entry, "otpdAppPassword")]
        return (users[0] if users else None), (records[0] if records else None)

    def app_passwords(self, name: UserName, deadline: Deadline) -> tuple[AppPasswordRecord, ...]:  # noqa: D102
        found = self._search(self._user_dn(name), ldap3.LEVEL, "(objectClass=otpdAppPassword)", deadline)
        records = [entries.to_app_password(dn, entry) for dn, entry in found]
        return tuple(sorted(records, key=lambda record: (record.created, record.id)))

    def ensure_user(self, name: UserName, deadline: Deadline) -> None:  # noqa: D102
        self._add(self._user_dn(name), entries.from_user(name), deadline)

    def add_token(self, name: UserName, token: Token, deadline: Deadline) -> bool:  # noqa: D102
        return self._add(self._child_dn(name, token.id), entries.from_token(token), deadline)

    def spend_step(self, name: UserName, token: Token, step: TimeStep, deadline: Deadline) -> bool:  # noqa: D102
        # Deleting and adding "active" changes nothing and fails where the token was disabled meanwhile.
        changes: Changes = {
            "oathTOTPLastTimeStep": [(ldap3.MODIFY_DELETE, [token.last_step]), (ldap3.MODIFY_ADD, [step])],
            "otpdState": [(ldap3.MODIFY_DELETE, ["active"]), (ldap3.MODIFY_ADD, ["active"])],
        }
        return self._compare_and_set(self._child_dn(name, token.id), changes, deadline)

    def set_failures(self, name: UserName, old: int, new: int, at: float, deadline: Deadline) -> bool:  # noqa: D102
        changes: Changes = {
            "oathFailureCount": [(ldap3.MODIFY_DELETE, [old]), (ldap3.MODIFY_ADD, [new])],
            "oathLastFailure": [(ldap3.MODIFY_REPLACE, [entries.from_time(at)])],
        }
        return self._compare_and_set(self._user_dn(name), changes, deadline)

    def set_state(self, name: UserName, state: State, deadline: Deadline) -> None:  # noqa: D102
        changes = {"otpdState": [(ldap3.MODIFY_REPLACE, [state])]}
        self._modify(self._user_dn(name), changes, deadline)
        for dn, _ in self._search(self._user_dn(name), ldap3.LEVEL, "(objectClass=otpdToken)", deadline):
            self._modify(dn, changes, deadline)

    def add_app_password(self, name: UserName, record: AppPasswordRecord, deadline: Deadline) -> bool:  # noqa: D102
        return self._add(self._child_dn(name, record.id), entries.from_app_password(record), deadline)

    def remove_app_password(self, name: UserName, app_id: EntryId, deadline: Deadline) -> bool:  # noqa: D102
        # The id is searched for first: one that names a token must not remove that token.
        which = f"(&(objectClass=otpdAppPassword)(otpdId={escape_filter_chars(app_id)}))"
        found = self._search(self._user_dn(name), ldap3.LEVEL, which, deadline)
        connection = self._connection(deadline)
        for dn, _ in found:
            code = self._result(connection, "delete", deadline, dn, accept=(RESULT_SUCCESS, RESULT_NO_SUCH_OBJECT))
            return bool(code == RESULT_SUCCESS)
        return False

    def _user_dn(self, name: UserName) -> str:
        return f"uid={entries.escape_rdn_value(name)},{self._base_dn}"

    def _child_dn(self, name: UserName, entry_id: EntryId) -> str:
        return f"otpdId={entries.escape_rdn_value(entry_id)},{self._user_dn(name)}"

    def _search(self, base: str, scope: str, which: str, deadline: Deadline) -> list[tuple[str, Entry]]:
        """DN and attributes of what was found; nothing where ``base`` does not exist."""
        fresh = not self._has_connection()
        try:
            return self._search_once(base, scope, which, deadline)
        except DirectoryUnavailable:
            # A kept connection may have died unnoticed (the server was restarted): a read is safe to send again.
            if fresh or deadline.expired():
                raise
            return self._search_once(base, scope, which, deadline)

    def _search_once(self, base: str, scope: str, which: str, deadline: Deadline) -> list[tuple[str, Entry]]:
        connection = self._connection(deadline)
        response = self._call(
            connection,
            "search",
            deadline,
            base,
            which,
            search_scope=scope,
            attributes=entries.ATTRIBUTES,
            size_limit=_MAX_ENTRIES,
            time_limit=int(deadline.remaining_seconds()) + 1,
        )
        _, result, found, _ = response
        if result["result"] == RESULT_NO_SUCH_OBJECT:
            return []
        self._check(result, "search", (RESULT_SUCCESS,))
        return [(item["dn"], item["raw_attributes"]) for item in found if item.get("type") == "searchResEntry"]

    def _compare_and_set(self, dn: str, changes: Changes, deadline: Deadline) -> bool:
        # attributeOrValueExists cannot come from a lost race here, but is no success either.
        expected = (RESULT_SUCCESS, *_GONE, RESULT_ATTRIBUTE_OR_VALUE_EXISTS)
        return bool(self._modify(dn, changes, deadline, accept=expected) == RESULT_SUCCESS)

    def _modify(self, dn: str, changes: Changes, deadline: Deadline, accept: Iterable[int] = (RESULT_SUCCESS,)) -> int:
        return self._result(self._connection(deadline), "modify", deadline, dn, changes, accept=accept)

    def _add(self, dn: str, attributes: Mapping[str, Any], deadline: Deadline) -> bool:
        accept = (RESULT_SUCCESS, RESULT_ENTRY_ALREADY_EXISTS)
        code = self._result(self._connection(deadline), "add", deadline, dn, attributes=attributes, accept=accept)
        return bool(code == RESULT_SUCCESS)

    def _result(
        self,
        connection: ldap3.Connection,
        operation: str,
        deadline: Deadline,
        *arguments: Any,  # noqa: ANN401 - ldap3 has no types
        accept: Iterable[int],
        **options: Any,  # noqa: ANN401
    ) -> int:
        _, result, _, _ = self._call(connection, operation, deadline, *arguments, **options)
        return self._check(result, operation, accept)

    def _check(self, result: Mapping[str, Any], operation: str, accept: Iterable[int]) -> int:
        code: int = result["result"]
        if code in accept:
            return code
        # The server's diagnostic message is left out: it may quote values.
        if code in _OVERLOADED:
            raise DirectoryUnavailable(f"{operation}: {self._uri} answered {result['description']}")
        raise DirectoryError(f"{operation}: {self._uri} refused with {result['description']} ({code})")

    def _call(
        self,
        connection: ldap3.Connection,
        operation: str,
        deadline: Deadline,
        *arguments: Any,  # noqa: ANN401
        **options: Any,  # noqa: ANN401
    ) -> Any:  # noqa: ANN401
        remaining = deadline.remaining_seconds()
        try:
            if not remaining:
                raise DirectoryUnavailable(f"{operation}: no time left before the deadline")
            connection.socket.settimeout(remaining)
            return getattr(connection, operation)(*arguments, **options)
        except (LDAPException, OSError) as error:
            self._drop_connection()
            raise DirectoryUnavailable(f"{operation}: {self._uri}: {type(error).__name__}") from None

    def _has_connection(self) -> bool:
        return getattr(self._local, "connection", None) is not None

    def _connection(self, deadline: Deadline) -> ldap3.Connection:
        if not self._has_connection():
            self._local.connection = self._connect(deadline)
        connection: ldap3.Connection = self._local.connection
        return connection

    def _connect(self, deadline: Deadline) -> ldap3.Connection:
        seconds = max(1, int(deadline.remaining_seconds()))  # ldap3 packs it into an integer timeval
        try:
            server = ldap3.Server(self._uri, get_info=ldap3.NONE, connect_timeout=seconds)
            connection = ldap3.Connection(
                server,
                authentication=ldap3.SASL,
                sasl_mechanism=ldap3.EXTERNAL,
                sasl_credentials="",
                client_strategy=ldap3.SAFE_SYNC,
                receive_timeout=seconds,
                check_names=False,
                auto_referrals=False,
            )
            _, result, _, _ = connection.bind()
        except (LDAPException, OSError) as error:
            raise DirectoryUnavailable(f"bind: {self._uri}: {type(error).__name__}: {error}") from None
        self._check(result, "bind", (RESULT_SUCCESS,))
        return connection

    def _drop_connection(self) -> None:
        if self._has_connection():
            with suppress(LDAPException, OSError):
                self._local.connection.strategy.close()
            self._local.connection = None
