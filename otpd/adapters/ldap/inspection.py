"""Looking at the directory's servers: can otpd bind, read and write, is the schema there, is a code spent once.

``tryout`` is the part that has to write to find out.
"""

import re
from collections.abc import Iterator
from dataclasses import replace
from typing import Any, Final

from otpd.adapters.ldap.connections import Connections, Servers
from otpd.adapters.ldap.entries import ATTRIBUTES, OBJECT_CLASSES
from otpd.adapters.ldap.operations import PAGED_RESULTS
from otpd.adapters.ldap.tryout import NAME_PROVIDER, SEE_SETTINGS, Links, Tryout, read
from otpd.adapters.ldap.watch import NotNotified, Session
from otpd.clock import Clock, Deadline
from otpd.errors import DirectoryError
from otpd.inspection import Finding
from otpd.texts import _, mark

_OPENLDAP: Final = b"OpenLDAProotDSE"
_NAMES: Final = re.compile(r"NAME (?:'([^']+)'|\(([^)]*)\))")

_LOAD_SCHEMA: Final = mark(
    "OpenLDAP: ldapadd -Y EXTERNAL -H ldapi:/// -f /etc/otpd/schema/otpd.ldif, where the module otp is not loaded with "
    "oath.ldif before it; 389 Directory Server: copy 99otpd.ldif to the instance's schema folder and restart it"
)
_ADD_TREE: Final = mark("ldapadd -f tree.ldif.example, with your own suffix; and check the access of otpd's account")
_NOTIFY: Final = mark(
    "on the provider, ldapmodify -f syncprov.ldif.example, and openldap.ldif.example for the right to read contextCSN;"
    " for the embedded directory, as root,"
    " ldapmodify -Q -Y EXTERNAL -H ldapi://%2Frun%2Fotpd-directory%2Fldapi -f syncprov.ldif.example"
)
_SHOW_CONTROLS: Final = mark(
    "let otpd's account read supportedControl in the root DSE; OpenLDAP: before the other rules of"
    ' olcDatabase={-1}frontend,cn=config, olcAccess: {0}to dn.base="" by * read'
)


class LdapInspector:
    """:class:`otpd.inspection.Inspector` of ``servers``; ``provider_named`` is whether otpd.toml names the provider."""

    def __init__(self, servers: Servers, base_dn: str, clock: Clock, *, provider_named: bool = True) -> None:
        self._servers = servers
        self._base_dn = base_dn
        self._clock = clock
        self._provider_named = provider_named

    def inspect(self, deadline: Deadline) -> tuple[Finding, ...]:  # noqa: D102 - see there
        links = {uri: self._only(uri) for uri in (self._servers.provider, *self._servers.uris)}
        try:
            return tuple(self._inspect(links, deadline))
        finally:
            for connections in links.values():
                connections.close()

    def _inspect(self, links: Links, deadline: Deadline) -> Iterator[Finding]:
        well = True
        if len(self._servers.uris) > 1 and not self._provider_named:
            fault = _("several uris and no provider: a host with another order of them writes to another server")
            yield Finding("otpd.toml", "provider", fault, NAME_PROVIDER)
        for left, uri in zip(range(len(links) + 1, 1, -1), links, strict=True):
            share = Deadline.after(self._clock, deadline.remaining_seconds() / left)
            for finding in self._look(uri, links[uri], share):
                well = well and not finding.fault
                yield finding
        if well:
            yield self._pages(links[self._servers.provider], deadline)
            yield from self._notifications(links[self._servers.provider], deadline)
            yield from Tryout(links, self._base_dn, self._clock).findings(deadline)

    def _look(self, uri: str, connections: Connections, deadline: Deadline) -> Iterator[Finding]:
        """What can be seen without writing."""
        try:
            root = read(connections, "", ("subschemaSubentry",), deadline) or {}
            yield Finding(uri, "bind")
            base = read(connections, self._base_dn, ("objectClass",), deadline)
            fault = "" if base else _("there is no entry {base_dn} that otpd may read", base_dn=self._base_dn)
            yield Finding(uri, mark("base entry"), fault, _ADD_TREE if fault else "")
            fault = self._schema_fault(connections, root, deadline)
            yield Finding(uri, "schema", fault, _LOAD_SCHEMA if fault else "")
        except DirectoryError as error:
            yield Finding(uri, "answer", str(error), SEE_SETTINGS)

    def _pages(self, connections: Connections, deadline: Deadline) -> Finding:
        """Whether the provider announces RFC 2696; otpd uses no other control but that of RFC 4533."""
        uri, fault = self._servers.provider, ""
        try:
            announced = (read(connections, "", ("supportedControl",), deadline) or {}).get("supportedControl", [])
            if PAGED_RESULTS.encode() not in announced:
                fault = _("none announced ({control}), so a backup asks for all entries at once", control=PAGED_RESULTS)
        except DirectoryError as error:
            fault = str(error)
        return Finding(uri, mark("paged results"), fault, _SHOW_CONTROLS if fault else "")

    def _notifications(self, connections: Connections, deadline: Deadline) -> Iterator[Finding]:
        """Whether the provider, where it is OpenLDAP, notifies of changes; otpd knows of none of others."""
        uri, fault = self._servers.provider, ""
        try:
            root = read(connections, "", ("objectClass",), deadline) or {}
            if _OPENLDAP not in root.get("objectClass", []):
                return
            session = Session(connections.open(uri, deadline), self._base_dn, self._clock)
            try:
                session.subscribe(deadline)
            finally:
                session.close()
        except NotNotified as error:
            fault = _("none, so each login reads before it writes: {error}", error=error)
        except (DirectoryError, OSError) as error:
            fault = str(error)
        yield Finding(uri, "notifications", fault, _NOTIFY if fault else "")

    def _schema_fault(self, connections: Connections, root: Any, deadline: Deadline) -> str:  # noqa: ANN401 - ldap3's
        where = (root.get("subschemaSubentry") or [b"cn=subschema"])[0].decode()
        schema = read(connections, where, ("attributeTypes", "objectClasses"), deadline)
        if not schema:
            return _("{where} cannot be read by otpd", where=where)
        known = set(_names(schema.get("attributeTypes", []) + schema.get("objectClasses", [])))
        missing = [name for name in (*ATTRIBUTES, *OBJECT_CLASSES) if name.lower() not in known]
        return _("lacks {names}", names=", ".join(missing)) if missing else ""

    def _only(self, uri: str) -> Connections:
        return Connections(replace(self._servers, uris=(uri,), provider=uri), self._clock)


def _names(definitions: list[bytes]) -> Iterator[str]:
    """The names in schema definitions (RFC 4512 section 4.1), in lower case."""
    for definition in definitions:
        match = _NAMES.search(definition.decode("utf-8", "replace"))
        if match:
            yield from (name.strip("'").lower() for name in (match[1] or match[2]).split())
