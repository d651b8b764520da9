"""Tickets: what the daemon would have to remember between two messages, sealed and handed to the client instead.

A ticket opens on the host and boot that made it, for the uid it was made for, until it expires. Replaying one gains
nothing: codes are spent in the directory, and guesses are counted there.
"""

import json
from dataclasses import dataclass
from typing import Any, Final

from otpd.clock import Clock
from otpd.errors import SealError, TicketError
from otpd.seal import KeyRing
from otpd.secret import Secret

_EXPIRES: Final = "expires"


@dataclass(frozen=True)
class Tickets:
    """Makes and opens tickets; ``boot_id`` is the kernel's, which is new at every boot and on every host."""

    keys: KeyRing
    boot_id: str
    clock: Clock

    def issue(self, purpose: str, peer_uid: int, state: dict[str, Any], lifetime_seconds: float) -> bytes:
        """A ticket that holds ``state`` (anything JSON can) for ``lifetime_seconds``."""
        return self.reissue(purpose, peer_uid, state, self.clock.monotonic() + lifetime_seconds)

    def reissue(self, purpose: str, peer_uid: int, state: dict[str, Any], expires: float) -> bytes:
        """As :meth:`issue`, with the moment on the monotonic clock at which it expires."""
        plain = json.dumps({**state, _EXPIRES: expires}, separators=(",", ":"))
        return self.keys.seal(purpose, self._place(peer_uid), Secret(plain.encode()))

    def redeem(self, purpose: str, peer_uid: int, ticket: bytes) -> tuple[dict[str, Any], float]:
        """The state and the moment of expiry; raises :class:`TicketError`."""
        try:
            state = json.loads(self.keys.open(purpose, self._place(peer_uid), ticket).reveal())
        except SealError:
            raise TicketError("a ticket that is damaged, from another boot, or another peer's") from None
        expires = state.pop(_EXPIRES)
        if expires < self.clock.monotonic():
            raise TicketError("a ticket that has expired")
        return state, expires

    def _place(self, peer_uid: int) -> tuple[str, ...]:
        return (self.boot_id, str(peer_uid))
