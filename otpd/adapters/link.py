"""The stream to a server: opened, secured and read under one deadline, which the sockets of libraries know nothing of.

ldap3 and smtplib give every address of a host and every ``recv`` their timeout anew, so a host with several addresses,
or a server that sends a byte now and then, takes many times as long. Here the moment is absolute.
"""

import os
import socket
import ssl
from contextlib import suppress
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any, Final
from urllib.parse import unquote, urlsplit

from otpd.adapters.resolver import RESOLVER
from otpd.clock import Deadline

_PORTS: Final = {"ldap": 389, "ldaps": 636}
# A peer that vanished (power cut, a firewall that forgot the connection) is noticed within 30 seconds of silence.
_KEEPALIVE: Final = (
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
    (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 15),
    (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 5),
    (socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 3),
    (socket.IPPROTO_TCP, socket.TCP_NODELAY, 1),
)


@dataclass(frozen=True)
class Address:
    """Where a server listens: ``host`` and ``port``, or with the scheme ``ldapi`` the socket's ``path``."""

    scheme: str
    host: str = ""
    port: int = 0
    path: str = ""

    @classmethod
    def of(cls, uri: str) -> "Address":
        """The address in an LDAP URI (RFC 4516); OpenLDAP's ``ldapi`` has the path where others have the host."""
        scheme, _, rest = uri.partition("://")
        if scheme == "ldapi":
            return cls(scheme, path=unquote(rest.rstrip("/")))
        parts = urlsplit(uri)
        return cls(scheme, parts.hostname or "", parts.port or _PORTS[scheme])


class Link:
    """An open stream; it stands where libraries expect a socket, and raises TimeoutError after ``deadline``."""

    def __init__(self, stream: socket.socket, deadline: Deadline) -> None:
        self._stream = stream
        self.deadline = deadline

    def secure(self, context: ssl.SSLContext, host: str) -> None:
        """Speak TLS from here on; raises ssl.SSLError where the certificate is not one of ``host``."""
        self._stream.settimeout(_left(self.deadline))
        self._stream = context.wrap_socket(self._stream, server_hostname=host)

    def recv(self, size: int) -> bytes:
        """As of a socket."""
        self._stream.settimeout(_left(self.deadline))
        return self._stream.recv(size)

    def sendall(self, data: bytes) -> None:
        """As of a socket."""
        self._stream.settimeout(_left(self.deadline))
        self._stream.sendall(data)

    def shutdown(self, how: int) -> None:
        """As of a socket."""
        self._stream.shutdown(how)

    def close(self) -> None:
        """As of a socket."""
        self._stream.close()

    def is_idle(self) -> bool:
        """Whether the stream is open and nothing waits to be read, as it must be before a request.

        A server that closes says so first: Notice of Disconnection (RFC 4511 section 4.4.1), or TLS's close_notify. So
        anything that waits means an end, and a write must not be lost on it. It is asked of a copy of the descriptor,
        since a TLS socket has no way to look without reading.
        """
        with suppress(OSError), socket.socket(fileno=os.dup(self._stream.fileno())) as copy:
            try:
                copy.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT)
            except BlockingIOError:
                return True
        return False


def dial(address: Address, deadline: Deadline) -> Link:
    """Connect to the first address of the host that answers; raises OSError."""
    if address.scheme == "ldapi":
        return _connect(socket.AF_UNIX, address.path, deadline)
    found = RESOLVER.addresses(address.host, address.port, deadline)
    for left, (family, _, _, _, where) in zip(range(len(found), 0, -1), found, strict=True):
        share = Deadline.after(deadline.clock, _left(deadline) / left)
        try:
            link = _connect(family, where, share)
        except OSError:
            if left == 1:
                raise
        else:
            link.deadline = deadline
            return link
    raise OSError("the host has no address")


def tls_context(ca_file: str | None, cert_file: str | None, key_file: str | None) -> ssl.SSLContext:
    """What a server must prove: a certificate of an authority in ``ca_file`` (None: the system's) for its host name.

    ``cert_file`` and ``key_file`` prove who otpd is. Raises OSError for files that cannot be read or hold none.
    """
    context = ssl.create_default_context(cafile=ca_file)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    # Python 3.13 refuses what many a private authority issues (no Authority Key Identifier) and what 3.11, OpenSSL and
    # GnuTLS accept: an upgrade of the host must not be the end of all logins.
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    if cert_file:
        context.load_cert_chain(cert_file, key_file)
    return context


def is_loopback(host: str) -> bool:
    """Whether ``host`` names this host, whatever the name servers say."""
    with suppress(ValueError):
        return ip_address(host).is_loopback
    return host == "localhost"


def _connect(family: int, where: Any, deadline: Deadline) -> Link:  # noqa: ANN401 - an address, by family
    stream = socket.socket(family, socket.SOCK_STREAM)
    try:
        stream.settimeout(_left(deadline))
        stream.connect(where)
        for level, option, value in _KEEPALIVE if family != socket.AF_UNIX else ():
            stream.setsockopt(level, option, value)
    except BaseException:
        stream.close()
        raise
    return Link(stream, deadline)


def _left(deadline: Deadline) -> float:
    seconds = deadline.remaining_seconds()
    if not seconds:
        raise TimeoutError("no time left before the deadline")
    return seconds
