"""A network of the tests' own: a namespace for each host, and between them a router that cuts and delays.

Hosts are attached to the router ``wire`` by a veth pair each. What goes from one to another passes the router's policy
rules, so a link between two hosts can be cut, in silence or with an answer, and no interface of either goes down. A
delayed link leads through a TUN device, at whose other end is a thread of the tests (the kernel may have no sch_netem).
"""

import ctypes
import fcntl
import heapq
import itertools
import os
import select
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, Literal, TypeVar

from rig.host import run

T = TypeVar("T")
How = Literal["blackhole", "unreachable"]
"""How a link is cut: packets vanish on it; or there is no way to it any more, which ends the opening of connections.

Of what a router says of that, Linux learns at once only where it happens not to be busy with the same connection.
"""

_ROUTER: Final = "wire"
_SUBNET: Final = "10.77"
_TUN: Final = Path("/dev/net/tun")
_SLOW: Final = "slow"
_SLOW_TABLE: Final = "77"
_CUT_RULE, _SLOW_RULE = "10", "20"
_CLONE_NEWNET: Final = 0x40000000
_TUNSETIFF: Final = 0x400454CA
_IFF_TUN_NO_PI: Final = 0x1001
_PACKET_BYTES: Final = 65536
_ADDRESSES: Final = slice(12, 20)  # RFC 791: source and destination


class Network:
    """Hosts by name; ``address`` is what each has."""

    def __init__(self) -> None:
        self.address: dict[str, str] = {}
        run("ip", "netns", "add", _ROUTER)
        self._slow = _Slow()
        _ip(_ROUTER, "link", "set", "dev", "lo", "up")
        _ip(_ROUTER, "link", "set", "dev", _SLOW, "up")
        _ip(_ROUTER, "route", "add", "default", "dev", _SLOW, "table", _SLOW_TABLE)
        within(_ROUTER, _forward)

    def attach(self, name: str) -> None:
        """A new host with its own namespace, known to all by ``name``.example.org."""
        number = len(self.address) + 1
        run("ip", "netns", "add", name)
        run("ip", "link", "add", "eth0", "netns", name, "type", "veth", "peer", "name", name, "netns", _ROUTER)
        self.address[name] = f"{_SUBNET}.{number}.2"
        for where, device, address in ((name, "eth0", self.address[name]), (_ROUTER, name, f"{_SUBNET}.{number}.1")):
            _ip(where, "address", "add", f"{address}/24", "dev", device)
            _ip(where, "link", "set", "dev", device, "up")
        _ip(name, "link", "set", "dev", "lo", "up")
        _ip(name, "route", "add", "default", "via", f"{_SUBNET}.{number}.1")
        with Path("/etc/hosts").open("a") as hosts:
            hosts.write(f"{self.address[name]} {fqdn(name)}\n")

    def cut(self, one: str, other: str, how: How = "blackhole") -> None:
        """Let nothing through between two hosts."""
        for source, target in ((one, other), (other, one)):
            self._rule("add", _CUT_RULE, source, target, how, where=_where(source, how))

    def restore(self, one: str, other: str, how: How = "blackhole") -> None:
        """Undo :meth:`cut`."""
        for source, target in ((one, other), (other, one)):
            self._rule("del", _CUT_RULE, source, target, where=_where(source, how))

    @contextmanager
    def without(self, one: str, other: str, how: How = "blackhole") -> Iterator[None]:
        """A link is cut for a while."""
        self.cut(one, other, how)
        try:
            yield
        finally:
            self.restore(one, other, how)

    @contextmanager
    def delayed(self, one: str, other: str, seconds: float) -> Iterator[None]:
        """Each packet between two hosts takes so much longer, for a while; a round trip, twice that."""
        pairs = ((one, other), (other, one))
        for source, target in pairs:
            self._slow.seconds[self._packed(source, target)] = seconds
            self._rule("add", _SLOW_RULE, source, target, "iif", source, "lookup", _SLOW_TABLE)
        try:
            yield
        finally:
            for source, target in pairs:
                self._rule("del", _SLOW_RULE, source, target)

    def close(self) -> None:
        """Take it all down; processes in the namespaces keep them."""
        for name in (*self.address, _ROUTER):
            run("ip", "netns", "delete", name)

    def _rule(self, verb: str, order: str, source: str, target: str, *what: str, where: str = _ROUTER) -> None:
        selector = ("from", self.address[source], "to", self.address[target])
        _ip(where, "rule", verb, "pref", order, *selector, *what)

    def _packed(self, source: str, target: str) -> bytes:
        return socket.inet_aton(self.address[source]) + socket.inet_aton(self.address[target])


class _Slow:
    """The far end of the TUN device: what comes out goes back in when its time has come."""

    def __init__(self) -> None:
        self.seconds: dict[bytes, float] = {}
        if not _TUN.exists():
            _TUN.parent.mkdir(exist_ok=True)
            os.mknod(_TUN, 0o600 | 0o020000, os.makedev(10, 200))
        self._device = within(_ROUTER, _open_tun)
        threading.Thread(target=self._run, daemon=True).start()

    def _run(self) -> None:
        waiting: list[tuple[float, int, bytes]] = []
        for number in itertools.count():
            left = max(0.0, waiting[0][0] - time.monotonic()) if waiting else None
            if select.select([self._device], [], [], left)[0]:
                packet = os.read(self._device, _PACKET_BYTES)
                delay = self.seconds.get(packet[_ADDRESSES], 0.0)
                heapq.heappush(waiting, (time.monotonic() + delay, number, packet))
            while waiting and waiting[0][0] <= time.monotonic():
                os.write(self._device, heapq.heappop(waiting)[2])


def fqdn(name: str) -> str:
    """The host's name in certificates and URIs."""
    return f"{name}.example.org"


def enter(name: str) -> tuple[str, ...]:
    """The command that runs another in the namespace of a host."""
    return ("nsenter", f"--net={_path(name)}", "--")


def within(name: str, work: Callable[[], T]) -> T:
    """What ``work`` gives in the namespace of a host; a socket that it opens stays there."""
    results: list[T] = []

    def go() -> None:
        # A thread has its own namespace; this one ends before it could be mistaken for another.
        with _path(name).open() as namespace:
            if ctypes.CDLL(None, use_errno=True).setns(namespace.fileno(), _CLONE_NEWNET):
                raise OSError(ctypes.get_errno(), "setns")
        results.append(work())

    worker = threading.Thread(target=go)
    worker.start()
    worker.join()
    return results[0]


def _path(name: str) -> Path:
    return Path("/run/netns", name)


def _where(source: str, how: How) -> str:
    """In which namespace a link from there is cut."""
    return source if how == "unreachable" else _ROUTER


def _ip(name: str, *arguments: str) -> None:
    run("ip", "-n", name, *arguments)


def _forward() -> None:
    # /proc/sys/net shows the namespace of the thread that opens it.
    for name, value in (("ip_forward", "1"), ("conf/all/rp_filter", "0"), ("conf/default/rp_filter", "0")):
        Path("/proc/sys/net/ipv4", name).write_text(value)


def _open_tun() -> int:
    device = os.open(_TUN, os.O_RDWR)
    fcntl.ioctl(device, _TUNSETIFF, struct.pack("16sH22x", _SLOW.encode(), _IFF_TUN_NO_PI))
    return device
