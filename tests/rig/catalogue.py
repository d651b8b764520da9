"""The sentences in the code, and the catalogues that say them in other languages.

``python -m rig.catalogue [LANGUAGE]`` brings every catalogue up to date, and begins one in LANGUAGE.
"""

import ast
import sys
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Final

import click
from babel.messages import pofile
from babel.messages.catalog import Catalog

from otpd.cli.help import said, walk
from otpd.cli.main import otpctl
from otpd.texts import DOMAIN, PLACE

PACKAGE: Final = Path(__file__).parents[2] / "otpd"
_MARKED: Final = {"_": 1, "mark": 1, "plural": 2}
"""Which functions take sentences, and how many."""

_OF_THE_MOMENT: Final = tuple(
    f'"{name}'.encode() for name in ("Project", "Report", "POT-", "PO-", "Last-", "Language-T", "Generated")
)
"""What a header says that changes with each run, or says nothing."""

Sentence = str | tuple[str, str]
"""One, or what it is for one and for many."""


def sentences() -> dict[Sentence, list[str]]:
    """Every sentence, with the files that have it."""
    found: dict[Sentence, list[str]] = {}
    for sentence, place in [*_in_code(), *_in_help()]:
        places = found.setdefault(sentence, [])
        if place not in places:
            places.append(place)
    return found


def catalogues() -> dict[str, Catalog]:
    """What is translated, by language."""
    found = {}
    for file in sorted(PLACE.glob("*.po")):
        with file.open("rb") as stream:
            found[file.stem] = pofile.read_po(stream, file.stem, DOMAIN, abort_invalid=True)
    return found


def _in_code() -> Iterator[tuple[Sentence, str]]:
    for path in sorted(PACKAGE.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in _MARKED:
                taken = node.args[: _MARKED[node.func.id]]
                texts = [one.value for one in taken if isinstance(one, ast.Constant)]
                if len(texts) == len(taken):
                    yield texts[0] if len(texts) == 1 else (texts[0], texts[1]), f"{path.relative_to(PACKAGE.parent)}"


def _in_help() -> Iterator[tuple[Sentence, str]]:
    found: list[str] = []

    def note(text: str) -> str:
        found.append(text)
        return text

    for command in walk(otpctl):
        said(command.help or "", note)
        found += [option.help for option in command.params if isinstance(option, click.Option) and option.help]
    yield from ((text, "otpd/cli") for text in found if text)


def main() -> None:
    """Bring them up to date: new sentences are added, those that are gone go, what is translated stays."""
    template = Catalog(domain=DOMAIN)
    for sentence, places in sentences().items():
        template.add(sentence, locations=[(place, 0) for place in places])
    known = catalogues()
    for language in sys.argv[1:]:
        if language and language not in known:
            known[language] = Catalog(language, DOMAIN)
    for language, catalogue in known.items():
        catalogue.update(template, no_fuzzy_matching=True)
        catalogue.obsolete.clear()
        missing = [one for one in catalogue if one.id and not all(one.string if one.pluralizable else [one.string])]
        catalogue.fuzzy, catalogue.header_comment = False, f"# What otpd says, in the language {language}."
        written = BytesIO()
        pofile.write_po(written, catalogue, width=120, include_lineno=False)
        lines = written.getvalue().splitlines(keepends=True)
        (PLACE / f"{language}.po").write_bytes(b"".join(one for one in lines if not one.startswith(_OF_THE_MOMENT)))
        print(f"{language}: {len(catalogue)} sentences, {len(missing)} of them not translated")


if __name__ == "__main__":
    main()
