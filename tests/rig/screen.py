"""A terminal's screen: what it shows of what a program wrote, and what a phone's camera sees of it."""

import re
import subprocess
from pathlib import Path
from typing import Final

from PIL import Image, ImageDraw, ImageFilter, ImageFont

COLUMNS: Final = 80
_BLOCKS: Final = {"\u2580": (True, False), "\u2584": (False, True), "\u2588": (True, True)}
_WIDTH, _HEIGHT = 10, 20  # pixels of a character
_LIGHT, _DARK = 230, 20
_OUT_OF_FOCUS: Final = 3  # pixels; without it, a reader sees the strokes of "##" and not a square


def rendered(output: str, columns: int = COLUMNS) -> list[str]:
    """The rows of a screen after ``output``, which wraps where it is wider."""
    rows = []
    for line in output.split("\n"):
        text = line.rstrip("\r").rsplit("\r", 1)[-1]  # a carriage return wipes nothing until something is written
        rows += [text[at : at + columns] for at in range(0, len(text), columns)] or [""]
    return rows


def picture(screen: str) -> list[str]:
    """The rows of a QR code, of half blocks or in ASCII, without colours."""
    bare = re.sub(r"\x1b\[[0-9;]*m", "", screen)
    return [row for row in rendered(bare) if row.strip() and (set(row) <= {" ", *_BLOCKS} or set(row) <= set(" #"))]


def sentences(screen: str) -> list[str]:
    """The lines of text, without QR code and recovery codes, and without the empty ones that unseen answers make."""
    lines = [line.strip() for line in screen.splitlines()]
    return [line for line in lines if line.strip(" ".join(_BLOCKS)) and not re.match(r"[0-9a-z]{4}-", line)]


def photograph(rows: list[str], path: Path, *, light: bool = False) -> None:
    """Draw the rows as a terminal does, light on dark or dark on ``light``, a little out of focus."""
    ink, paper = (_DARK, _LIGHT) if light else (_LIGHT, _DARK)
    size = (_WIDTH * max(map(len, rows)) + 2 * _HEIGHT, _HEIGHT * (len(rows) + 2))
    image = Image.new("L", size, paper)
    draw, font = ImageDraw.Draw(image), ImageFont.load_default(size=16)
    for row, text in enumerate(rows, 1):
        for column, glyph in enumerate(text, 2):
            x, y = column * _WIDTH, row * _HEIGHT
            for half, drawn in enumerate(_BLOCKS.get(glyph, ())):
                top = y + half * _HEIGHT // 2
                if drawn:
                    draw.rectangle((x, top, x + _WIDTH - 1, top + _HEIGHT // 2 - 1), fill=ink)
            if glyph not in _BLOCKS:
                draw.text((x, y), glyph, fill=ink, font=font)
    image.filter(ImageFilter.GaussianBlur(_OUT_OF_FOCUS)).save(path)


def scan(path: Path, *, light: bool = False) -> str:
    """What an independent reader makes of it. On ``light`` terminals all is inverted, so it is to look for that too."""
    command = ["zbarimg", "--quiet", "--raw", "-S*.enable=0", "-Sqrcode.enable=1"]
    command += ["-Stest-inverted"] if light else []
    return subprocess.run([*command, path], text=True, stdout=subprocess.PIPE, check=False).stdout.strip()
