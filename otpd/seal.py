"""Sealing: what verifies a user is of no use to who reads, copies or restores the directory.

AES-256-GCM with a random 96-bit nonce. The associated data names purpose, user and entry, so a sealed value that was
moved to another place does not open. Each purpose has its own key, derived by HKDF-SHA-256 (RFC 5869) from a key of the
ring.
"""

import base64
import binascii
import secrets
from collections.abc import Mapping
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.hmac import HMAC
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from otpd import ring_text
from otpd.errors import SealError
from otpd.ring_text import KEY_BYTES, KEY_ID
from otpd.secret import Secret

_NONCE_BYTES: Final = 12
_FINGERPRINT_BYTES: Final = 8


class KeyRing:
    """The site's keys, by id; ``current`` is the one that seals. Every key opens what it sealed."""

    def __init__(self, keys: Mapping[str, Secret], current: str) -> None:
        self._keys = dict(keys)
        self.current = current
        self._derived: dict[tuple[str, str], bytes] = {}

    @classmethod
    def from_text(cls, text: str, where: str) -> "KeyRing":
        """The ring of a key file; raises :class:`ConfigError` as :func:`otpd.ring_text.parse` does."""
        keys = ring_text.parse(text, where)
        return cls(keys, next(iter(keys)))

    @property
    def ids(self) -> tuple[str, ...]:
        """The ids of all keys, in the order of the file."""
        return tuple(self._keys)

    def fingerprint(self, key_id: str) -> str:
        """16 hex digits that tell a key from another of the same id, and nothing about it: a key derived from it."""
        return self._key(key_id, "fingerprint")[:_FINGERPRINT_BYTES].hex()

    def seal(self, purpose: str, place: tuple[str, ...], plain: Secret) -> bytes:
        """``plain`` sealed for ``purpose`` at ``place`` (user, entry ...) as ASCII: ``keyid.base64``."""
        nonce = secrets.token_bytes(_NONCE_BYTES)
        box = AESGCM(self._key(self.current, purpose)).encrypt(nonce, plain.reveal(), _bound(purpose, place))
        return self.current.encode() + b"." + base64.b64encode(nonce + box)

    def open(self, purpose: str, place: tuple[str, ...], sealed: bytes) -> Secret:
        """What :meth:`seal` was given; raises :class:`SealError` where key, purpose, place or value differ."""
        key_id, value = self._split(sealed)
        nonce, box = value[:_NONCE_BYTES], value[_NONCE_BYTES:]
        try:
            return Secret(AESGCM(self._key(key_id, purpose)).decrypt(nonce, box, _bound(purpose, place)))
        except (InvalidTag, ValueError):
            raise SealError(f"a sealed {purpose} of {'/'.join(place)} does not open with key {key_id}") from None

    def tag(self, purpose: str, place: tuple[str, ...]) -> bytes:
        """32 bytes that stand for ``place``, always the same under one key, and tell who lacks the key nothing."""
        hmac = HMAC(self._key(self.current, f"{purpose} tag"), SHA256())
        hmac.update(_bound(purpose, place))
        return hmac.finalize()

    def _split(self, value: bytes) -> tuple[str, bytes]:
        raw_id, dot, encoded = value.partition(b".")
        key_id = raw_id.decode("ascii", "replace")
        if not dot or not KEY_ID.fullmatch(key_id):
            raise SealError("a sealed value that is not of the form keyid.base64")
        if key_id not in self._keys:
            raise SealError(f"a sealed value needs the key {key_id}, which is not in the key ring")
        try:
            return key_id, base64.b64decode(encoded, validate=True)
        except binascii.Error:
            raise SealError("a sealed value that is not of the form keyid.base64") from None

    def _key(self, key_id: str, purpose: str) -> bytes:
        if (key_id, purpose) not in self._derived:
            kdf = HKDF(algorithm=SHA256(), length=KEY_BYTES, salt=None, info=b"otpd/1 " + purpose.encode())
            self._derived[key_id, purpose] = kdf.derive(self._keys[key_id].reveal())
        return self._derived[key_id, purpose]

    def __repr__(self) -> str:
        return f"KeyRing({', '.join(self._keys)})"


def _bound(purpose: str, place: tuple[str, ...]) -> bytes:
    # Lengths before values: ("a", "bc") and ("ab", "c") must not be the same place.
    parts = [purpose.encode(), *(part.encode() for part in place)]
    return b"".join(len(part).to_bytes(4, "big") + part for part in parts)
