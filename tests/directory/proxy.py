"""What stands between otpd and a server, and does what networks do: it delays, swallows, cuts, and garbles."""

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal
from urllib.parse import quote

Fault = Literal["", "swallow requests", "swallow replies", "cut replies", "garbage", "drip"]

Where = str | tuple[str, int]
"""A socket's path, or a host and port."""


@dataclass
class Proxy:
    """Passes bytes on to ``target``, save for its ``fault``; what clients sent is in ``seen``."""

    where: Where
    target: Where
    fault: Fault = ""
    seen: bytearray = field(default_factory=bytearray)
    accepted: int = 0
    requests: int = 0

    @property
    def uri(self) -> str:
        """For a socket's path."""
        return f"ldapi://{quote(str(self.where), safe='')}"

    def serve(self, listener: socket.socket) -> None:
        """Accept until the listener is closed."""
        with suppress(OSError):
            while True:
                client, _ = listener.accept()
                self.accepted += 1
                threading.Thread(target=self._pass_on, args=(client,), daemon=True).start()

    def _pass_on(self, client: socket.socket) -> None:
        with suppress(OSError), client, _socket(self.target) as server:
            server.connect(self.target)
            threading.Thread(target=self._requests, args=(client, server), daemon=True).start()
            while data := server.recv(65536):
                if self.fault == "cut replies":
                    break
                if self.fault == "garbage":
                    data = b"\x30\x05\x02\x01\xff\x7f\x7f" * 3
                if self.fault == "drip":
                    _drip(client, data)
                if self.fault != "swallow replies":
                    client.sendall(data)
            client.shutdown(socket.SHUT_RDWR)

    def _requests(self, client: socket.socket, server: socket.socket) -> None:
        with suppress(OSError):
            while data := client.recv(65536):
                self.seen += data
                self.requests += not _is_search_of_nothing(data)
                if self.fault != "swallow requests":
                    server.sendall(data)
            server.shutdown(socket.SHUT_RDWR)


def _is_search_of_nothing(data: bytes) -> bool:
    """Whether it is the question that asks for no attribute, which otpd proves by that a server is there."""
    return data.endswith(b"\x30\x05\x04\x031.1")


def _drip(client: socket.socket, data: bytes) -> None:
    """The length that is promised never comes, but there is always another byte of it."""
    client.sendall(data[:1] + b"\x84\x7f\xff\xff\xff")
    while True:
        time.sleep(0.1)
        client.sendall(b"\0")


@contextmanager
def between(where: Where, target: Where) -> Iterator[Proxy]:
    """A proxy that listens at ``where``."""
    if isinstance(where, str):
        Path(where).unlink(missing_ok=True)
    with _socket(where) as listener:
        listener.bind(where)
        listener.listen(64)
        proxy = Proxy(where, target)
        threading.Thread(target=proxy.serve, args=(listener,), daemon=True).start()
        try:
            yield proxy
        finally:
            listener.shutdown(socket.SHUT_RDWR)


def _socket(where: Where) -> socket.socket:
    return socket.socket(socket.AF_UNIX if isinstance(where, str) else socket.AF_INET)
