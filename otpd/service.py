"""From frames to frames: what the two sockets answer, with blocking work on a bounded pool under a deadline."""

import asyncio
import functools
import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Final, TypeVar

from otpd import audit
from otpd.clock import Clock, Deadline
from otpd.dialogue import Dialogue
from otpd.errors import ProtocolError
from otpd.identity import Accounts, Peer
from otpd.management import Management
from otpd.management.verb import Refused
from otpd.protocol import (
    MAX_REPLY_BYTES,
    Begin,
    Done,
    Error,
    Reply,
    Request,
    decode_management,
    decode_request,
    encode_management,
    encode_reply,
)
from otpd.texts import mark

LOG: Final = logging.getLogger("otpd.service")
T = TypeVar("T")

REFUSAL_SECONDS: Final = 0.1
"""Every refusal takes at least this long, so its time does not tell why it is one."""

_DIALOGUE_VERBS: Final = (b"begin", b"answer", b"cancel")
_AUTH_VERBS: Final = (b"key-ring",)
"""Management that auth.sock answers, too: before values are sealed with a key, the process behind it must have it."""

BUSY_DIALOGUE: Final = encode_reply(Done(verdict="unavailable"))


BUSY_MANAGEMENT: Final = encode_management(
    "error", {"reason": "unavailable", "message": mark("otpd is busy. Try again in a moment.")}
)


@dataclass(frozen=True)
class Service:
    """What stands behind the sockets."""

    dialogue: Dialogue
    management: Management
    pool: ThreadPoolExecutor
    clock: Clock
    deadline_seconds: float

    async def auth(self, peer: Peer, frames: list[bytes]) -> list[bytes]:
        """auth.sock: the dialogue, for any user; and, for root, which keys this process has."""
        if len(frames) > 1 and frames[1] in _AUTH_VERBS:
            return await self._management(peer, frames)
        return await self._dialogue(peer, frames, own_only=False)

    async def control(self, peer: Peer, frames: list[bytes]) -> list[bytes]:
        """control.sock: management, and the dialogue for the peer's own uid."""
        if len(frames) > 1 and frames[1] in _DIALOGUE_VERBS:
            return await self._dialogue(peer, frames, own_only=not peer.is_root)
        return await self._management(peer, frames)

    async def _management(self, peer: Peer, frames: list[bytes]) -> list[bytes]:
        started = self.clock.monotonic()
        try:
            verb, body = decode_management(frames)
            seconds = max(self.deadline_seconds, self.management.least_seconds(verb))
            reply = await self._work(lambda deadline: self.management.call(peer, verb, body, deadline), seconds)
        except ProtocolError as error:
            LOG.warning("a management message of %s: %s", peer, error)
            reply = Refused("malformed", str(error))
        if reply is None:
            return BUSY_MANAGEMENT
        if isinstance(reply, Refused):
            await self._pad(started)
            return encode_management("error", {"reason": reply.reason, "message": reply.message, **reply.details})
        return encode_management("ok", reply, MAX_REPLY_BYTES)

    async def _dialogue(self, peer: Peer, frames: list[bytes], *, own_only: bool) -> list[bytes]:
        started = self.clock.monotonic()
        try:
            request = decode_request(frames)
            step = functools.partial(self._step, peer, request, own_only=own_only)
            reply = await self._work(step, self.deadline_seconds)
            if reply is None:
                return BUSY_DIALOGUE
            if _judges(request) and not (isinstance(reply, Done) and reply.verdict == "accept"):
                await self._pad(started)
            return encode_reply(reply)
        except ProtocolError as error:
            LOG.warning("a request of %s: %s", peer, error)
            return encode_reply(Error(reason=str(error)))

    def _step(self, peer: Peer, request: Request, deadline: Deadline, *, own_only: bool) -> Reply:
        if own_only and isinstance(request, Begin):
            if not _is_own(self.dialogue.accounts, request.user, peer):
                audit.record("refused", peer=peer, user=request.user, service=request.service, reason="another user")
                return Done(verdict="refuse")
            # A user's own program may say that it comes from anywhere, and would be remembered there.
            request = replace(request, rhost="")
        return self.dialogue.step(peer, request, deadline)

    async def _work(self, step: Callable[[Deadline], T], seconds: float) -> T | None:
        """``step`` on a worker, or None when it is not done in time, or broke in a way nobody foresaw."""
        deadline = Deadline.after(self.clock, seconds)
        try:
            work = asyncio.get_running_loop().run_in_executor(self.pool, _unless_late, step, deadline)
            return await asyncio.wait_for(work, seconds)
        except TimeoutError:
            LOG.warning("no answer within %g seconds: directory, NSS or workers hang", seconds)
        except ProtocolError:
            raise
        except Exception as error:  # noqa: BLE001 - the daemon answers, whatever happens; values may hang on the text
            LOG.error("a step broke: %s at %s", type(error).__name__, _place(error))  # noqa: TRY400
        return None

    async def _pad(self, started: float) -> None:
        await asyncio.sleep(max(0.0, started + REFUSAL_SECONDS - self.clock.monotonic()))


def _unless_late(step: Callable[[Deadline], T], deadline: Deadline) -> T | None:
    # A worker that comes free after the deadline must not spend a code for an answer that nobody awaits.
    return None if deadline.expired() else step(deadline)


def _judges(request: Request) -> bool:
    """Whether the reply says something about what was typed."""
    return not isinstance(request, Begin) or request.authtok is not None


def _is_own(accounts: Accounts, name: str, peer: Peer) -> bool:
    canonical = accounts.canonical_name(name)
    return canonical is not None and accounts.uid(canonical) == peer.uid


def _place(error: BaseException) -> str:
    trace = error.__traceback__
    place = "?"
    while trace:
        place = f"{trace.tb_frame.f_globals.get('__name__')}:{trace.tb_lineno}"
        trace = trace.tb_next
    return place
