"""Asking otpd-password which account password is right. ``otpd/password_helper.py`` is the other end."""

import socket
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from otpd.adapters.peer import peer_uid
from otpd.clock import Deadline
from otpd.errors import HelperError
from otpd.secret import Secret
from otpd.values import UserName


@dataclass(frozen=True)
class PasswordClient:
    """:class:`otpd.factor.PasswordCheck` over the helper's socket."""

    path: Path

    def __call__(self, user: UserName, passwords: Sequence[Secret], deadline: Deadline) -> Secret | None:
        """The one that is the account's; raises :class:`HelperError`."""
        # No account's password holds a NUL, which ends it in PAM, and here.
        asked = {f"yes {number}".encode(): one for number, one in enumerate(passwords, 1) if b"\0" not in one.reveal()}
        if len(asked) < len(passwords) or not asked:
            return None
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as link:
            try:
                link.settimeout(max(0.001, deadline.remaining_seconds()))
                link.connect(str(self.path))
                if peer_uid(link) != 0:
                    raise HelperError(f"{self.path}: root is not at the other end")
                link.send(b"\0".join([user.encode(), *(one.reveal() for one in asked.values())]))
                answer = link.recv(16)
            except OSError as error:
                raise HelperError(f"{self.path}: {type(error).__name__}: {error.strerror or 'no answer'}") from None
        if answer not in (b"no", *asked):
            raise HelperError(f"{self.path}: otpd-password could not check the password; its log says why")
        return asked.get(answer)
