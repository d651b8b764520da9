"""A proxy before the write provider that loses what answers a write, or the write itself.

TLS ends in it, so it sees LDAP messages (RFC 4511 section 5.1), and can tell a write from a read.
"""

import random
import socket
import ssl
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Final

from rig.network import within

from .providers import Provider

_PORT: Final = 1636
_WRITES: Final = {0x66: "modify", 0x68: "add", 0x4A: "delete"}
_ANSWERS: Final = {0x67: "modify", 0x69: "add", 0x6B: "delete"}
_LONG_FORM: Final = 0x80


@dataclass
class Lossy:
    """What it did, in ``lost``; each write meets one fault in so many, ``share``."""

    provider: Provider
    chance: random.Random
    share: float = 0.3
    lost: Counter[str] = field(default_factory=Counter)
    _tls: ssl.SSLContext = field(default_factory=lambda: ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER))

    @property
    def uri(self) -> str:
        """The write provider, as hosts are to name it."""
        return self.provider.ldaps.rpartition(":")[0] + f":{_PORT}"

    def serve(self, listener: socket.socket) -> None:
        """Accept until the listener is closed."""
        self._tls.load_cert_chain(self.provider.pair.cert, self.provider.pair.key)
        with suppress(OSError):
            while True:
                client, _ = listener.accept()
                threading.Thread(target=self._pass_on, args=(client,), daemon=True).start()

    def _pass_on(self, raw: socket.socket) -> None:
        with (
            suppress(OSError),
            self._tls.wrap_socket(raw, server_side=True) as client,
            socket.socket(socket.AF_UNIX) as server,
        ):
            server.connect(str(self.provider.path))
            # otpd sends one request at a time on a connection, and waits for its last answer.
            while (request := _message(client)) and self._exchange(client, server, request):
                pass

    def _exchange(self, client: ssl.SSLSocket, server: socket.socket, request: bytes) -> bool:
        """Pass a request and its answers on; False where the connection is to be cut."""
        write = _WRITES.get(_operation(request))
        fault = ""
        if write and self.chance.random() < self.share:
            fault = self.chance.choice(["request lost", "answer swallowed", "answer cut off"])
            self.lost[f"{write}: {fault}"] += 1
        if fault == "request lost":
            return True
        server.sendall(request)
        if _operation(request) == 0x42:  # unbind, which nobody answers
            return False
        while answer := _message(server):
            if fault == "answer cut off":
                return False
            if not fault:
                client.sendall(answer)
            if _operation(answer) not in (0x64, 0x73):  # an entry, a reference: more will come
                return True
        return False


def _message(stream: socket.socket | ssl.SSLSocket) -> bytes:
    """The next LDAP message; nothing at the end of the stream."""
    head = _exactly(stream, 2)
    if len(head) < 2:
        return b""
    length = head[1]
    if length & _LONG_FORM:
        more = _exactly(stream, length & ~_LONG_FORM)
        head, length = head + more, int.from_bytes(more, "big")
    return head + _exactly(stream, length)


def _exactly(stream: socket.socket | ssl.SSLSocket, size: int) -> bytes:
    data = b""
    while len(data) < size and (more := stream.recv(size - len(data))):
        data += more
    return data


def _operation(message: bytes) -> int:
    """The tag of the protocolOp, behind the length of the whole and the messageID."""
    start = 2 + (message[1] & ~_LONG_FORM if message[1] & _LONG_FORM else 0)
    return message[start + 2 + message[start + 1]]


@contextmanager
def lossy(provider: Provider, chance: random.Random) -> Iterator[Lossy]:
    """A proxy on the provider's host."""
    listener = within(provider.name, lambda: socket.create_server((provider.address, _PORT), backlog=64))
    proxy = Lossy(provider, chance)
    threading.Thread(target=proxy.serve, args=(listener,), daemon=True).start()
    try:
        yield proxy
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
