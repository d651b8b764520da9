"""The format of app passwords. Pure.

``otpd-`` and six groups of six symbols (:mod:`otpd.symbols`): a lookup id (8 symbols, 40 bits), the secret (26 symbols,
130 bits) and the check.
"""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from otpd import symbols
from otpd.secret import Secret
from otpd.symbols import Typo
from otpd.values import EntryId

PREFIX: Final = "otpd"
ID_SYMBOLS: Final = 8
SECRET_SYMBOLS: Final = 26
_GROUP: Final = 6

__all__ = ["AppPassword", "Typo", "digest", "generate", "looks_like_one", "parse", "to_text"]


@dataclass(frozen=True)
class AppPassword:
    """An app password taken apart; ``secret`` is the 26 canonical symbols."""

    id: EntryId
    secret: Secret = field(repr=False)


def generate() -> AppPassword:
    """A new one."""
    return AppPassword(EntryId(symbols.random(ID_SYMBOLS)), Secret(symbols.random(SECRET_SYMBOLS).encode()))


def to_text(password: AppPassword) -> Secret:
    """The app password as it is shown, once."""
    body = symbols.with_check(password.id + password.secret.reveal().decode())
    return Secret(f"{PREFIX}-{symbols.in_groups(body, _GROUP)}".encode())


def digest(password: AppPassword, scope: Iterable[str]) -> Secret:
    """What is kept, sealed, to know it again: SHA-256 of the secret, whose 130 bits need neither salt nor slowness.

    ``scope`` is what the password opens. It is a part of the digest, so whoever may write to the directory cannot widen
    it: the password would not be known any more.
    """
    parts = [password.secret.reveal(), *sorted(word.encode() for word in scope)]
    return Secret(hashlib.sha256(b"".join(len(part).to_bytes(4, "big") + part for part in parts)).digest())


def looks_like_one(typed: bytes) -> bool:
    """Whether it starts as an app password does, whatever the case and the separators."""
    return symbols.bare(typed).startswith(PREFIX)


def parse(typed: bytes) -> AppPassword:
    """Take apart what was typed; raises :class:`Typo` where :func:`looks_like_one` and it is none."""
    body = symbols.without_check(symbols.bare(typed).removeprefix(PREFIX), ID_SYMBOLS + SECRET_SYMBOLS)
    return AppPassword(EntryId(body[:ID_SYMBOLS]), Secret(body[ID_SYMBOLS:].encode()))
