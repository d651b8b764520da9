"""The text of a key ring: a line a key, ``id base64``, the current key first; ``#`` starts a comment.

Everything here is pure: text in, text out. A change leaves comments, and the order of all other lines, as they are.
"""

import base64
import binascii
import re
import secrets
from collections.abc import Callable, Iterable
from typing import Final

from otpd.errors import ConfigError
from otpd.secret import Secret
from otpd.texts import _

Change = Callable[[str], str]
"""What makes the text of one ring of that of another."""

KEY_BYTES: Final = 32
KEY_ID: Final = re.compile(r"[a-z0-9][a-z0-9-]{0,31}")
_NUMBERED: Final = re.compile(r"k([0-9]{1,31})")


def parse(text: str, where: str) -> dict[str, Secret]:
    """The keys by id, the current one first.

    ``where`` names the file in the :class:`ConfigError` that a fault raises; the message never quotes a line.
    """
    keys: dict[str, Secret] = {}
    for number, line in enumerate(text.splitlines(), 1):
        words = _words(line)
        if not words:
            continue
        key = _key(words)
        if key is None or words[0] in keys:
            raise ConfigError(
                [
                    _(
                        "{where}: line {number}: expected a new key id and {size} bytes in base64",
                        where=where,
                        number=number,
                        size=KEY_BYTES,
                    )
                ]
            )
        keys[words[0]] = key
    if not keys:
        raise ConfigError([_("{where}: holds no key; make one with: otpctl keys init", where=where)])
    return keys


def with_new_key(text: str) -> str:
    """``text`` with a fresh key at its end, ``k`` and the next number: it opens, and does not seal yet.

    From no text at all, this makes a ring of one key.
    """
    number = 1 + max(map(_number, _ids(text)), default=0)
    return "".join([*_lines(text), new_key_line(f"k{number}")])


def new_key_line(key_id: str) -> str:
    """A line with a fresh key."""
    return f"{key_id} {base64.b64encode(secrets.token_bytes(KEY_BYTES)).decode()}\n"


def with_current(text: str, key_id: str) -> str:
    """``text`` with the line of ``key_id`` before those of all other keys."""
    lines = _lines(text)
    chosen = [line for line in lines if _id(line) == key_id]
    others = [line for line in lines if _id(line) != key_id]
    first = next((place for place, line in enumerate(others) if _id(line)), len(others))
    return "".join(others[:first] + chosen + others[first:])


def without_key(text: str, key_id: str) -> str:
    """``text`` without the line of ``key_id``; raises :class:`ConfigError` for the current key, which seals."""
    if _ids(text)[:1] == [key_id]:
        raise ConfigError([f"{key_id} is the current key"])
    return "".join(line for line in _lines(text) if _id(line) != key_id)


def newest(key_ids: Iterable[str]) -> str:
    """The id that :func:`with_new_key` gave last, by its number; the first of ids that have none."""
    return max(key_ids, key=_number)


def _lines(text: str) -> list[str]:
    """The lines with their ends; the last one has an end, too, so that another can follow."""
    lines = text.splitlines(keepends=True)
    if lines and lines[-1].splitlines() == [lines[-1]]:
        lines[-1] += "\n"
    return lines


def _ids(text: str) -> list[str]:
    return [key_id for key_id in map(_id, text.splitlines()) if key_id]


def _id(line: str) -> str:
    """The key that ``line`` holds, or nothing."""
    return next(iter(_words(line)), "")


def _words(line: str) -> list[str]:
    return line.partition("#")[0].split()


def _key(words: list[str]) -> Secret | None:
    """The key of a line that is an id and a key, and nothing else."""
    if len(words) != 2 or not KEY_ID.fullmatch(words[0]):  # noqa: PLR2004 - id, key
        return None
    try:
        key = base64.b64decode(words[1], validate=True)
    except (binascii.Error, ValueError):
        return None
    return Secret(key) if len(key) == KEY_BYTES else None


def _number(key_id: str) -> int:
    """N of ``kN``, and 0 for an id of another form."""
    found = _NUMBERED.fullmatch(key_id)
    return int(found[1]) if found else 0
