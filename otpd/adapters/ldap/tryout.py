"""What an inspection of the servers finds out by writing: who may, what arrives where, and who else sees it.

What is written is a user's entry with a token, which is removed again. No account has its name, and the token has no
seed, so nobody logs in with it meanwhile.
"""

import re
import secrets
import threading
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, Final
from urllib.parse import urlsplit

import ldap3
from ldap3.core.results import (
    RESULT_NO_SUCH_OBJECT,
    RESULT_REFERRAL,
    RESULT_SUCCESS,
    RESULT_UNWILLING_TO_PERFORM,
)

from otpd.adapters.ldap.connections import Connections, check
from otpd.adapters.ldap.directory import LdapDirectory
from otpd.adapters.ldap.entries import from_user
from otpd.adapters.ldap.names import user_dn
from otpd.clock import Clock, Deadline
from otpd.directory import Token
from otpd.errors import DirectoryError
from otpd.inspection import Finding
from otpd.otp import DEFAULT_PARAMETERS
from otpd.texts import _, mark
from otpd.values import EntryId, TimeStep, UserName

_REPLICATION_SECONDS: Final = 2.0
# Each host compares its clock to the provider's, so two hosts differ by twice as much. Waits after wrong codes are
# noted by one host's clock and judged by another's: they begin with a second, and are to be off by seconds at most. A
# code is good for at least 15.
_CLOCK_SECONDS: Final = 3.0

SEE_SETTINGS: Final = mark("check [directory] in otpd.toml and the server; docs/directory.md says what otpd needs")
_GIVE_ACCESS: Final = mark("ldapmodify -f openldap.ldif.example, or 389ds.ldif.example, with your own suffix")
_SET_CLOCKS: Final = mark(
    "on the host or the server, whichever is wrong: timedatectl set-ntp true, or with chrony, chronyc makestep;"
    " timedatectl says which is synchronised"
)
NAME_PROVIDER: Final = mark("name the server that takes writes in otpd.toml of every host: [directory] provider")
_KEEP_OUT: Final = mark(
    "ldapmodify with the access rules of openldap.ldif.example (olcAccess {0}, before all others) or of"
    " 389ds.ldif.example (both aci), with your own suffix"
)
_REPLICATE: Final = mark(
    "let this server replicate from the provider: OpenLDAP, olcSyncrepl of its database and the log of slapd; 389"
    " Directory Server, dsconf INSTANCE repl-agmt status --suffix SUFFIX AGREEMENT, at the provider"
)

Links = Mapping[str, Connections]
"""Each server by itself; the first is the provider."""


class Tryout:
    """One round of it, below ``base_dn``."""

    def __init__(self, links: Links, base_dn: str, clock: Clock) -> None:
        self._links = links
        self._base_dn = base_dn
        self._clock = clock
        self._provider = next(iter(links))
        self._directory = LdapDirectory(links[self._provider], base_dn)
        self._probe = UserName(f"otpd-check-{secrets.token_hex(8)}")
        self._probe_dn = user_dn(self._probe, base_dn)

    def findings(self, deadline: Deadline) -> Iterator[Finding]:
        """Write at the provider, look for it at the others, and remove it again."""
        try:
            before, begun = self._clock.wall(), self._clock.monotonic()
            written = self._write(deadline)
            yield written
            if written.fault:
                yield from self._strangers(deadline)
                return
            arrival = Deadline.after(self._clock, min(_REPLICATION_SECONDS, deadline.remaining_seconds() / 2))
            yield self._clock_of(before, self._clock.wall(), deadline)
            yield from self._replication(begun, arrival)
            fault = self._spending_fault(deadline)
            yield Finding(
                self._provider,
                mark("a code is spent once"),
                fault,
                mark("use another server as provider") if fault else "",
            )
            yield from self._strangers(deadline)
            self._directory.remove_user(self._probe, deadline)
            yield Finding(self._provider, "remove")
        except DirectoryError as error:
            with suppress(DirectoryError):
                self._directory.remove_user(self._probe, deadline)
            yield Finding(self._provider, "write", str(error), _GIVE_ACCESS)

    def _write(self, deadline: Deadline) -> Finding:
        """Add the probe; a server that takes no writes at all, as a replica, is told from one that refuses otpd."""
        _ok, result, _found, _request = self._links[self._provider].call(
            "write", "add", deadline, lambda link: link.add(self._probe_dn, attributes=from_user(self._probe))
        )
        if result["result"] == RESULT_REFERRAL:
            fault = _("it takes no writes, and refers them to {servers}", servers=_servers_in(result.get("referrals")))
            return Finding(self._provider, "write", fault, NAME_PROVIDER)
        if result["result"] == RESULT_UNWILLING_TO_PERFORM:
            fault = _("it takes no writes (unwillingToPerform): it is a replica, or read-only")
            return Finding(self._provider, "write", fault, NAME_PROVIDER)
        check(result, "add", self._base_dn, (RESULT_SUCCESS,))
        return Finding(self._provider, "write")

    def _clock_of(self, before: float, after: float, deadline: Deadline) -> Finding:
        """The provider's clock, in whole seconds, beside this host's, ``before`` and ``after`` the probe was added."""
        entry = read(self._links[self._provider], self._probe_dn, ("createTimestamp",), deadline) or {}
        match = re.match(rb"(\d{14})", *(entry.get("createTimestamp") or [b""]))
        if not match:
            return Finding(self._provider, "clock", _("createTimestamp cannot be read by otpd"), _GIVE_ACCESS)
        at = datetime.strptime(match[1].decode(), "%Y%m%d%H%M%S").replace(tzinfo=UTC).timestamp()
        ahead = at - after if at > after else min(0.0, at + 1 - before)
        fault = (
            _("it differs from this host's by {ahead:+.0f} seconds", ahead=ahead) if abs(ahead) > _CLOCK_SECONDS else ""
        )
        return Finding(self._provider, "clock", fault, _SET_CLOCKS if fault else "")

    def _replication(self, begun: float, until: Deadline) -> Iterator[Finding]:
        """Whether what the provider was told arrives at the others, and how long after ``begun`` (monotonic)."""
        waiting = {**self._links}
        del waiting[self._provider]
        arrived: dict[str, float] = {}
        replicas = list(waiting)
        while waiting and not until.expired():
            for uri in list(waiting):
                share = Deadline.after(self._clock, until.remaining_seconds() / len(waiting))
                with suppress(DirectoryError):
                    if read(waiting[uri], self._probe_dn, (ldap3.NO_ATTRIBUTES,), share) is not None:
                        arrived[uri] = self._clock.monotonic() - begun
                        del waiting[uri]
            threading.Event().wait(0.02 if waiting else 0)
        for uri in replicas:
            if uri in arrived:
                yield Finding(uri, "replication", note=_("arrived within {passed:.0f} ms", passed=arrived[uri] * 1000))
            else:
                waited = self._clock.monotonic() - begun
                fault = _("what is written to the provider was not here after {waited:.0f} seconds", waited=waited)
                yield Finding(uri, "replication", fault, _REPLICATE)

    def _strangers(self, deadline: Deadline) -> Iterator[Finding]:
        """Whether who has not said who they are may see anything of otpd's, at each server."""
        for left, (uri, connections) in zip(range(len(self._links), 0, -1), self._links.items(), strict=True):
            nobody = Connections(replace(connections.servers, anonymous=True), self._clock)
            share = Deadline.after(self._clock, deadline.remaining_seconds() / (left + 1))
            try:
                # A rule for the base alone hides it, and leaves open what is below.
                seen = next((dn for dn in (self._base_dn, self._probe_dn) if _sees(nobody, dn, share)), "")
                fault = _("anybody can read what is below the base entry, without a bind") if seen else ""
                yield Finding(uri, mark("anonymous access"), fault, _KEEP_OUT if fault else "")
            except DirectoryError as error:
                yield Finding(uri, mark("anonymous access"), str(error), SEE_SETTINGS)
            finally:
                nobody.close()

    def _spending_fault(self, deadline: Deadline) -> str:
        """What is wrong with how the provider compares and sets."""
        directory, probe = self._directory, self._probe
        first = Token(EntryId("check"), "", "active", DEFAULT_PARAMETERS, TimeStep(0), self._clock.wall(), b"-")
        second = replace(first, last_step=TimeStep(1))
        if not directory.add_token(probe, first, deadline) or directory.add_token(probe, first, deadline):
            return _("an entry could be added twice")
        if not directory.spend_step(probe, first, TimeStep(1), deadline):
            return _("a step could not be spent")
        if directory.spend_step(probe, first, TimeStep(2), deadline):
            return _("a value that had been replaced could be deleted: a code would be good for several logins")
        directory.set_state(probe, "disabled", deadline)
        if directory.spend_step(probe, second, TimeStep(2), deadline):
            return _("a step of a disabled token could be spent")
        return ""


def read(connections: Connections, dn: str, attributes: tuple[str, ...], deadline: Deadline) -> Any:  # noqa: ANN401
    """The attributes of one entry as ldap3 gives them, or None where there is none that otpd may read."""
    _ok, result, found, _request = connections.call(
        "read",
        "search",
        deadline,
        lambda link: link.search(dn, "(objectClass=*)", ldap3.BASE, attributes=list(attributes)),
    )
    check(result, "search", dn or "the root DSE", (RESULT_SUCCESS, RESULT_NO_SUCH_OBJECT))
    entries = [item["raw_attributes"] for item in found or [] if item.get("type") == "searchResEntry"]
    return entries[0] if entries else None


def _sees(connections: Connections, dn: str, deadline: Deadline) -> bool:
    """Whether a search from ``dn`` down shows any entry, however the server ends it."""
    _ok, _result, found, _request = connections.call(
        "read",
        "search",
        deadline,
        lambda link: link.search(dn, "(objectClass=*)", ldap3.SUBTREE, attributes=[ldap3.NO_ATTRIBUTES], size_limit=1),
    )
    return any(item.get("type") == "searchResEntry" for item in found or [])


def _servers_in(referrals: list[str] | None) -> str:
    """The servers that a referral names (RFC 4511 section 4.1.10)."""
    places = [urlsplit(uri) for uri in referrals or []]
    named = [f"{place.scheme}://{re.sub(r'[^A-Za-z0-9.:%-]', '?', place.netloc)}" for place in places if place.netloc]
    return " or ".join(named) or _("another server")
