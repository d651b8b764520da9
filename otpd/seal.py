"""Sealing: what verifies a user is of no use to who reads, copies or restores the directory.

AES-256-GCM with a random 96-bit nonce. The associated data names purpose, user and entry, so a sealed value that was
moved to another place does not open. Each purpose has its own key, derived by HKDF-SHA-256 (RFC 5869) from a key of the
ring.
"""

import base64
import binascii
import re
import secrets
from collections.abc import Mapping
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from otpd.errors import ConfigError, SealError
from otpd.secret import Secret

KEY_BYTES: Final = 32
_NONCE_BYTES: Final = 12
_KEY_ID: Final = re.compile(r"[a-z0-9][a-z0-9-]{0,31}")


class KeyRing:
    """The site's keys, by id; ``current`` is the one that seals. Every key opens what it sealed."""

    def __init__(self, keys: Mapping[str, Secret], current: str) -> None:
        self._keys = dict(keys)
        self.current = current
        self._derived: dict[tuple[str, str], bytes] = {}

    @classmethod
    def from_text(cls, text: str, where: str) -> "KeyRing":
        """Read a key file: a line a key, ``id base64``, the current key first; ``#`` starts a comment.

        ``where`` names the file in the :class:`ConfigError` that a fault raises; the message never quotes a line.
        """
        keys: dict[str, Secret] = {}
        for number, line in enumerate(text.splitlines(), 1):
            words = line.partition("#")[0].split()
            if not words:
                continue
            try:
                key_id, key = words[0], base64.b64decode(words[1], validate=True)
                sound = len(words) == 2 and len(key) == KEY_BYTES and _KEY_ID.fullmatch(key_id)  # noqa: PLR2004
            except (IndexError, binascii.Error):
                sound = None
            if not sound or key_id in keys:
                raise ConfigError([f"{where}: line {number}: expected a new key id and {KEY_BYTES} bytes in base64"])
            keys[key_id] = Secret(key)
        if not keys:
            raise ConfigError([f"{where}: holds no key; make one with: otpctl keys init"])
        return cls(keys, next(iter(keys)))

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

    def _split(self, value: bytes) -> tuple[str, bytes]:
        raw_id, dot, encoded = value.partition(b".")
        key_id = raw_id.decode("ascii", "replace")
        if not dot or not _KEY_ID.fullmatch(key_id):
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


def new_key_line(key_id: str) -> Secret:
    """A line of a key file with a fresh key."""
    return Secret(f"{key_id} {base64.b64encode(secrets.token_bytes(KEY_BYTES)).decode()}\n".encode())


def _bound(purpose: str, place: tuple[str, ...]) -> bytes:
    # Lengths before values: ("a", "bc") and ("ab", "c") must not be the same place.
    parts = [purpose.encode(), *(part.encode() for part in place)]
    return b"".join(len(part).to_bytes(4, "big") + part for part in parts)
