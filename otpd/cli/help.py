"""``--help`` in the language of whoever asks: docstrings of commands, help of options, and click's own words."""

import gettext
import inspect
import re
from collections.abc import Callable, Iterator
from typing import Final

import click

from otpd.texts import DOMAIN, PLACE, _, mark

_AS_IT_STANDS: Final = "\b\n"  # click's mark of a paragraph that is not wrapped anew
_EXAMPLE: Final = re.compile(r"(  \S.*?)(?:(\s{2,})(\S.*))?")


def translate(command: click.Command) -> None:
    """Say ``command``, and what is below it, in the current language."""
    gettext.bindtextdomain(DOMAIN, str(PLACE))
    gettext.textdomain(DOMAIN)  # click asks for its own words there
    for one in walk(command):
        if one.help:
            one.help = said(one.help, _)
        for option in one.params:
            if isinstance(option, click.Option) and option.help:
                option.help = _(option.help)


def walk(command: click.Command) -> Iterator[click.Command]:
    """A command and all below it."""
    yield command
    if isinstance(command, click.Group):
        for one in command.commands.values():
            yield from walk(one)


def said(text: str, say: Callable[[str], str]) -> str:
    """A help text with ``say`` called on each of its paragraphs; of an example on what is said about it."""
    return "\n\n".join(_paragraph(part, say) for part in inspect.cleandoc(text).split("\n\n"))


def _paragraph(text: str, say: Callable[[str], str]) -> str:
    if not text.startswith(_AS_IT_STANDS):
        return say(" ".join(text.split()))
    lines = text.removeprefix(_AS_IT_STANDS).split("\n")
    return _AS_IT_STANDS + "\n".join(_line(line, say) for line in lines)


def _line(text: str, say: Callable[[str], str]) -> str:
    example = _EXAMPLE.fullmatch(text)
    if example is None:
        return say(text)
    command, gap, comment = example.groups("")
    return command + gap + say(comment) if comment else command


CLICK: Final = (
    mark("Usage:"),
    mark("Options"),
    mark("Commands"),
    mark("Error: {message}"),
    mark("Try '{command} {option}' for help."),
    mark("Show this message and exit."),
    mark("Show the version and exit."),
    mark("Missing argument"),
    mark("Missing option"),
    mark("No such option: {name}"),
    mark("No such command {name!r}."),
    mark("Invalid value: {message}"),
    mark("Invalid value for {param_hint}: {message}"),
    mark("{value} is not in the range {range}."),
    mark("{value!r} is not a valid {number_type}."),
    mark("Aborted!"),
    mark("required"),
    mark("default: {default}"),
)
"""What click says, as far as otpctl brings it up."""
