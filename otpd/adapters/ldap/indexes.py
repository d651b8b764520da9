"""Whether the servers have indexes for what otpd searches: it is in their own configuration, below cn=config.

otpd's account may not read that. Whoever may is the administrator, whose DN and password are given, or over ldapi, on
servers that map it so (the embedded directory, and Debian's slapd), root.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Final

import ldap3
from ldap3.core.results import RESULT_INSUFFICIENT_ACCESS_RIGHTS, RESULT_NO_SUCH_OBJECT, RESULT_SUCCESS

from otpd.adapters.ldap.connections import Connections, Servers, check
from otpd.adapters.ldap.entries import SEALED
from otpd.adapters.ldap.names import parent_of
from otpd.clock import Clock, Deadline
from otpd.errors import DirectoryError
from otpd.inspection import Finding
from otpd.printable import printable
from otpd.texts import _, mark

_SECONDS: Final = 5.0
_389_BACKENDS: Final = "cn=ldbm database,cn=plugins,cn=config"
_SEALED_VALUES: Final = tuple(dict.fromkeys(attribute for _name, attribute in SEALED.values()))
_UNSEEN: Final = mark("they are in the server's configuration; --admin-dn says who may read that")
_SAY_WHO: Final = mark(
    "otpctl directory check --admin-dn DN, with who may read cn=config: for OpenLDAP olcRootDN of"
    " olcDatabase={0}config,cn=config, for 389 Directory Server cn=Directory Manager"
)

Indexes = Mapping[str, frozenset[str]]
"""Kinds of index, in the server's words, by the attribute's name in lower case."""

Values = Mapping[str, list[bytes]]


@dataclass(frozen=True)
class _Database:
    """Where a server keeps what is below ``suffix``, which indexes that has, and which otpd needs there."""

    dn: str
    suffix: str
    has: Indexes
    needs: tuple[tuple[str, str], ...]

    def lacks(self) -> list[str]:
        """``attribute kind`` for each that is missing; a kind that includes the one needed will do."""
        return [
            f"{attribute} {kind}"
            for attribute, kind in self.needs
            if not self.has.get(attribute.lower(), frozenset()) & {kind, kind.removesuffix("initial")}
        ]


def look_at_indexes(uris: Iterable[str], servers: Servers, base_dn: str, clock: Clock) -> Iterator[Finding]:
    """One finding for each of ``uris``; the account of ``servers`` is the administrator's, or there is none: root's."""
    for uri in uris:
        if not servers.bind_dn and not uri.startswith("ldapi:"):
            yield Finding(uri, "indexes", unseen=_(_UNSEEN))
            continue
        connections = Connections(replace(servers, uris=(uri,), provider=uri), clock)
        try:
            yield _look(_Configuration(connections, Deadline.after(clock, _SECONDS)), uri, base_dn)
        finally:
            connections.close()


class _Configuration:
    """cn=config of one server."""

    def __init__(self, connections: Connections, deadline: Deadline) -> None:
        self.servers = connections.servers
        self._connections = connections
        self._deadline = deadline

    def children(self, base: str, which: str, *attributes: str) -> list[tuple[str, Values]]:
        """The entries below ``base`` that match; none where there is no such entry, or none that may be seen."""
        _ok, result, found, _request = self._connections.call(
            "write", "search", self._deadline, lambda link: link.search(base, which, ldap3.LEVEL, attributes=attributes)
        )
        check(result, "search", base, (RESULT_SUCCESS, RESULT_NO_SUCH_OBJECT, RESULT_INSUFFICIENT_ACCESS_RIGHTS))
        return [(item["dn"], item["raw_attributes"]) for item in found or [] if item.get("type") == "searchResEntry"]


def _look(configuration: _Configuration, uri: str, base_dn: str) -> Finding:
    as_admin = bool(configuration.servers.bind_dn)
    try:
        found = _database_of(base_dn, [*_openldap(configuration), *_389(configuration)])
    except DirectoryError as error:
        return Finding(uri, "indexes", str(error), _SAY_WHO) if as_admin else Finding(uri, "indexes", unseen=_(_UNSEEN))
    if found is None and as_admin:
        return Finding(
            uri, "indexes", _("cn=config has no database of {base_dn} that this DN may read", base_dn=base_dn), _SAY_WHO
        )
    if found is None:
        return Finding(uri, "indexes", unseen=_(_UNSEEN))
    lacks = found.lacks()
    if not lacks:
        return Finding(uri, "indexes")
    return Finding(
        uri,
        "indexes",
        _("{dn} lacks {names}", dn=printable(found.dn), names=", ".join(lacks)),
        _remedy(found, configuration, uri),
    )


def _openldap(configuration: _Configuration) -> Iterator[_Database]:
    """slapd-config(5), slapd-mdb(5)."""
    for dn, entry in configuration.children("cn=config", "(olcSuffix=*)", "olcSuffix", "olcDbIndex"):
        needs = [("objectClass", "eq"), ("otpdId", "eq"), *((name, "subinitial") for name in _SEALED_VALUES)]
        if configuration.children(dn, "(objectClass=olcSyncProvConfig)", ldap3.NO_ATTRIBUTES):
            needs += [("entryCSN", "eq"), ("entryUUID", "eq")]
        for suffix in entry["olcSuffix"]:
            yield _Database(dn, suffix.decode(), _of_lines(entry.get("olcDbIndex", [])), tuple(needs))


def _389(configuration: _Configuration) -> Iterator[_Database]:
    """389 Directory Server: a backend has an entry for each attribute that is indexed."""
    # None for how sealed values begin: it would hold every three characters of each, and serve a change of keys alone.
    needs = (("objectClass", "eq"), ("otpdId", "eq"))
    for dn, entry in configuration.children(_389_BACKENDS, "(nsslapd-suffix=*)", "nsslapd-suffix"):
        indexes = configuration.children(f"cn=index,{dn}", "(objectClass=nsIndex)", "cn", "nsIndexType")
        has = {
            name.decode().lower(): frozenset(kind.decode().lower() for kind in index.get("nsIndexType", []))
            for _dn, index in indexes
            for name in index["cn"]
        }
        for suffix in entry["nsslapd-suffix"]:
            yield _Database(dn, suffix.decode(), has, needs)


def _of_lines(lines: list[bytes]) -> Indexes:
    """What olcDbIndex says: ``attributes [kinds]``, each with commas; ``default`` has the kinds of lines without."""
    has: dict[str, frozenset[str]] = {}
    bare: list[str] = []
    for line in lines:
        attributes, _gap, kinds = line.decode().lower().partition(" ")
        for attribute in attributes.split(","):
            if kinds.strip():
                has[attribute] = has.get(attribute, frozenset()) | set(re.split(r"[\s,]+", kinds.strip()))
            else:
                bare.append(attribute)
    return has | {attribute: has.get("default", frozenset()) for attribute in bare}


def _database_of(base_dn: str, databases: list[_Database]) -> _Database | None:
    """The one whose suffix is nearest above the base, or the base."""
    by_suffix = {_normal(one.suffix): one for one in databases}
    dn = base_dn
    while dn:
        if _normal(dn) in by_suffix:
            return by_suffix[_normal(dn)]
        dn = parent_of(dn)
    return None


def _normal(dn: str) -> str:
    """A DN to compare by: without case, and without the spaces that do not count (RFC 4514 section 4)."""
    return re.sub(r"\s*([,=+])\s*", r"\1", dn).lower()


def _remedy(database: _Database, configuration: _Configuration, uri: str) -> str:
    who = configuration.servers.bind_dn
    how = f'-x {"-ZZ " if uri.startswith("ldap:") else ""}-W -D "{who}"' if who else "-Q -Y EXTERNAL"
    if database.dn.lower().endswith(_389_BACKENDS):
        lines, then = (
            _("an entry for each below cn=index, as in 389ds.ldif.example"),
            _("; then {command}", command="dsconf INSTANCE backend index reindex BACKEND"),
        )
    else:
        lines, then = (
            _("olcDbIndex lines as in openldap.ldif.example, of entryCSN and entryUUID in syncprov.ldif.example"),
            "",
        )
    return _("ldapmodify {how} -H {uri}, with {lines}{then}", how=how, uri=uri, lines=lines, then=then)
