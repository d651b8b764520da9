"""Every sentence that a person sees is in the catalogue, and every catalogue says all of them."""

import ast
import re
import string
from itertools import pairwise
from pathlib import Path

import pytest
from babel.messages.catalog import Message
from rig.catalogue import PACKAGE, Sentence, catalogues, sentences

from otpd import texts
from otpd.texts import ENGLISH, _, languages, plural, speaking

CATALOGUES = catalogues()
SHOWN = {"Refused": 1, "UsageError": 0, "warn": 0, "ask": 0, "echo": 0, "show": 1, "fail": 1, "progress": 0}
"""What shows a person something, and which argument that is."""


def placeholders(text: str) -> list[str]:
    fields = string.Formatter().parse(text) if "{" in text else ()
    return sorted(f"{name}!{conversion}:{spec}" for _text, name, spec, conversion in fields if name is not None)


def forms(one: Sentence | Message) -> tuple[str, ...]:
    text = one.string if isinstance(one, Message) else one
    return (text,) if isinstance(text, str) else tuple(text)


@pytest.mark.parametrize("language", CATALOGUES)
def test_a_catalogue_has_every_sentence_and_no_other(language: str) -> None:
    known = {message.id: message for message in CATALOGUES[language] if message.id}
    assert set(known) == set(sentences()), "run: make texts"
    assert [one for one, message in known.items() if message.fuzzy or not all(forms(message))] == []


@pytest.mark.parametrize("language", CATALOGUES)
def test_a_translation_has_the_same_values_and_edges(language: str) -> None:
    for message in CATALOGUES[language]:
        for said in forms(message) if message.id else ():
            for one in forms(message.id):
                if has_values(one):
                    assert placeholders(said) == placeholders(one), said
                for edge in (r"^\s*", r"\s*$"):
                    assert re.search(edge, said)[0] == re.search(edge, one)[0], said  # type: ignore[index]
            assert said.count("\n") == forms(message.id)[0].count("\n"), said


def has_values(sentence: str) -> bool:
    """Whether it is formatted: what holds a brace and has no values in the code stays as it is."""
    return any(re.fullmatch(r"[a-z_]+[0-9]?", name or "") for _t, name, _s, _c in string.Formatter().parse(sentence))


def test_values_are_named_and_nothing_is_looked_up_in_them() -> None:
    for sentence in sentences():
        for one in forms(sentence):
            for _text, name, _spec, _conversion in string.Formatter().parse(one):
                # A number is LDAP's, in a sentence without values.
                assert name is None or re.fullmatch(r"[a-z_]+[0-9]?" if has_values(one) else r"-?\d+", name), one


def test_no_sentence_is_shown_that_is_not_in_the_catalogue() -> None:
    found = []
    for path in sorted(PACKAGE.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call):
                name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
                shown = node.args[SHOWN[name] :][:1] if name in SHOWN else []
                found += [f"{path.name}:{node.lineno}: {text}" for one in shown for text in bare(one)]
    assert found == []


def bare(node: ast.AST) -> list[str]:
    """The words below ``node`` that are outside of every call: what a call gets is for it to say."""
    if isinstance(node, ast.Call):
        return []
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return [node.value] if re.search(r"[A-Za-z]{2,} [A-Za-z]", node.value) else []
    return [text for child in ast.iter_child_nodes(node) for text in bare(child)]


def test_german_at_the_block_s_end_is_over() -> None:
    assert languages() == (ENGLISH, *CATALOGUES), "run: make build"
    with speaking("de"):
        assert _("Wrong code.") == "Falscher Code."
        assert plural("{count} minute fast", "{count} minutes fast", 1) == "1 Minute vor"
        assert plural("{count} minute fast", "{count} minutes fast", 2) == "2 Minuten vor"
        with speaking(ENGLISH):
            assert _("Wrong code.") == "Wrong code."
        assert _("There is no user {wanted}.", wanted="{x}") == "Es gibt keinen Benutzer {x}."
        assert _("") == ""
    assert _("Wrong code.") == "Wrong code."


@pytest.mark.parametrize("name", ["fr", "", "DE", "../de", "de/../de", "\0", "de_DE.UTF-8", "x" * 16])
def test_what_is_no_language_is_english(name: str) -> None:
    with speaking(name):
        assert _("Wrong code.") == "Wrong code."


@pytest.mark.parametrize(
    ("wanted", "environment"),
    [
        ("de", {"LANG": "de_AT.UTF-8"}),
        ("de", {"LANG": "fr_FR.UTF-8", "LANGUAGE": "fr:de"}),
        ("en", {"LANG": "fr_FR.UTF-8"}),
        ("en", {"LANG": "de_DE.UTF-8", "LC_ALL": "C"}),
        ("en", {}),
    ],
)
def test_the_environment_says_which(monkeypatch: pytest.MonkeyPatch, wanted: str, environment: dict[str, str]) -> None:
    for name in ("LANGUAGE", "LC_ALL", "LC_MESSAGES", "LANG"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert texts.preferred() == wanted


def test_no_word_stands_twice_in_a_row() -> None:
    """What is put together from pieces of a line is put together wrong at the seam."""
    for sentence in [*sentences(), *(message.string for one in CATALOGUES.values() for message in one)]:
        for form in forms(sentence):
            words = re.findall(r"[\w']+|[^\w\s]", form)
            assert [a for a, b in pairwise(words) if a == b and a.isalpha() and a not in ("at", "die")] == [], form


def test_there_is_a_catalogue() -> None:
    assert Path(PACKAGE / "locale/de.po").exists()
    assert "de" in CATALOGUES


def test_nothing_else_is_called_as_the_function_is() -> None:
    """``_, found = ...`` in a module that has the function hides it in its whole function."""
    found = []
    for path in sorted(PACKAGE.rglob("*.py")):
        if re.search(r"^from otpd.texts import .*\b_\b", path.read_text(), re.MULTILINE):
            found += [
                f"{path.name}:{node.lineno}"
                for node in ast.walk(ast.parse(path.read_text()))
                if isinstance(node, ast.Name) and node.id == "_" and isinstance(node.ctx, ast.Store)
            ]
    assert found == []
