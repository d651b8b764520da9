"""The format of what an administrator hands out for once: enrolment tickets and bypass codes. Pure.

Four groups of four symbols (:mod:`otpd.symbols`): 14 random ones, 70 bits, and the check. That cannot be guessed over a
network, so guesses need not be counted; and it can be read out over the telephone.
"""

import hashlib
from collections.abc import Iterable
from typing import Final

from otpd import symbols
from otpd.secret import Secret
from otpd.symbols import Typo

SYMBOLS: Final = 14
ID_SYMBOLS: Final = 8
_GROUP: Final = 4
_CODE_DIGITS: Final = 6

__all__ = ["Typo", "digest", "generate", "looks_like_one", "new_id", "parse"]


def generate() -> Secret:
    """A new one, as it is shown, once."""
    code = ""
    while not code or code[-_CODE_DIGITS:].isdigit():  # it would look like a password and a code in one answer
        code = symbols.with_check(symbols.random(SYMBOLS))
    return Secret(symbols.in_groups(code, _GROUP).encode())


def new_id() -> str:
    """A name for it that tells nothing about it."""
    return symbols.random(ID_SYMBOLS)


def looks_like_one(typed: bytes) -> bool:
    """Whether it has the length of one, whatever the case and the separators."""
    bare = symbols.bare(typed)
    return len(bare) == SYMBOLS + symbols.CHECK_SYMBOLS and bare.isascii() and bare.isalnum()


def parse(typed: bytes) -> Secret:
    """Its canonical symbols; raises :class:`Typo`."""
    return Secret(symbols.without_check(symbols.bare(typed), SYMBOLS).encode())


def digest(canonical: Secret, purpose: str, expires: float, hosts: Iterable[str]) -> Secret:
    """What is kept, sealed, to know it again: SHA-256 of it and of all that limits it.

    So who may write to the directory cannot make it last longer, be good on another host or for another purpose.
    ``expires`` is in whole seconds since the Unix epoch.
    """
    parts = [
        canonical.reveal(),
        purpose.encode(),
        str(int(expires)).encode(),
        *(host.encode() for host in sorted(hosts)),
    ]
    return Secret(hashlib.sha256(b"".join(len(part).to_bytes(4, "big") + part for part in parts)).digest())
