"""Connections to the directory's servers: which one to ask, for how long, and what to do when it does not answer.

Reads go to any server, the first that answers; writes go to the provider alone. Connections are one a thread and
server, made when needed and thrown away at the first fault. A server that failed is asked last for a while. A read is
sent again, to the next server; a write is sent once, and raises when its answer is lost, since it may have happened.
"""

import os
import random
import socket
import ssl
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Final, Literal

import ldap3
from ldap3.core.exceptions import LDAPException
from ldap3.core.results import RESULT_BUSY, RESULT_SUCCESS, RESULT_UNAVAILABLE, RESULT_UNWILLING_TO_PERFORM

from otpd.clock import Clock, Deadline
from otpd.errors import DirectoryError, DirectoryUnavailable
from otpd.secret import Secret

Role = Literal["read", "write"]
Operation = Callable[[ldap3.Connection], Any]

_FIRST_BACKOFF_SECONDS: Final = 0.5
_MAX_BACKOFF_SECONDS: Final = 30.0
_LEAST_SLICE_SECONDS: Final = 0.2
_OVERLOADED: Final = (RESULT_BUSY, RESULT_UNAVAILABLE)


@dataclass(frozen=True)
class Servers:
    """Where the directory is, and how otpd proves who it is.

    ``uris`` are read from, in this order of preference; ``provider`` takes all writes. Without ``bind_dn``, SASL
    EXTERNAL is used: the uid over ldapi, the client certificate over TLS. ``ldap://`` is spoken under StartTLS alone.
    """

    uris: tuple[str, ...]
    provider: str
    bind_dn: str = ""
    bind_password: Secret | None = None
    ca_file: str | None = None
    cert_file: str | None = None
    key_file: str | None = None


@dataclass
class _Health:
    """How a server has done lately."""

    failures: int = 0
    not_before: float = 0.0


@dataclass
class Connections:
    """Runs operations of ldap3 on the servers, from many threads."""

    servers: Servers
    clock: Clock
    _local: threading.local = field(default_factory=threading.local)
    _health: dict[str, _Health] = field(default_factory=dict)

    def call(self, role: Role, name: str, deadline: Deadline, operation: Operation) -> Any:  # noqa: ANN401 - ldap3's
        """ldap3's ``(status, result, response, request)`` of ``operation``; raises :class:`DirectoryUnavailable`.

        What the server answered is for the caller to judge, except that a server that is too busy counts as gone.
        ``name`` is for messages.
        """
        candidates = [self.servers.provider] if role == "write" else self._by_health()
        for left, uri in zip(range(len(candidates), 0, -1), candidates, strict=True):
            share = deadline if left == 1 else self._share(deadline, left)
            try:
                answer = self._once(uri, role, name, share, operation)
            except DirectoryUnavailable:
                self._failed(uri)
                if left == 1 or deadline.expired():
                    raise
            else:
                self._health.pop(uri, None)
                return answer
        raise DirectoryUnavailable(f"{name}: no server is configured")

    def _share(self, deadline: Deadline, left: int) -> Deadline:
        seconds = max(_LEAST_SLICE_SECONDS, deadline.remaining_seconds() / left)
        return Deadline(deadline.clock, min(deadline.at, deadline.clock.monotonic() + seconds))

    def _by_health(self) -> list[str]:
        """Servers that are well in the configured order, then those that failed, the one that may be back first."""
        now = self.clock.monotonic()
        waits = {uri: self._health.get(uri, _Health()).not_before for uri in self.servers.uris}
        return sorted(self.servers.uris, key=lambda uri: waits[uri] if waits[uri] > now else 0.0)

    def _failed(self, uri: str) -> None:
        failures = self._health.get(uri, _Health()).failures + 1
        backoff = min(_MAX_BACKOFF_SECONDS, _FIRST_BACKOFF_SECONDS * 2 ** min(failures - 1, 10))
        # Jitter: the hosts of a fleet must not come back all at once.
        jitter = random.uniform(0.5, 1.0)  # noqa: S311 - no secret
        self._health[uri] = _Health(failures, self.clock.monotonic() + backoff * jitter)

    def _once(self, uri: str, role: Role, name: str, deadline: Deadline, operation: Operation) -> Any:  # noqa: ANN401
        kept = uri in self._connections
        try:
            return self._send(uri, name, deadline, operation)
        except DirectoryUnavailable:
            # A kept connection may have died unnoticed (the server was restarted): a read is safe to send again.
            if role == "write" or not kept or deadline.expired():
                raise
            return self._send(uri, name, deadline, operation)

    def _send(self, uri: str, name: str, deadline: Deadline, operation: Operation) -> Any:  # noqa: ANN401
        connection = self._connection(uri, deadline)
        try:
            connection.socket.settimeout(_positive(name, deadline))
            answer = operation(connection)
        except (LDAPException, OSError) as error:
            self._drop(uri)
            raise DirectoryUnavailable(f"{name}: {uri}: {type(error).__name__}") from None
        result = answer[1]
        if result["result"] in _OVERLOADED:
            raise DirectoryUnavailable(f"{name}: {uri} answered {result['description']}")
        return answer

    @property
    def _connections(self) -> dict[str, ldap3.Connection]:
        """Those of the thread that asks."""
        if not hasattr(self._local, "connections"):
            self._local.connections = {}
        connections: dict[str, ldap3.Connection] = self._local.connections
        return connections

    def _connection(self, uri: str, deadline: Deadline) -> ldap3.Connection:
        if uri in self._connections and _has_ended(self._connections[uri].socket):
            self._drop(uri)
        if uri not in self._connections:
            self._connections[uri] = self._connect(uri, deadline)
        return self._connections[uri]

    def _connect(self, uri: str, deadline: Deadline) -> ldap3.Connection:
        seconds = _positive("connect", deadline)
        whole_seconds = max(1, int(seconds))  # ldap3 packs it into an integer timeval
        connection = None
        try:
            server = ldap3.Server(uri, get_info=ldap3.NONE, connect_timeout=seconds, tls=self._tls(uri))
            connection = ldap3.Connection(
                server,
                **self._credentials(),
                client_strategy=ldap3.SAFE_SYNC,
                receive_timeout=whole_seconds,
                check_names=False,
                auto_referrals=False,
            )
            if uri.startswith("ldap://"):
                connection.open(read_server_info=False)
                connection.socket.settimeout(seconds)
                connection.start_tls(read_server_info=False)
            _, result, _, _ = connection.bind()
            connection.socket.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        except (LDAPException, OSError) as error:
            if connection is not None:
                with suppress(LDAPException, OSError):
                    connection.strategy.close()
            raise DirectoryUnavailable(f"bind: {uri}: {type(error).__name__}: {error}") from None
        check(result, "bind", uri, (RESULT_SUCCESS,))
        return connection

    def _credentials(self) -> dict[str, Any]:
        password = self.servers.bind_password
        if self.servers.bind_dn and password is not None:
            secret = password.reveal().decode()
            return {"authentication": ldap3.SIMPLE, "user": self.servers.bind_dn, "password": secret}
        return {"authentication": ldap3.SASL, "sasl_mechanism": ldap3.EXTERNAL, "sasl_credentials": ""}

    def _tls(self, uri: str) -> ldap3.Tls | None:
        if uri.startswith("ldapi://"):
            return None
        return ldap3.Tls(
            validate=ssl.CERT_REQUIRED,
            ca_certs_file=self.servers.ca_file,
            local_certificate_file=self.servers.cert_file,
            local_private_key_file=self.servers.key_file,
        )

    def _drop(self, uri: str) -> None:
        connection = self._connections.pop(uri, None)
        if connection is not None:
            with suppress(LDAPException, OSError):
                connection.strategy.close()


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


def _positive(operation: str, deadline: Deadline) -> float:
    seconds = deadline.remaining_seconds()
    if not seconds:
        raise DirectoryUnavailable(f"{operation}: no time left before the deadline")
    return seconds


def _has_ended(link: socket.socket) -> bool:
    """Whether the other side has closed the connection: a write must not be lost on it.

    Asked of a copy of the descriptor, since a TLS socket has no way to look without reading.
    """
    with suppress(OSError), socket.socket(fileno=os.dup(link.fileno())) as copy:
        try:
            return not copy.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT)
        except BlockingIOError:
            return False
    return True
