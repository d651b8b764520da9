"""Looking up a server's host under a deadline, which getaddrinfo(3) knows nothing of.

A name server that does not answer holds getaddrinfo up for tens of seconds. So a thread of its own asks, one at a time
for each host and port, and whoever waits for it goes when the time is up; what it finds later is for those who come
then.
"""

import socket
import threading
from concurrent.futures import Future
from contextlib import suppress
from typing import Any, Final

from otpd.clock import Deadline

Addresses = list[tuple[Any, ...]]
"""What getaddrinfo gives: family, type, protocol, canonical name, address."""


class Resolver:
    """Looks hosts up, for many threads. The last answer stands in for one that does not come."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._asked: dict[tuple[str, int], Future[Addresses]] = {}
        self._known: dict[tuple[str, int], Addresses] = {}

    def addresses(self, host: str, port: int, deadline: Deadline) -> Addresses:
        """Where ``host`` listens on ``port``; raises OSError where that cannot be told in time."""
        with suppress(socket.gaierror, UnicodeError):
            return socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)
        seconds = deadline.remaining_seconds()
        known = self._known.get((host, port))
        try:
            # Where there is something to fall back on, most of the time is left for using it.
            found = self._ask(host, port).result(seconds / 4 if known else seconds)
        except (OSError, UnicodeError) as error:  # TimeoutError is an OSError
            if known is None:
                raise OSError(f"{host} could not be looked up: {_words(error)}") from None
            return known
        return found

    def _ask(self, host: str, port: int) -> Future[Addresses]:
        with self._lock:
            asked = self._asked.get((host, port))
            if asked is None:
                asked = self._asked[host, port] = Future()
                threading.Thread(target=self._look_up, args=(host, port, asked), daemon=True).start()
        return asked

    def _look_up(self, host: str, port: int, asked: Future[Addresses]) -> None:
        try:
            self._known[host, port] = found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
            asked.set_result(found)
        except (OSError, UnicodeError) as error:  # UnicodeError: no name of a host
            asked.set_exception(error)
        finally:
            with self._lock:
                del self._asked[host, port]


def _words(error: Exception) -> str:
    return "no answer in time" if isinstance(error, TimeoutError) else str(error.args[-1])


RESOLVER: Final = Resolver()
"""The process's own: what one connection has learnt is for all."""
