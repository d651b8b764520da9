"""Secrets that people read and type: Crockford's base 32, with a check. Pure.

No case, and O, I and L are read as the digits they look like. The check is the rest as one number modulo 1021, a prime,
in two symbols, so any single wrong symbol and any two that changed places are told as a typo before anything is looked
up.
"""

import re
import secrets
import unicodedata
from typing import Final

ALPHABET: Final = "0123456789abcdefghjkmnpqrstvwxyz"
CHECK_SYMBOLS: Final = 2
_MODULUS: Final = 1021
_LOOKALIKES: Final = str.maketrans("oil", "011")
_SEPARATORS: Final = re.compile(r"[\s\-\u2010-\u2015\u2212]+")  # what programs make of a hyphen, too


class Typo(Exception):  # noqa: N818 - it is what a person made, not what broke
    """It has the form, and its check is wrong."""


def random(count: int) -> str:
    """``count`` symbols, 5 bits each, from the kernel's random numbers."""
    return "".join(secrets.choice(ALPHABET) for _ in range(count))


def bare(typed: bytes) -> str:
    """What was typed, in lower case, half width and without separators; whatever else is in it stays."""
    text = unicodedata.normalize("NFKC", typed.decode("utf-8", "replace"))
    return _SEPARATORS.sub("", text).lower()


def with_check(symbols: str) -> str:
    """``symbols`` and their check."""
    number = 0
    for symbol in symbols:
        number = number * len(ALPHABET) + ALPHABET.index(symbol)
    high, low = divmod(number % _MODULUS, len(ALPHABET))
    return symbols + ALPHABET[high] + ALPHABET[low]


def without_check(text: str, count: int) -> str:
    """The ``count`` symbols that ``text``, their bare form with a check, stands for; raises :class:`Typo`."""
    canonical = text.translate(_LOOKALIKES)
    if len(canonical) != count + CHECK_SYMBOLS or not set(canonical) <= set(ALPHABET):
        raise Typo
    symbols = canonical[:-CHECK_SYMBOLS]
    if canonical != with_check(symbols):
        raise Typo
    return symbols


def in_groups(text: str, size: int, separator: str = "-") -> str:
    """``text`` in groups of ``size``, to be read and typed."""
    return separator.join(text[at : at + size] for at in range(0, len(text), size))
