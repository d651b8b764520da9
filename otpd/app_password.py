"""The format of app passwords. Pure.

``otpd-`` and six groups of six symbols: a lookup id (8 symbols, 40 bits), the secret (26 symbols, 130 bits) and a check
(2 symbols). Symbols are Crockford's base 32: no case, and O, I and L are read as the digits they look like. The check
is the rest as one number modulo 1021, a prime, so any single wrong symbol and any two that changed places are told as a
typo before anything is looked up.
"""

import hashlib
import re
import secrets
from dataclasses import dataclass, field
from typing import Final

from otpd.secret import Secret
from otpd.values import EntryId

PREFIX: Final = "otpd"
ID_SYMBOLS: Final = 8
SECRET_SYMBOLS: Final = 26
_CHECK_SYMBOLS: Final = 2
_CHECK_MODULUS: Final = 1021
_GROUP: Final = 6
_ALPHABET: Final = "0123456789abcdefghjkmnpqrstvwxyz"
_LOOKALIKES: Final = str.maketrans("oil", "011")
_SEPARATORS: Final = re.compile(r"[\s\-\u2010\u2011]+")


class Typo(Exception):  # noqa: N818 - it is what a person made, not what broke
    """It is meant as an app password, and cannot be one."""


@dataclass(frozen=True)
class AppPassword:
    """An app password taken apart; ``secret`` is the 26 canonical symbols."""

    id: EntryId
    secret: Secret = field(repr=False)


def generate() -> AppPassword:
    """A new one, from the kernel's random numbers."""
    symbols = "".join(secrets.choice(_ALPHABET) for _ in range(ID_SYMBOLS + SECRET_SYMBOLS))
    return AppPassword(EntryId(symbols[:ID_SYMBOLS]), Secret(symbols[ID_SYMBOLS:].encode()))


def to_text(password: AppPassword) -> Secret:
    """The app password as it is shown, once."""
    body = password.id + password.secret.reveal().decode()
    body += _check(body)
    groups = [body[at : at + _GROUP] for at in range(0, len(body), _GROUP)]
    return Secret("-".join([PREFIX, *groups]).encode())


def digest(password: AppPassword) -> Secret:
    """What is kept, sealed, to know it again: SHA-256 of the secret, whose 130 bits need neither salt nor slowness."""
    return Secret(hashlib.sha256(password.secret.reveal()).digest())


def looks_like_one(typed: bytes) -> bool:
    """Whether it starts as an app password does, whatever the case and the separators."""
    return _bare(typed).startswith(PREFIX)


def parse(typed: bytes) -> AppPassword:
    """Take apart what was typed; raises :class:`Typo` where :func:`looks_like_one` and it is none."""
    body = _bare(typed).removeprefix(PREFIX).translate(_LOOKALIKES)
    if len(body) != ID_SYMBOLS + SECRET_SYMBOLS + _CHECK_SYMBOLS or not set(body) <= set(_ALPHABET):
        raise Typo
    payload, check = body[:-_CHECK_SYMBOLS], body[-_CHECK_SYMBOLS:]
    if check != _check(payload):
        raise Typo
    return AppPassword(EntryId(payload[:ID_SYMBOLS]), Secret(payload[ID_SYMBOLS:].encode()))


def _bare(typed: bytes) -> str:
    return _SEPARATORS.sub("", typed.decode("utf-8", "replace")).lower()


def _check(payload: str) -> str:
    number = 0
    for symbol in payload:
        number = number * len(_ALPHABET) + _ALPHABET.index(symbol)
    high, low = divmod(number % _CHECK_MODULUS, len(_ALPHABET))
    return _ALPHABET[high] + _ALPHABET[low]
