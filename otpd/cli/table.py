"""Rows for people on a terminal, and for grep and cut in a pipe."""

import sys
from collections.abc import Sequence
from typing import Final

import click
from rich.cells import cell_len
from rich.console import Console

from otpd.printable import printable

_GAP: Final = "  "


def show_table(titles: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """A table; where a terminal is too narrow for it, each row as lines of its own; in a pipe, tabs between columns."""
    cells = [[printable(str(cell)) for cell in row] for row in rows]
    if not sys.stdout.isatty():
        click.echo("\n".join("\t".join(row) for row in [titles, *cells]))
        return
    console = Console(highlight=False, markup=False)
    widths = [max(map(cell_len, column)) for column in zip(titles, *cells, strict=True)]
    if sum(widths) + len(_GAP) * (len(widths) - 1) <= console.width:
        console.print(_line(titles, widths), style="bold")
        _echo("\n", [_line(row, widths) for row in cells])
    else:
        left = max(map(cell_len, titles))
        _echo("\n\n", ["\n".join(_line(pair, [left, 0]) for pair in zip(titles, row, strict=True)) for row in cells])


def _line(row: Sequence[str], widths: Sequence[int]) -> str:
    return _GAP.join(cell + " " * (width - cell_len(cell)) for cell, width in zip(row, widths, strict=True)).rstrip()


def _echo(separator: str, texts: list[str]) -> None:
    if texts:
        click.echo(separator.join(texts))
