"""Clients of otpd's two sockets, quick enough to hold many of them at one moment; they speak docs/protocol.md."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Self

import zmq

from otpd.protocol import (
    Answer,
    Ask,
    Begin,
    Done,
    decode_management,
    decode_reply,
    encode_management,
    encode_request,
)
from otpd.secret import Secret

PATIENCE_SECONDS: Final = 8
"""Longer than otpd takes, whatever happens: who waits so long gets no answer."""

NO_ANSWER: Final = "no answer"


class Link:
    """A connection to one of otpd's sockets, for one request at a time."""

    def __init__(self, path: Path) -> None:
        self._socket = zmq.Context.instance().socket(zmq.DEALER)
        self._socket.linger = 0
        self._socket.connect(f"ipc://{path}")

    def send(self, frames: list[bytes]) -> None:
        """Send a request; it waits for a daemon that is not there yet."""
        self._socket.send_multipart(frames)

    def receive(self, seconds: float = PATIENCE_SECONDS) -> list[bytes] | None:
        """The reply, or None where none comes."""
        if self._socket.poll(int(seconds * 1000)) == 0:
            return None
        frames: list[bytes] = self._socket.recv_multipart()
        return frames

    def close(self) -> None:
        """Hang up."""
        self._socket.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


@dataclass
class Login:
    """A login at the prompt."""

    link: Link
    ticket: bytes

    @classmethod
    def begin(
        cls, path: Path, user: str, service: str, seconds: float = PATIENCE_SECONDS, rhost: str = ""
    ) -> "Login | None":
        """Begin one, or None where it is not asked for anything, or no answer comes."""
        link = Link(path)
        link.send(encode_request(Begin(user=user, service=service, rhost=rhost)))
        frames = link.receive(seconds)
        reply = decode_reply(frames) if frames else None
        if isinstance(reply, Ask):
            return cls(link, reply.dialogue)
        link.close()
        return None

    def offer(self, typed: str) -> None:
        """Type something, and do not wait."""
        self.link.send(encode_request(Answer(dialogue=self.ticket, text=Secret(typed.encode()))))

    def verdict(self, seconds: float = PATIENCE_SECONDS) -> str:
        """What became of it."""
        frames = self.link.receive(seconds)
        self.link.close()
        reply = decode_reply(frames) if frames else None
        return reply.verdict if isinstance(reply, Done) else NO_ANSWER


def log_in(path: Path, user: str, service: str, typed: str, seconds: float = PATIENCE_SECONDS) -> str:
    """The verdict of a whole login, or :data:`NO_ANSWER`."""
    login = Login.begin(path, user, service, seconds)
    if login is None:
        return NO_ANSWER
    login.offer(typed)
    return login.verdict(seconds)


def manage(path: Path, verb: str, /, seconds: float = PATIENCE_SECONDS, **body: str) -> tuple[str, dict[str, Any]]:
    """``ok`` or ``error`` with the reply's object; or :data:`NO_ANSWER`. The caller is root, who proves nothing."""
    with Link(path) as link:
        link.send(encode_management(verb, body))
        frames = link.receive(seconds)
    return decode_management(frames) if frames else (NO_ANSWER, {})
