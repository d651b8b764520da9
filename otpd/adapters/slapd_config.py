"""The configuration of a running embedded slapd (cn=config), as root: whether its database takes writes."""

from typing import Final

import ldap3
from ldap3.core.results import RESULT_NO_SUCH_OBJECT, RESULT_SUCCESS
from ldap3.utils.conv import escape_filter_chars

from otpd.adapters.ldap.connections import Connections, Servers, check
from otpd.clock import Clock, Deadline
from otpd.errors import DirectoryError

_SECONDS: Final = 30.0
_CONFIG: Final = "cn=config"


class SlapdConfig:
    """The database for ``base_dn`` of the slapd behind ``uri``, whose configuration admits root by SASL EXTERNAL."""

    def __init__(self, uri: str, base_dn: str, clock: Clock) -> None:
        self._connections = Connections(Servers((uri,), uri), clock)
        self._base_dn = base_dn
        self._clock = clock

    def is_ours(self) -> bool:
        """Whether there is such a database, in a configuration that root may change."""
        return bool(self._found())

    def set_read_only(self, value: bool) -> None:  # noqa: FBT001 - the word says it
        """Refuse all writes, or take them again: what is under way is finished first, and it outlasts a restart.

        Raises :class:`DirectoryError`.
        """
        found = self._found()
        if not found:
            raise DirectoryError(f"modify: {_CONFIG} has no database {self._base_dn} that root may change")
        change = {"olcReadOnly": [(ldap3.MODIFY_REPLACE, ["TRUE" if value else "FALSE"])]}
        _, result, _, _ = self._connections.call(
            "write", "modify", self._soon(), lambda link: link.modify(found[0], change)
        )
        check(result, "modify", _CONFIG, (RESULT_SUCCESS,))

    def _found(self) -> list[str]:
        which = f"(&(objectClass=olcDatabaseConfig)(olcSuffix={escape_filter_chars(self._base_dn)}))"
        _, result, found, _ = self._connections.call(
            "write", "search", self._soon(), lambda link: link.search(_CONFIG, which, ldap3.LEVEL, attributes=["1.1"])
        )
        check(result, "search", _CONFIG, (RESULT_SUCCESS, RESULT_NO_SUCH_OBJECT))
        return [item["dn"] for item in found or [] if item.get("type") == "searchResEntry"]

    def _soon(self) -> Deadline:
        return Deadline.after(self._clock, _SECONDS)
