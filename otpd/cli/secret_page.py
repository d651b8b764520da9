"""What is shown once, laid out for a screen of any size. Pure."""

import textwrap
from dataclasses import dataclass
from itertools import zip_longest
from typing import Final

from otpd import qr
from otpd.texts import _

_GAP: Final = "   "
_LEAST_BESIDE: Final = 30
"""So many columns beside the QR code are enough for a prompt."""


@dataclass(frozen=True)
class Page:
    """Secrets, a line each, with what is said before and after them, and a QR code of the same."""

    secrets: tuple[str, ...]
    before: str = ""
    after: tuple[str, ...] = ()
    picture: str = ""

    def text(self) -> str:
        """All of it, for a file or a pipe."""
        parts = [self.picture, "\n".join(filter(None, (self.before, *self.secrets))), "\n".join(self.after)]
        return "\n\n".join(filter(None, parts)) + "\n"

    def drawing(self, prompt: str, columns: int, lines: int) -> str:
        """All of it and ``prompt``, for an empty screen with the cursor in its first place; the cursor ends behind it.

        The screen never scrolls, not even with the newline that follows an answer: what scrolled off, it would keep.
        """
        picture = self.picture.splitlines()
        width = len(picture[0]) if picture else 0
        below = [*picture, "", *self._rows(columns)]
        if picture and width <= columns and _height([*below, prompt], columns) < lines:
            return _drawn([*map(qr.painted, picture), "", *self._rows(columns)], prompt, (len(below) + 1, 1))
        room = columns - width - len(_GAP)
        text = [row for one in self._rows(room) for row in textwrap.wrap(one, room) or [""]] if room > 0 else []
        if picture and room >= max(_LEAST_BESIDE, len(prompt)) and max(len(picture), len(text) + 2) <= lines:
            painted = [qr.painted(line) + _GAP for line in picture]
            painted += [" " * (width + len(_GAP))] * (len(text) - len(picture))
            rows = [left + right for left, right in zip_longest(painted, text, fillvalue="")]
            return _drawn(rows, prompt, (len(text) + 1, width + len(_GAP) + 1))
        return self._alone(prompt, columns, lines, told=bool(picture))

    def _alone(self, prompt: str, columns: int, lines: int, *, told: bool) -> str:
        """Without the QR code; a window that is too small even for that shows what it can."""
        note = textwrap.wrap(_("This window is too small for the QR code."), columns) if told else []
        rows = [*note, *self._rows(columns)]
        if _height([*rows, prompt], columns) >= lines:
            rows = [*textwrap.wrap(_("Make this window larger, to see all of it."), columns), *self.secrets]
        while rows and _height([*rows, prompt], columns) >= lines:
            rows.pop()
        return _drawn(rows, prompt, (_height(rows, columns) + 1, 1))

    def _rows(self, columns: int) -> list[str]:
        """The sentences wrapped; the secrets not, so that the terminal copies each as one line."""
        before = textwrap.wrap(self.before, columns)
        after = [row for sentence in self.after for row in textwrap.wrap(sentence, columns) or [""]]
        return [*before, *self.secrets, "", *after, *([""] if after else [])]


def _height(rows: list[str], columns: int) -> int:
    """How many lines of the screen they take, with those that the terminal wraps."""
    return sum(max(1, -(-len(row) // columns)) for row in rows)


def _drawn(rows: list[str], prompt: str, place: tuple[int, int]) -> str:
    line, column = place
    return "\r\n".join(rows) + f"\x1b[{line};{column}H{prompt}"
