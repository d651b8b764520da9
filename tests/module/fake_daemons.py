"""Stand-ins for otpd: one is a ROUTER of the real libzmq, the other breaks rules that libzmq would not."""

import contextlib
import socket
import struct
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, Self

import zmq

Frames = list[bytes]
Script = Callable[[socket.socket], None]

GREETING: Final = b"\xff" + bytes(7) + b"\x01\x7f\x03\x01" + b"NULL".ljust(20, b"\0") + bytes(32)
READY: Final = b"\x04\x1c\x05READY\x0bSocket-Type\x00\x00\x00\x06ROUTER"


def ask(prompt: str = "Verification code: ", style: str = "echo-off", infos: Sequence[str] = ()) -> Frames:
    """An ask with a dialogue that holds every byte there is."""
    fields = [b"dialogue=" + bytes(range(256)), f"style={style}".encode(), f"prompt={prompt}".encode()]
    return [b"otpd/1", b"ask", *fields, *(b"info=" + info.encode() for info in infos)]


def done(verdict: str = "accept", infos: Sequence[str] = (), authtok: str | None = None) -> Frames:
    """A verdict."""
    authtoks = [] if authtok is None else [b"authtok=" + authtok.encode()]
    return [
        b"otpd/1",
        b"done",
        b"verdict=" + verdict.encode(),
        *(b"info=" + info.encode() for info in infos),
        *authtoks,
    ]


def error(reason: str) -> Frames:
    """What otpd says when it does not understand."""
    return [b"otpd/1", b"error", b"reason=" + reason.encode()]


def verbs(requests: Sequence[Frames]) -> list[str]:
    return [request[1].decode() for request in requests]


def wire(frames: Frames) -> bytes:
    """``frames`` as ZMTP puts them on the wire."""
    headers = []
    for index, frame in enumerate(frames):
        more = int(index + 1 < len(frames))
        short = len(frame) < 256
        headers.append(bytes([more, len(frame)]) if short else bytes([more | 2]) + struct.pack(">Q", len(frame)))
    return b"".join(header + frame for header, frame in zip(headers, frames, strict=True))


Serve = Callable[..., "ZmqDaemon"]


class ZmqDaemon:
    """Answers the first request with the first of ``replies``, and so on; the last one again and again.

    A reply is frames, ``None`` for silence, or a function from the request to one of these.
    """

    def __init__(self, path: Path, replies: Sequence[object], backlog: int = 100) -> None:
        self.requests: list[Frames] = []
        self._path = path
        self._replies = replies
        self._context = zmq.Context()
        self._socket = self._context.socket(zmq.ROUTER)
        self._socket.backlog = backlog
        self._socket.linger = 1000
        self._socket.maxmsgsize = 32768
        self._socket.bind(f"ipc://{path}")
        path.chmod(0o666)
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Closes every connection, and takes the socket away."""
        self._stopping.set()
        self._thread.join()
        self._socket.close()
        self._context.term()
        self._path.unlink(missing_ok=True)

    def _serve(self) -> None:
        while not self._stopping.is_set():
            if not self._socket.poll(20):
                continue
            routing_id, *frames = self._socket.recv_multipart()
            reply = self._replies[min(len(self.requests), len(self._replies) - 1)]
            self.requests.append(frames)
            if callable(reply):
                reply = reply(frames)
            if reply is not None:
                self._socket.send_multipart([routing_id, *reply])


class RawDaemon:
    """Hands every connection to the next of ``scripts`` (the last one again and again), then closes it."""

    def __init__(self, path: Path, *scripts: Script, backlog: int = 16) -> None:
        self.connections = 0
        self._scripts = scripts
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._listener.bind(str(path))
        self._listener.listen(backlog)
        self._thread = threading.Thread(target=self._serve, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._listener.close()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            script = self._scripts[min(self.connections, len(self._scripts) - 1)]
            self.connections += 1
            # The client may go first: its result is what the test looks at.
            with connection, contextlib.suppress(OSError):
                script(connection)


def say(*parts: bytes) -> Script:
    """A script: all of ``parts``, then close once the client has had its say."""

    def script(connection: socket.socket) -> None:
        connection.sendall(b"".join(parts))
        connection.shutdown(socket.SHUT_WR)
        while connection.recv(4096):
            pass

    return script


def answer(*replies: bytes) -> Script:
    """A script: a proper handshake, and these bytes for a reply once a request is there."""

    def script(connection: socket.socket) -> None:
        connection.sendall(GREETING)
        _receive(connection, len(GREETING))
        connection.sendall(READY)
        _receive(connection, len(READY))
        connection.recv(65536)
        connection.sendall(b"".join(replies))
        connection.shutdown(socket.SHUT_WR)
        while connection.recv(4096):
            pass

    return script


def hang(connection: socket.socket) -> None:
    """A script: nothing, until the client goes away."""
    while connection.recv(4096):
        pass


def _receive(connection: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        more = connection.recv(size - len(data))
        if not more:
            raise ConnectionError
        data += more
    return data
