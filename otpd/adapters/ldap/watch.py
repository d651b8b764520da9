"""Watching the provider, so that what the cache holds is true: one thread, with a connection of its own.

It asks to be notified of every change below the base (RFC 4533, refreshAndPersist), and asks something small about once
a second on the same connection. An answer proves that the connection and the server are there; two seconds after the
last question that was answered, nothing of the cache is believed any more. Where the provider has no notifications, the
same questions prove that it is there, and what was read is good for a second.
"""

import itertools
import logging
import random
import threading
from contextlib import suppress
from typing import Any, Final

import ldap3
from ldap3.core.results import RESULT_SUCCESS
from ldap3.operation.search import search_operation
from ldap3.protocol.controls import build_control
from ldap3.strategy.base import BaseStrategy
from ldap3.utils.asn1 import decode_message_fast

from otpd.adapters.ldap import entries as ldap_entries
from otpd.adapters.ldap import names as ldap_names
from otpd.adapters.ldap import sync as ldap_sync
from otpd.adapters.ldap.cache import Cache, Change
from otpd.adapters.ldap.connections import Connections
from otpd.clock import Clock, Deadline
from otpd.errors import DirectoryError, DirectoryUnavailable

LOG: Final = logging.getLogger("otpd.cache")

BEAT_SECONDS: Final = 1.0
BELIEVED_SECONDS: Final = 2.0
"""How long an answer proves something, from the moment of its question on."""

_OPENING_SECONDS: Final = 5.0
_FIRST_BACKOFF_SECONDS: Final = 0.2
_MAX_BACKOFF_SECONDS: Final = 30.0
_BEATS_UNNOTIFIED: Final = 60
"""After so many, it is looked whether the server has notifications now."""
_MAX_MESSAGE_BYTES: Final = 2**20
_MAX_REFRESHED: Final = 100
_READ_BYTES: Final = 65536


class NotNotified(DirectoryError):  # noqa: N818 - it reads as what is the case
    """The server does not notify of changes; the text says what it lacks."""


class Session:
    """One connection to the provider, for one thread."""

    def __init__(self, connection: ldap3.Connection, base_dn: str, clock: Clock) -> None:
        self._connection = connection
        self._base_dn = base_dn
        self._clock = clock
        self._unread = b""
        self._search_id = -1

    def subscribe(self, deadline: Deadline) -> None:
        """Be notified from now on; raises :class:`NotNotified`, and :class:`DirectoryUnavailable` to be tried anew."""
        root = self._read("", ("supportedControl",), deadline) or {}
        if ldap_sync.REQUEST_CONTROL.encode() not in root.get("supportedControl", []):
            raise NotNotified("it does not announce the control of RFC 4533 (the overlay syncprov)")
        value = ldap_sync.request_value(self._context_csns(deadline))
        control = build_control(ldap_sync.REQUEST_CONTROL, True, value, False)  # noqa: FBT003 - ldap3's
        self._search_id = self._send(self._base_dn, ldap3.SUBTREE, ldap_entries.ATTRIBUTES, [control])
        for _ in range(_MAX_REFRESHED):
            message = self.receive(deadline)
            if message["messageID"] != self._search_id:
                continue
            if message["type"] == "searchResDone":
                raise NotNotified(f"it refuses the search of RFC 4533 with {message['description']}")
            if message["type"] == "intermediateResponse":
                info = _info(message)
                if info == "refreshed":
                    return
                if info == "uuids":
                    break
            elif message["type"] == "searchResEntry" and ldap_sync.state_of(message) is None:
                raise NotNotified("it takes the search of RFC 4533 for an ordinary one")
        # Without a session log, a server then names each entry that it has. The next attempt begins at a later state.
        raise DirectoryUnavailable("something was written at the very moment")

    def change_in(self, message: dict[str, Any]) -> Change | None:
        """What a message notifies of; raises :class:`DirectoryUnavailable` where it ends the notifications."""
        if message["messageID"] != self._search_id:
            return None
        if message["type"] == "searchResEntry":
            state = ldap_sync.state_of(message)
            if state is None:
                raise DirectoryUnavailable("an entry without a state")
            gone = state.state == "delete"
            return Change(state.uuid, message["dn"], None if gone else message["raw_attributes"])
        if message["type"] == "intermediateResponse" and _info(message) != "uuids":
            return None
        raise DirectoryUnavailable(f"the server ended them: {message.get('description') or message['type']}")

    def ask(self) -> int:
        """Ask something small; the number of the message that answers it."""
        return self._send(self._base_dn, ldap3.BASE, (ldap3.NO_ATTRIBUTES,))

    def receive(self, deadline: Deadline) -> dict[str, Any]:
        """The next message, as ldap3 gives it; raises TimeoutError."""
        self._connection.socket.deadline = deadline
        while True:
            size = BaseStrategy.compute_ldap_message_size(self._unread)
            if size > _MAX_MESSAGE_BYTES:
                raise DirectoryUnavailable("a message that is too long")
            if size != -1 and len(self._unread) >= size:
                break
            data = self._connection.socket.recv(_READ_BYTES)
            if not data:
                raise DirectoryUnavailable("the server closed the connection")
            self._unread += data
        raw, self._unread = self._unread[:size], self._unread[size:]
        decoded = decode_message_fast(raw)
        message: dict[str, Any] = self._connection.strategy.decode_response_fast(decoded)
        message["messageID"] = int(decoded["messageID"])
        if message["messageID"] == 0:
            raise DirectoryUnavailable("the server said goodbye")
        return message

    def close(self) -> None:
        """End it."""
        with suppress(OSError):
            self._connection.socket.close()

    def _context_csns(self, deadline: Deadline) -> list[bytes]:
        """What the database that holds the base knows its state by: at its suffix, above the base, or at the base."""
        dn = self._base_dn
        while dn:
            found = (self._read(dn, ("contextCSN",), deadline) or {}).get("contextCSN")
            if found:
                return list(found)
            dn = ldap_names.parent_of(dn)
        raise NotNotified(f"contextCSN of the suffix above {self._base_dn} cannot be read by otpd")

    def _read(self, dn: str, attributes: tuple[str, ...], deadline: Deadline) -> Any:  # noqa: ANN401 - ldap3's
        number = self._send(dn, ldap3.BASE, attributes)
        found = None
        while True:
            message = self.receive(deadline)
            if message["messageID"] != number:
                continue
            if message["type"] == "searchResEntry":
                found = message["raw_attributes"]
            elif message["type"] == "searchResDone":
                return found

    def _send(self, dn: str, scope: str, attributes: tuple[str, ...], controls: Any = None) -> int:  # noqa: ANN401
        request = search_operation(
            dn,
            "(objectClass=*)",
            scope,
            ldap3.DEREF_NEVER,
            list(attributes),
            0,
            0,
            types_only=False,
            auto_escape=True,
            auto_encode=True,
        )
        self._connection.socket.deadline = Deadline.after(self._clock, BELIEVED_SECONDS)
        number: int = self._connection.strategy.send("searchRequest", request, controls)
        self._connection.strategy._outstanding.clear()  # noqa: SLF001 - nobody asks ldap3 for the answers
        return number


class Watch:
    """Keeps ``cache`` true."""

    def __init__(self, connections: Connections, base_dn: str, cache: Cache, clock: Clock) -> None:
        self._connections = connections
        self._base_dn = base_dn
        self._cache = cache
        self._clock = clock
        self._ended = threading.Event()
        self._said = ""
        self._failures = 0

    def start(self) -> None:
        """Watch in a thread, until the process ends or :meth:`stop`."""
        threading.Thread(target=self._run, name="watch", daemon=True).start()

    def stop(self) -> None:
        """End soon."""
        self._ended.set()

    def _run(self) -> None:
        while not self._ended.is_set():
            try:
                self._watch()
            except Exception as error:  # noqa: BLE001 - what is no LDAP makes ldap3 raise whatever it stumbles over
                self._cache.lose()
                self._failures += 1
                known = isinstance(error, (DirectoryError, OSError))
                self._say("lost", f"not watched: {error if known else type(error).__name__}; logins ask the directory")
            self._ended.wait(self._backoff())
        self._cache.lose()

    def _watch(self) -> None:
        deadline = Deadline.after(self._clock, _OPENING_SECONDS)
        connection = self._connections.open(self._connections.servers.provider, deadline)
        session, lack = Session(connection, self._base_dn, self._clock), ""
        try:
            try:
                session.subscribe(deadline)
            except NotNotified as error:
                lack = str(error)
            self._beat(session, lack)
        finally:
            session.close()

    def _beat(self, session: Session, lack: str) -> None:
        """Ask and listen until the connection ends; for a while, where notifications ``lack`` something."""
        for _ in range(_BEATS_UNNOTIFIED) if lack else itertools.count():
            if self._ended.is_set():
                return
            asked_at, number = self._clock.monotonic(), session.ask()
            believed = Deadline(self._clock, asked_at + BELIEVED_SECONDS)
            self._listen(session, number, believed)
            self._cache.vouch(believed.at, notified=not lack)
            self._failures = 0
            if lack:
                self._say("asked", f"no notifications: {lack}; what was read is read again after a second")
            else:
                self._say("notified", "notifies of changes")
            with suppress(TimeoutError):
                self._listen(session, -1, Deadline(self._clock, asked_at + BEAT_SECONDS))

    def _listen(self, session: Session, number: int, until: Deadline) -> None:
        """Take in what comes, until the end of the search ``number``; raises TimeoutError."""
        while not until.expired():
            message = session.receive(until)
            if message["messageID"] == number and message["type"] == "searchResDone":
                if message["result"] != RESULT_SUCCESS:
                    # No such base: then it has lost its data, or otpd's account its rights, and vouches for nothing.
                    raise DirectoryUnavailable(f"{self._base_dn}: {message['description']}")
                return
            change = session.change_in(message)
            if change:
                self._cache.change(change)
        raise TimeoutError("no answer in time")

    def _backoff(self) -> float:
        if not self._failures:
            return 0.0
        seconds = min(_MAX_BACKOFF_SECONDS, _FIRST_BACKOFF_SECONDS * 2.0 ** min(self._failures - 1, 10))
        jitter = random.uniform(0.5, 1.0)  # noqa: S311 - no secret; a fleet must not come back all at once
        return seconds * jitter

    def _say(self, state: str, text: str) -> None:
        """Log what changes, once."""
        if state != self._said:
            self._said = state
            level = logging.WARNING if state == "lost" else logging.INFO
            LOG.log(level, "cache: %s: %s", self._connections.servers.provider, text)


def _info(message: dict[str, Any]) -> ldap_sync.Info | None:
    if message.get("responseName") != ldap_sync.INFO_MESSAGE:
        return None
    return ldap_sync.info_of(message.get("responseValue", b""))
