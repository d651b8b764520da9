"""QR codes as text. Pure.

Two rows of modules make one row of half blocks. Light modules are drawn and dark ones left out, which is right on a
dark terminal; with ``colours`` both are painted, which is right on any.
"""

from typing import Final

import segno

_BORDER: Final = 2
_GLYPHS: Final = {(True, True): "\u2588", (True, False): "\u2580", (False, True): "\u2584", (False, False): " "}
_BLACK_ON_WHITE: Final = "\x1b[38;5;231;48;5;16m"
_RESET: Final = "\x1b[0m"


def to_text(content: str, *, colours: bool = False) -> str:
    """``content`` as a QR code (error correction L), lines joined by newlines, each as wide as the others."""
    rows = [
        [not dark for dark in row]
        for row in segno.make(content, error="l", micro=False, boost_error=False).matrix_iter(border=_BORDER)
    ]
    if len(rows) % 2:
        rows.append([True] * len(rows[0]))
    lines = [
        "".join(_GLYPHS[pair] for pair in zip(upper, lower, strict=True))
        for upper, lower in zip(rows[::2], rows[1::2], strict=True)
    ]
    return "\n".join(_BLACK_ON_WHITE + line + _RESET if colours else line for line in lines)
