"""otpctl's end of control.sock."""

import socket
from pathlib import Path
from typing import Any, Final

import zmq

from otpd.adapters.peer import peer_uid
from otpd.errors import OtpdError, ProtocolError
from otpd.protocol import MAX_REPLY_BYTES, decode_management, encode_management
from otpd.texts import _

_MILLISECONDS: Final = 60_000


class Unreachable(OtpdError):  # noqa: N818 - it reads as what it says
    """otpd does not answer; the text says what to look at."""


class ControlClient:
    """Calls management verbs. ``owner_uid`` is otpd's; root may hold the socket for it."""

    def __init__(self, path: Path, owner_uid: int | None) -> None:
        self._path = path
        self._owners = {0, owner_uid}
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()

    def call(self, verb: str, body: dict[str, Any]) -> tuple[bool, dict[str, Any]]:
        """Whether it was done, and the reply's object; raises :class:`Unreachable`."""
        self._check_owner()
        with self._context.socket(zmq.DEALER) as link:
            link.setsockopt(zmq.LINGER, 0)
            link.setsockopt(zmq.MAXMSGSIZE, MAX_REPLY_BYTES)
            link.setsockopt(zmq.RCVTIMEO, _MILLISECONDS)
            link.setsockopt(zmq.SNDTIMEO, _MILLISECONDS)
            link.connect(f"ipc://{self._path}")
            try:
                link.send_multipart(encode_management(verb, body))
                status, reply = decode_management(link.recv_multipart(), MAX_REPLY_BYTES)
            except zmq.Again:
                raise Unreachable(
                    _("otpd did not answer on {path} in time; see: journalctl -u otpd", path=self._path)
                ) from None
            except ProtocolError as error:
                raise Unreachable(_("otpd's answer was not understood: {error}", error=error)) from None
        return status == "ok", reply

    def _check_owner(self) -> None:
        # What is typed next is a code or a password, so it must not go to a socket that somebody else put there.
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
            try:
                probe.settimeout(_MILLISECONDS / 1000)
                probe.connect(str(self._path))
            except OSError as error:
                raise Unreachable(
                    _(
                        "otpd does not listen on {path} ({strerror}); is it running?",
                        path=self._path,
                        strerror=error.strerror,
                    )
                ) from None
            if peer_uid(probe) not in self._owners:
                raise Unreachable(_("{path} belongs to neither root nor otpd; it is not used", path=self._path))
