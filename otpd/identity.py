"""Who is asking, and whom NSS knows. Interfaces; ``otpd/adapters/nss.py`` is the host's."""

from dataclasses import dataclass
from typing import Protocol

from otpd.values import UserName


@dataclass(frozen=True)
class Peer:
    """The process at the other end of a socket, by the kernel's word (SO_PEERCRED)."""

    uid: int

    def __str__(self) -> str:
        return f"uid:{self.uid}"

    @property
    def is_root(self) -> bool:
        """Whether it may act for everybody."""
        return self.uid == 0


class Accounts(Protocol):
    """The users of this host. Look-ups may block."""

    def canonical_name(self, name: str) -> UserName | None:
        """``name`` as NSS spells it, or None where NSS knows no such user."""
        ...

    def uid(self, name: UserName) -> int | None:
        """The uid of a user."""
        ...

    def name_of(self, uid: int) -> UserName | None:
        """The name of a uid."""
        ...
