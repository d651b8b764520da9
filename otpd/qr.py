"""QR codes as text. Pure.

Two rows of modules make one row of half blocks; in ASCII, a row is a line, and a module two characters. Light modules
are drawn and dark ones left out, which is right on a dark terminal; with ``colours`` both are painted, which is right
on any.
"""

from typing import Final

import segno

_BORDER: Final = 2
_NARROW_BORDER: Final = 1  # or 80 columns would not hold it
_GLYPHS: Final = {(True, True): "\u2588", (True, False): "\u2580", (False, True): "\u2584", (False, False): " "}
_BLACK_ON_WHITE: Final = "\x1b[38;5;231;48;5;16m"
_RESET: Final = "\x1b[0m"


def to_text(content: str, *, colours: bool = False) -> str:
    """``content`` as a QR code (error correction L), lines joined by newlines, each as wide as the others."""
    rows = _light_modules(content)
    if len(rows) % 2:
        rows.append([True] * len(rows[0]))
    lines = [
        "".join(_GLYPHS[pair] for pair in zip(upper, lower, strict=True))
        for upper, lower in zip(rows[::2], rows[1::2], strict=True)
    ]
    return "\n".join(painted(line) if colours else line for line in lines)


def painted(line: str) -> str:
    """A line of :func:`to_text` in colours."""
    return _BLACK_ON_WHITE + line + _RESET


def to_ascii(content: str) -> str:
    """``content`` as a QR code for a terminal that draws no blocks: a light module is ``##``, and a row is a line."""
    return "\n".join(
        "".join("##" if light else "  " for light in row) for row in _light_modules(content, _NARROW_BORDER)
    )


def _light_modules(content: str, border: int = _BORDER) -> list[list[bool]]:
    code = segno.make(content, error="l", micro=False, boost_error=False)
    return [[not dark for dark in row] for row in code.matrix_iter(border=border)]
