"""Connections to the directory's servers: which one to ask, for how long, and what to do when it does not answer.

Reads go to any server, the first that answers; writes go to the provider alone. Connections are one a thread and
server, made when needed and thrown away at the first fault. A server that failed is asked last for a while. A read is
sent again, to the next server; a write is sent once, and raises when its answer is lost, since it may have happened.
"""

import socket
import ssl
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final, Literal

import ldap3
from ldap3.core.results import RESULT_BUSY, RESULT_SUCCESS, RESULT_UNAVAILABLE, RESULT_UNWILLING_TO_PERFORM

from otpd.adapters.ldap.health import Health
from otpd.adapters.link import Address, Link, dial, tls_context
from otpd.clock import Clock, Deadline
from otpd.errors import DirectoryError, DirectoryUnavailable
from otpd.secret import Secret

Role = Literal["read", "write"]
Operation = Callable[[ldap3.Connection], Any]

_LEAST_SLICE_SECONDS: Final = 0.2
_OVERLOADED: Final = (RESULT_BUSY, RESULT_UNAVAILABLE)
_START_TLS: Final = "1.3.6.1.4.1.1466.20037"  # RFC 4511 section 4.14


@dataclass(frozen=True)
class Servers:
    """Where the directory is, and how otpd proves who it is.

    ``uris`` are read from, in this order of preference; ``provider`` takes all writes. Without ``bind_dn``, SASL
    EXTERNAL is used: the uid over ldapi, the client certificate over TLS. ``ldap://`` is spoken under StartTLS alone.
    ``anonymous`` is to prove nothing: without a bind, a connection is nobody's (RFC 4513 section 4).
    """

    uris: tuple[str, ...]
    provider: str
    bind_dn: str = ""
    bind_password: Secret | None = None
    ca_file: str | None = None
    cert_file: str | None = None
    key_file: str | None = None
    anonymous: bool = False


class Connections:
    """Runs operations of ldap3 on the servers, from many threads."""

    def __init__(self, servers: Servers, clock: Clock) -> None:
        self.servers = servers
        self._health = Health(clock)
        self._local = _Local()

    def call(self, role: Role, name: str, deadline: Deadline, operation: Operation) -> Any:  # noqa: ANN401 - ldap3's
        """ldap3's ``(status, result, response, request)`` of ``operation``; raises :class:`DirectoryUnavailable`.

        What the server answered is for the caller to judge, except that a server that is too busy counts as gone.
        ``name`` is for messages.
        """
        candidates = [self.servers.provider] if role == "write" else self._health.order(self.servers.uris)
        for left, uri in zip(range(len(candidates), 0, -1), candidates, strict=True):
            try:
                answer = self._once(uri, role, name, _share(deadline, left), operation)
            except DirectoryUnavailable:
                self._health.failed(uri)
                if left == 1 or deadline.expired():
                    raise
            else:
                self._health.answered(uri)
                return answer
        raise DirectoryUnavailable(f"{name}: no server is configured")

    def close(self) -> None:
        """Close those of the thread that asks."""
        for uri in list(self._local.connections):
            self._drop(uri)

    def _once(self, uri: str, role: Role, name: str, deadline: Deadline, operation: Operation) -> Any:  # noqa: ANN401
        kept = uri in self._local.connections
        try:
            return self._send(uri, name, deadline, operation)
        except DirectoryUnavailable:
            # A kept connection may have died unnoticed (the server was restarted): a read is safe to send again.
            if role == "write" or not kept or deadline.expired():
                raise
            return self._send(uri, name, deadline, operation)

    def _send(self, uri: str, name: str, deadline: Deadline, operation: Operation) -> Any:  # noqa: ANN401
        try:
            answer = operation(self._connection(uri, deadline))
        except Exception as error:  # noqa: BLE001 - what is no LDAP makes ldap3 raise whatever its parser stumbles over
            self._drop(uri)
            raise DirectoryUnavailable(f"{name}: {uri}: {_words(error, deadline)}") from None
        result = answer[1]
        if result["result"] in _OVERLOADED:
            raise DirectoryUnavailable(f"{name}: {uri} answered {result['description']}")
        return answer

    def _connection(self, uri: str, deadline: Deadline) -> ldap3.Connection:
        kept = self._local.connections.get(uri)
        if kept is not None and kept.socket.is_idle():
            kept.socket.deadline = deadline
            return kept
        self._drop(uri)
        made = self.open(uri, deadline)
        self._local.connections[uri] = made
        return made

    def open(self, uri: str, deadline: Deadline) -> ldap3.Connection:
        """A new connection, for the caller alone to use and to close."""
        address = Address.of(uri)
        link = dial(address, deadline)
        try:
            connection = _adopt(link, **self._credentials())
            if address.scheme == "ldap":
                _expect_success("StartTLS", connection.extended(_START_TLS))
            if address.scheme != "ldapi":
                link.secure(self._tls_context(), address.host)
            if not self.servers.anonymous:
                _expect_success("bind", connection.bind(read_server_info=False))
        except BaseException:
            _close(link)
            raise
        return connection

    def _tls_context(self) -> ssl.SSLContext:
        return tls_context(self.servers.ca_file, self.servers.cert_file, self.servers.key_file)

    def _credentials(self) -> dict[str, Any]:
        password = self.servers.bind_password
        if self.servers.bind_dn and password is not None:
            secret = password.reveal().decode()
            return {"authentication": ldap3.SIMPLE, "user": self.servers.bind_dn, "password": secret}
        return {"authentication": ldap3.SASL, "sasl_mechanism": ldap3.EXTERNAL, "sasl_credentials": ""}

    def _drop(self, uri: str) -> None:
        connection = self._local.connections.pop(uri, None)
        if connection is not None and connection.socket is not None:
            _close(connection.socket)


class _Local(threading.local):
    """The connections of the thread that asks, by URI."""

    def __init__(self) -> None:
        self.connections: dict[str, ldap3.Connection] = {}


def check(result: dict[str, Any], operation: str, where: str, accept: Sequence[int]) -> int:
    """The result code, if it is one of ``accept``; raises :class:`DirectoryError`.

    The server's diagnostic message is left out: it may quote values.
    """
    code: int = result["result"]
    if code in accept:
        return code
    if code == RESULT_UNWILLING_TO_PERFORM:
        # What a server says that is shutting down, read-only for now, or out of disk.
        raise DirectoryUnavailable(f"{operation}: {where} answered {result['description']}")
    raise DirectoryError(f"{operation}: {where} refused with {result['description']} ({code})")


def _share(deadline: Deadline, left: int) -> Deadline:
    """A fair part of the time for the first of ``left`` servers; what it leaves over is for the others."""
    if left == 1:
        return deadline
    seconds = max(_LEAST_SLICE_SECONDS, deadline.remaining_seconds() / left)
    return Deadline(deadline.clock, min(deadline.at, deadline.clock.monotonic() + seconds))


def _adopt(link: Link, **credentials: Any) -> ldap3.Connection:  # noqa: ANN401 - ldap3's
    """A connection of ldap3 over a link that is open already."""
    connection = ldap3.Connection(
        ldap3.Server("localhost", get_info=ldap3.NONE),  # the name is not used: nothing is opened by ldap3
        **credentials,
        client_strategy=ldap3.SAFE_SYNC,
        check_names=False,
        auto_referrals=False,
    )
    connection.socket, connection.closed, connection.listening = link, False, True
    connection.strategy._outstanding = {}  # noqa: SLF001 - all that its open() does beside opening
    return connection


def _close(link: Link) -> None:
    with suppress(OSError):
        link.shutdown(socket.SHUT_RDWR)
    with suppress(OSError):
        link.close()


def _expect_success(operation: str, answer: Any) -> None:  # noqa: ANN401 - ldap3's
    """Raise where the server refuses: another one may not, so this one counts as gone."""
    result = answer[1]
    if result["result"] != RESULT_SUCCESS:
        raise DirectoryUnavailable(f"{operation} was refused with {result['description']} ({result['result']})")


def _words(error: Exception, deadline: Deadline) -> str:
    """What a log may say of a fault: the texts of ldap3's exceptions may quote values."""
    if isinstance(error, (DirectoryUnavailable, OSError)):
        return str(error) or type(error).__name__
    return "no answer in time" if deadline.expired() else type(error).__name__
