"""otpd's ends of the sockets: ROUTER over ipc, and the gate that every connection passes.

Who a peer is comes from libzmq's Peer-Address, which for ipc is SO_PEERCRED. Nothing that a client can choose (User-Id,
Identity) is looked at.
"""

import asyncio
import ctypes
import logging
import os
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine
from pathlib import Path
from typing import Any, Final

import zmq
import zmq.asyncio

from otpd.errors import OtpdError
from otpd.identity import Peer
from otpd.protocol import MAX_MESSAGE_BYTES

LOG: Final = logging.getLogger("otpd.zmq")
Handler = Callable[[Peer, list[bytes]], Awaitable[list[bytes]]]

_ZAP_ENDPOINT: Final = "inproc://zeromq.zap.01"  # RFC 27
_ZAP_REQUEST_FRAMES: Final = 6
_BACKLOG: Final = 512
_HANDSHAKE_MILLISECONDS: Final = 2000
_HIGH_WATER_MARK: Final = 8  # messages that libzmq holds for one connection; a client sends one and waits
_WARN_SECONDS: Final = 60
_BUSY_PAUSE_SECONDS: Final = 0.002
_MAX_IN_FLIGHT: Final = 256
_MAX_IN_FLIGHT_PER_UID: Final = 4


class ListenError(OtpdError):
    """A socket that could not be opened; the text names it."""


class Gate:
    """How many connections a uid may open: a bucket of ``burst``, refilled with ``per_second``. Root is not counted.

    It is asked once a client has shown its greeting, so it bounds what reaches the daemon's own code, and not how many
    descriptors a local user can take up.
    """

    def __init__(self, burst: int = 50, per_second: float = 5.0) -> None:
        self._burst = burst
        self._per_second = per_second
        self._buckets: dict[int, tuple[float, float]] = {}
        self._warned: dict[int, float] = {}

    def admits(self, uid: int) -> bool:
        """Whether a new connection of ``uid`` is let in; takes it from the bucket."""
        if uid == 0:
            return True
        now = time.monotonic()  # a rate of this process, not a rule of otpd: no injected clock
        level, since = self._buckets.get(uid, (float(self._burst), now))
        refilled = min(self._burst, level + (now - since) * self._per_second)
        self._buckets[uid] = (max(0.0, refilled - 1), now)
        if refilled < 1 and now - self._warned.get(uid, -_WARN_SECONDS) >= _WARN_SECONDS:
            self._warned[uid] = now
            LOG.warning("uid %d opens too many connections: some are refused", uid)
        return refilled >= 1


class Server:
    """The sockets of one daemon, inside one asyncio loop."""

    def __init__(self) -> None:
        _seed_libc_random()
        self._context = zmq.asyncio.Context()
        self._gate = Gate()
        self._zap = self._context.socket(zmq.ROUTER)
        self._zap.bind(_ZAP_ENDPOINT)
        self.broken: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        """Done, with what happened, when a part that must never end has ended: the process is of no use any more."""
        self._sockets: list[zmq.asyncio.Socket] = []
        self._receivers: list[asyncio.Task[None]] = [self._watched(self._answer_zap())]
        self._requests: set[asyncio.Task[None]] = set()
        self._in_flight: Counter[int] = Counter()

    def listen(self, path: Path, mode: int, handler: Handler, busy: list[bytes], fd: int | None = None) -> None:
        """Serve ``path`` (mode ``mode``), or ``fd``, a socket that already listens there.

        ``busy`` is the message that is sent at once, and nothing done, when there is too much to do.
        """
        socket = self._context.socket(zmq.ROUTER)
        socket.setsockopt(zmq.MAXMSGSIZE, MAX_MESSAGE_BYTES)
        socket.setsockopt(zmq.BACKLOG, _BACKLOG)
        socket.setsockopt(zmq.HANDSHAKE_IVL, _HANDSHAKE_MILLISECONDS)
        socket.setsockopt(zmq.RCVHWM, _HIGH_WATER_MARK)
        socket.setsockopt(zmq.SNDHWM, _HIGH_WATER_MARK)
        socket.setsockopt(zmq.LINGER, 1000)
        socket.setsockopt(zmq.ZAP_DOMAIN, b"otpd")
        if fd is not None:
            socket.setsockopt(zmq.USE_FD, fd)
        if fd is None and path.is_socket():
            path.unlink(missing_ok=True)
        # The mode must hold from the first moment on: bind under a umask, no chmod afterwards.
        old = os.umask(0o777 & ~mode)
        try:
            socket.bind(f"ipc://{path}")
        except zmq.ZMQError as error:
            raise ListenError(f"cannot listen on {path}: {error.strerror}") from None
        finally:
            os.umask(old)
        self._sockets.append(socket)
        self._receivers.append(self._watched(self._receive(socket, handler, busy)))

    def _watched(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled():
            # MemoryError, for one: libzmq hands over a message of any number of frames.
            self._break(task.exception() or RuntimeError("it ended"))

    def _break(self, error: BaseException) -> None:
        if not self.broken.done():
            self.broken.set_exception(error)

    async def close(self, seconds: float) -> None:
        """Read no more, answer what was read within ``seconds``, and go."""
        for task in self._receivers[1:]:
            task.cancel()
        if self._requests:
            await asyncio.wait(self._requests, timeout=seconds)
        self._receivers[0].cancel()
        for socket in [*self._sockets, self._zap]:
            socket.close()
        self._context.term()

    async def _receive(self, socket: zmq.asyncio.Socket, handler: Handler, busy: list[bytes]) -> None:
        while True:
            frames = await socket.recv_multipart(copy=False)
            route, *message = [frame.bytes for frame in frames]
            peer = _peer(frames[-1])
            if peer is None:
                continue
            if not self._takes(peer.uid):
                await _send(socket, peer, [route, *busy])
                # A flood is read no faster than this, so it fills its own pipes and leaves the loop to others.
                await asyncio.sleep(_BUSY_PAUSE_SECONDS)
                continue
            task = asyncio.create_task(self._serve(socket, peer, [route, *message], handler, busy))
            self._requests.add(task)
            task.add_done_callback(self._requests.discard)
            await asyncio.sleep(0)  # a message that is there already is received without giving way to others

    async def _serve(
        self, socket: zmq.asyncio.Socket, peer: Peer, frames: list[bytes], handler: Handler, busy: list[bytes]
    ) -> None:
        route, *message = frames
        self._in_flight[peer.uid] += 1
        try:
            await _send(socket, peer, [route, *await handler(peer, message)])
        except MemoryError as error:
            self._break(error)
        except Exception as error:  # noqa: BLE001 - a client waits; the text may quote what it sent
            LOG.error("a request of %s broke the daemon's own code: %s", peer, type(error).__name__)  # noqa: TRY400
            await _send(socket, peer, [route, *busy])
        finally:
            self._in_flight[peer.uid] -= 1
            self._in_flight += Counter()  # drops what is zero

    def _takes(self, uid: int) -> bool:
        full = len(self._requests) >= _MAX_IN_FLIGHT
        return not full and (uid == 0 or self._in_flight[uid] < _MAX_IN_FLIGHT_PER_UID)

    async def _answer_zap(self) -> None:
        """RFC 27: admit or refuse a connection before its first message."""
        while True:
            route, empty, *request = await self._zap.recv_multipart()
            version, request_id, *_ = request
            uid = _uid(request[3].decode("ascii", "replace")) if len(request) >= _ZAP_REQUEST_FRAMES else None
            admitted = uid is not None and self._gate.admits(uid)
            status = (b"200", b"OK") if admitted else (b"400", b"too many connections")
            await self._zap.send_multipart([route, empty, version, request_id, *status, b"", b""])


async def _send(socket: zmq.asyncio.Socket, peer: Peer, frames: list[bytes]) -> None:
    try:
        await socket.send_multipart(frames)
    except zmq.ZMQError as error:
        LOG.warning("a reply to %s was not sent: %s", peer, error.strerror)


def _peer(frame: zmq.Frame) -> Peer | None:
    try:
        address = frame.get("Peer-Address")
    except zmq.ZMQError:
        return None
    uid = _uid(str(address))
    return None if uid is None else Peer(uid)


def _uid(address: str) -> int | None:
    """The uid in libzmq's address of an ipc peer, ``localhost:uid:gid:pid``."""
    parts = address.split(":")
    return int(parts[1]) if len(parts) > 1 and parts[0] == "localhost" and parts[1].isdigit() else None


def _seed_libc_random() -> None:
    """Seed rand(): libzmq takes its first routing id from rand(), which it never seeds.

    A client that guesses the next routing id and sends it as its Identity makes libzmq 4.3.5 abort the process.
    """
    ctypes.CDLL(None).srand(int.from_bytes(os.urandom(4), "big"))
