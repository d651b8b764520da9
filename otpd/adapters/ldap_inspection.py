"""Looking at the directory's servers: can otpd bind, read and write, is the schema there, is a code spent once.

What must be written to find out is a user's entry with a token, which is removed again. No account has its name, and
the token has no seed, so nobody logs in with it meanwhile.
"""

import re
import secrets
import threading
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, Final

import ldap3
from ldap3.core.results import RESULT_NO_SUCH_OBJECT, RESULT_SUCCESS

from otpd.adapters.ldap import LdapDirectory
from otpd.adapters.ldap_connections import Connections, Servers, check
from otpd.adapters.ldap_entries import ATTRIBUTES, OBJECT_CLASSES, escape_rdn_value
from otpd.adapters.ldap_watch import NotNotified, Session
from otpd.clock import Clock, Deadline
from otpd.directory import Token
from otpd.errors import DirectoryError
from otpd.inspection import Finding
from otpd.otp import DEFAULT_PARAMETERS
from otpd.values import EntryId, TimeStep, UserName

_REPLICATION_SECONDS: Final = 2.0
_CLOCK_SECONDS: Final = 3.0  # the server's timestamps have whole seconds, and a code is good for at least 15
_OPENLDAP: Final = b"OpenLDAProotDSE"
_NAMES: Final = re.compile(r"NAME (?:'([^']+)'|\(([^)]*)\))")

_SEE_SETTINGS: Final = "check [directory] in otpd.toml and the server; docs/directory.md says what otpd needs"
_LOAD_SCHEMA: Final = (
    "OpenLDAP: ldapadd -Y EXTERNAL -H ldapi:/// -f /etc/otpd/schema/otpd.ldif, where the module otp is not loaded with "
    "oath.ldif before it; 389 Directory Server: copy 99otpd.ldif to the instance's schema folder and restart it"
)
_ADD_TREE: Final = "ldapadd -f tree.ldif.example, with your own suffix; and check the access of otpd's account"
_GIVE_ACCESS: Final = "ldapmodify -f openldap.ldif.example, or 389ds.ldif.example, with your own suffix"
_NOTIFY: Final = (
    "on the provider, ldapmodify -f syncprov.ldif.example, and openldap.ldif.example for the right to read contextCSN;"
    " for the embedded directory, as root,"
    " ldapmodify -Q -Y EXTERNAL -H ldapi://%2Frun%2Fotpd-directory%2Fldapi -f syncprov.ldif.example"
)
_SET_CLOCKS: Final = "timedatectl set-ntp true, on the host or the server, whichever is wrong"


Links = Mapping[str, Connections]
"""Each server by itself; the first is the provider."""


class LdapInspector:
    """:class:`otpd.inspection.Inspector` of ``servers``."""

    def __init__(self, servers: Servers, base_dn: str, clock: Clock) -> None:
        self._servers = servers
        self._base_dn = base_dn
        self._clock = clock

    def inspect(self, deadline: Deadline) -> tuple[Finding, ...]:  # noqa: D102 - see there
        links = {uri: self._only(uri) for uri in (self._servers.provider, *self._servers.uris)}
        try:
            return tuple(self._inspect(links, deadline))
        finally:
            for connections in links.values():
                connections.close()

    def _inspect(self, links: Links, deadline: Deadline) -> Iterator[Finding]:
        well = True
        for left, uri in zip(range(len(links) + 1, 1, -1), links, strict=True):
            share = Deadline.after(self._clock, deadline.remaining_seconds() / left)
            for finding in self._look(uri, links[uri], share):
                well = well and not finding.fault
                yield finding
        if well:
            yield from self._notifications(links[self._servers.provider], deadline)
            yield from self._try_out(links, deadline)

    def _look(self, uri: str, connections: Connections, deadline: Deadline) -> Iterator[Finding]:
        """What can be seen without writing."""
        try:
            root = _read(connections, "", ("subschemaSubentry",), deadline) or {}
            yield Finding(uri, "bind")
            base = _read(connections, self._base_dn, ("objectClass",), deadline)
            fault = "" if base else f"there is no entry {self._base_dn} that otpd may read"
            yield Finding(uri, "base entry", fault, _ADD_TREE if fault else "")
            fault = self._schema_fault(connections, root, deadline)
            yield Finding(uri, "schema", fault, _LOAD_SCHEMA if fault else "")
        except DirectoryError as error:
            yield Finding(uri, "answer", str(error), _SEE_SETTINGS)

    def _notifications(self, connections: Connections, deadline: Deadline) -> Iterator[Finding]:
        """Whether the provider, where it is OpenLDAP, notifies of changes; otpd knows of none of others."""
        uri, fault = self._servers.provider, ""
        try:
            root = _read(connections, "", ("objectClass",), deadline) or {}
            if _OPENLDAP not in root.get("objectClass", []):
                return
            session = Session(connections.open(uri, deadline), self._base_dn, self._clock)
            try:
                session.subscribe(deadline)
            finally:
                session.close()
        except NotNotified as error:
            fault = f"none, so each login reads before it writes: {error}"
        except (DirectoryError, OSError) as error:
            fault = str(error)
        yield Finding(uri, "notifications", fault, _NOTIFY if fault else "")

    def _schema_fault(self, connections: Connections, root: Any, deadline: Deadline) -> str:  # noqa: ANN401 - ldap3's
        where = (root.get("subschemaSubentry") or [b"cn=subschema"])[0].decode()
        schema = _read(connections, where, ("attributeTypes", "objectClasses"), deadline)
        if not schema:
            return f"{where} cannot be read by otpd"
        known = set(_names(schema.get("attributeTypes", []) + schema.get("objectClasses", [])))
        missing = [name for name in (*ATTRIBUTES, *OBJECT_CLASSES) if name.lower() not in known]
        return f"lacks {', '.join(missing)}" if missing else ""

    def _try_out(self, links: Links, deadline: Deadline) -> Iterator[Finding]:
        """Write at the provider, look for it at the others, and remove it again."""
        provider, *replicas = links
        directory = LdapDirectory(links[provider], self._base_dn)
        probe = UserName(f"otpd-check-{secrets.token_hex(8)}")
        try:
            directory.ensure_user(probe, deadline)
            yield Finding(provider, "write")
            yield self._clock_of(provider, links[provider], probe, deadline)
            for uri in replicas:
                yield self._replica(uri, links[uri], probe, deadline)
            fault = _spending_fault(directory, probe, self._clock.wall(), deadline)
            yield Finding(provider, "a code is spent once", fault, "use another server as provider" if fault else "")
            directory.remove_user(probe, deadline)
            yield Finding(provider, "remove")
        except DirectoryError as error:
            with suppress(DirectoryError):
                directory.remove_user(probe, deadline)
            yield Finding(provider, "write", str(error), _GIVE_ACCESS)

    def _clock_of(self, uri: str, connections: Connections, probe: UserName, deadline: Deadline) -> Finding:
        dn = f"uid={escape_rdn_value(probe)},{self._base_dn}"
        entry = _read(connections, dn, ("createTimestamp",), deadline) or {}
        match = re.match(rb"(\d{14})", *(entry.get("createTimestamp") or [b""]))
        if not match:
            return Finding(uri, "clock", "createTimestamp cannot be read by otpd", _GIVE_ACCESS)
        at = datetime.strptime(match[1].decode(), "%Y%m%d%H%M%S").replace(tzinfo=UTC).timestamp()
        ahead = at - self._clock.wall()
        fault = f"it differs from this host's by {ahead:+.0f} seconds" if abs(ahead) > _CLOCK_SECONDS else ""
        return Finding(uri, "clock", fault, _SET_CLOCKS if fault else "")

    def _replica(self, uri: str, connections: Connections, probe: UserName, deadline: Deadline) -> Finding:
        """Whether what the provider was told arrives here."""
        directory = LdapDirectory(connections, self._base_dn)
        until = Deadline.after(self._clock, min(_REPLICATION_SECONDS, deadline.remaining_seconds() / 2))
        while not until.expired():
            with suppress(DirectoryError):
                if directory.user(probe, until):
                    return Finding(uri, "replication")
            threading.Event().wait(0.05)
        fault = f"what is written to the provider was not here after {_REPLICATION_SECONDS:.0f} seconds"
        return Finding(uri, "replication", fault, "check that this server replicates from the provider")

    def _only(self, uri: str) -> Connections:
        return Connections(replace(self._servers, uris=(uri,), provider=uri), self._clock)


def _spending_fault(directory: LdapDirectory, probe: UserName, now: float, deadline: Deadline) -> str:
    """What is wrong with how this server compares and sets."""
    first = Token(EntryId("check"), "", "active", DEFAULT_PARAMETERS, TimeStep(0), now, b"-")
    second = replace(first, last_step=TimeStep(1))
    if not directory.add_token(probe, first, deadline) or directory.add_token(probe, first, deadline):
        return "an entry could be added twice"
    if not directory.spend_step(probe, first, TimeStep(1), deadline):
        return "a step could not be spent"
    if directory.spend_step(probe, first, TimeStep(2), deadline):
        return "a value that had been replaced could be deleted: a code would be good for several logins"
    directory.set_state(probe, "disabled", deadline)
    if directory.spend_step(probe, second, TimeStep(2), deadline):
        return "a step of a disabled token could be spent"
    return ""


def _read(connections: Connections, dn: str, attributes: tuple[str, ...], deadline: Deadline) -> Any:  # noqa: ANN401
    """The attributes of one entry, or None where there is none that otpd may read."""
    _, result, found, _ = connections.call(
        "read",
        "search",
        deadline,
        lambda link: link.search(dn, "(objectClass=*)", ldap3.BASE, attributes=list(attributes)),
    )
    check(result, "search", dn or "the root DSE", (RESULT_SUCCESS, RESULT_NO_SUCH_OBJECT))
    entries = [item["raw_attributes"] for item in found or [] if item.get("type") == "searchResEntry"]
    return entries[0] if entries else None


def _names(definitions: list[bytes]) -> Iterator[str]:
    """The names in schema definitions (RFC 4512 section 4.1), in lower case."""
    for definition in definitions:
        match = _NAMES.search(definition.decode("utf-8", "replace"))
        if match:
            yield from (name.strip("'").lower() for name in (match[1] or match[2]).split())
