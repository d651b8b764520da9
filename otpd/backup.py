"""The file of a backup: a line that says what it is, then sealed chunks of lines, one chunk a line.

Each chunk is sealed with a key of the ring for a purpose of its own, bound to the first line, to its number, and to
whether another follows. So what was cut off, changed, put in another order, or taken from another backup does not open.
Neither side holds more than a chunk or two.
"""

import hashlib
import json
import secrets
from collections.abc import Iterator
from datetime import datetime
from typing import Any, BinaryIO, Final, Literal

from otpd.errors import BackupError, SealError
from otpd.seal import KeyRing
from otpd.secret import Secret
from otpd.texts import _

PURPOSE: Final = "backup"
VERSION: Final = 1
CHUNK_BYTES: Final = 256 * 1024
_ID_BYTES: Final = 16
_MAX_HEADER_BYTES: Final = 4096
_MAX_LINE_BYTES: Final = 4 * CHUNK_BYTES
_MAGIC: Final = "otpd-backup"

Follows = Literal["more", "last"]


class Writer:
    """Writes a backup to ``stream``; :meth:`close` writes the last chunk, without which no reader takes it."""

    def __init__(self, stream: BinaryIO, keys: KeyRing, now: datetime) -> None:
        header = {
            _MAGIC: VERSION,
            "id": secrets.token_hex(_ID_BYTES),
            "created": now.strftime("%Y-%m-%dT%H:%M:%SZ"),
            "key": keys.current,
            "fingerprint": keys.fingerprint(keys.current),
        }
        line = json.dumps(header).encode("ascii")
        self.id: str = str(header["id"])
        self._stream = stream
        self._keys = keys
        self._bound = _bound(line)
        self._number = 0
        self._lines: list[bytes] = []
        self._size = 0
        self._write(line)

    def add(self, line: bytes) -> None:
        """Add a line, which has no line end in it; raises OSError."""
        if self._size + len(line) > CHUNK_BYTES:
            self._seal("more")
        self._lines.append(line)
        self._size += len(line) + 1

    def close(self) -> None:
        """Write what is left, as the last chunk; the stream stays open."""
        self._seal("last")

    def _seal(self, follows: Follows) -> None:
        place = (self._bound, str(self._number), follows)
        self._write(self._keys.seal(PURPOSE, place, Secret(b"\n".join(self._lines))))
        self._number += 1
        self._lines, self._size = [], 0

    def _write(self, line: bytes) -> None:
        self._stream.write(line + b"\n")


class Reader:
    """Reads a backup from ``stream``, from its beginning, as often as it is asked."""

    def __init__(self, stream: BinaryIO, keys: KeyRing) -> None:
        self._stream = stream
        self._keys = keys
        self._stream.seek(0)
        line = self._line(_MAX_HEADER_BYTES) or b""
        self.header = _header(line)
        self._bound = _bound(line)
        self._start = stream.tell()
        _check_key(self.header, keys)

    def lines(self) -> Iterator[bytes]:
        """All lines, in the order in which they were written; raises :class:`BackupError` where one chunk is not well.

        What comes before such a chunk is given first: read to the end before you believe anything.
        """
        self._stream.seek(self._start)
        number, line = 0, self._line(_MAX_LINE_BYTES)
        while line is not None:
            following = self._line(_MAX_LINE_BYTES)
            plain = self._open(number, "last" if following is None else "more", line)
            yield from filter(None, plain.split(b"\n"))
            number, line = number + 1, following
        if not number:
            raise BackupError(_("it ends behind its first line: the rest is missing"))

    def _open(self, number: int, follows: Follows, line: bytes) -> bytes:
        try:
            return self._keys.open(PURPOSE, (self._bound, str(number), follows), line).reveal()
        except SealError:
            pass
        if follows == "last" and self._opens(number, "more", line):
            raise BackupError(
                _("it is cut off: chunk {number} is not the last one, and nothing follows", number=number)
            )
        raise BackupError(_("chunk {number} does not open: it was changed, or put in another place", number=number))

    def _opens(self, number: int, follows: Follows, line: bytes) -> bool:
        try:
            return bool(self._keys.open(PURPOSE, (self._bound, str(number), follows), line))
        except SealError:
            return False

    def _line(self, limit: int) -> bytes | None:
        """The next line without its end; None behind the last."""
        line = self._stream.readline(limit)
        if line and not line.endswith(b"\n"):
            raise BackupError(_("it is cut off in the middle of a line, or it is no backup of otpd"))
        return line[:-1] if line else None


def _header(line: bytes) -> dict[str, Any]:
    try:
        header = json.loads(line)
    except ValueError:
        header = None
    if not isinstance(header, dict) or _MAGIC not in header:
        raise BackupError(_("it is no backup of otpd"))
    if header[_MAGIC] != VERSION:
        raise BackupError(_("it is of another version of otpd's backups; use the otpctl that wrote it, or a newer one"))
    return header


def _check_key(header: dict[str, Any], keys: KeyRing) -> None:
    """Say which key is missing, rather than that nothing opens. What the line claims is not yet believed."""
    key, fingerprint = str(header.get("key"))[:32], str(header.get("fingerprint"))[:16]
    if key not in keys.ids or keys.fingerprint(key) != fingerprint:
        raise BackupError(
            _(
                "it is sealed with the key {key!r} ({fingerprint!r}), which is not in the key ring",
                key=key,
                fingerprint=fingerprint,
            )
        )


def _bound(line: bytes) -> str:
    return hashlib.sha256(line).hexdigest()
