"""Rows for people on a terminal, and for grep and cut in a pipe."""

import sys
from collections.abc import Sequence
from typing import Final

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from otpd.printable import printable

_ENDLESS: Final = 10_000


def show_table(titles: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """A table; where a terminal is too narrow for it, each row as lines of its own; in a pipe, tabs between columns."""
    cells = [[printable(str(cell)) for cell in row] for row in rows]
    if not sys.stdout.isatty():
        click.echo("\n".join("\t".join(row) for row in [titles, *cells]))
        return
    console = Console(highlight=False)
    table = Table(*titles, box=None, pad_edge=False)
    for row in cells:
        table.add_row(*map(Text, row))  # Text, since a label may look like rich's markup
    if console.measure(table, options=console.options.update(max_width=_ENDLESS)).maximum <= console.width:
        console.print(table)
        return
    width = max(map(len, titles))
    click.echo("\n\n".join("\n".join(map(f"{{:{width}}}  {{}}".format, titles, row)) for row in cells))
