"""The format of recovery codes, and what is said where they are shown. Pure.

Three groups of four symbols (:mod:`otpd.symbols`): 10 random ones, 50 bits, and the check. That is short enough to be
written down, and safe where guesses are counted.
"""

import hashlib
from typing import Final

from otpd import symbols
from otpd.secret import Secret
from otpd.texts import _

CODES: Final = 10
SYMBOLS: Final = 10
_GROUP: Final = 4
_CODE_DIGITS: Final = 6


def generate() -> list[Secret]:
    """A fresh set of :data:`CODES` codes, as they are shown, once."""
    made: set[str] = set()
    while len(made) < CODES:
        code = symbols.with_check(symbols.random(SYMBOLS))
        if not code[-_CODE_DIGITS:].isdigit():  # it would look like a password and a code in one answer
            made.add(code)
    return [Secret(symbols.in_groups(code, _GROUP).encode()) for code in sorted(made)]


def looks_like_one(typed: bytes) -> bool:
    """Whether it has the length of a recovery code, whatever the case and the separators."""
    bare = symbols.bare(typed)
    return len(bare) == SYMBOLS + symbols.CHECK_SYMBOLS and bare.isascii() and bare.isalnum()


def digest(typed: bytes) -> Secret:
    """What is kept, sealed, to know a code again: SHA-256 of its symbols; raises :class:`otpd.symbols.Typo`."""
    return Secret(hashlib.sha256(symbols.without_check(symbols.bare(typed), SYMBOLS).encode()).digest())


def what_they_are() -> str:
    """What stands above recovery codes."""
    return _("If the phone is gone, each of these recovery codes works once instead of a code:")


def how_to_keep_them() -> tuple[str, ...]:
    """What stands below them."""
    return (
        _("Write them down and keep them away from the phone. They are not shown again."),
        _("New ones: otpctl recovery-codes"),
    )
