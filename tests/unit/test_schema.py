"""The schema is written once, in conf/*.schema; every other form of it says the same, and the adapter asks for it."""

import re
from pathlib import Path

import pytest

from otpd.adapters.ldap.entries import ATTRIBUTES

CONF = Path(__file__).parents[2] / "conf"
OLC = {
    "objectidentifier": "olcObjectIdentifier",
    "attributetype": "olcAttributeTypes",
    "objectclass": "olcObjectClasses",
}
SUBSCHEMA = {"attributetype": "attributeTypes", "objectclass": "objectClasses"}


def statements(name: str) -> list[tuple[str, str]]:
    """The statements of a .schema file, each on one line: its keyword and the rest."""
    text = re.sub(r"^#.*\n", "", (CONF / name).read_text(), flags=re.MULTILINE)
    lines = re.sub(r"\s*\n[ \t]+", " ", text).splitlines()
    return [(keyword, rest) for keyword, _, rest in (line.partition(" ") for line in lines if line)]


def expanded(name: str) -> list[tuple[str, str]]:
    """As :func:`statements`, with numbers for the names of object identifiers, which are OpenLDAP's own."""
    names: dict[str, str] = {}
    found = []

    def number(text: str) -> str:
        head, _, tail = text.partition(":")
        return ".".join(filter(None, (names.get(head, head), tail)))

    for keyword, rest in statements(name):
        if keyword == "objectidentifier":
            macro, _, value = rest.partition(" ")
            names[macro] = number(value)
        else:
            found.append((keyword, re.sub(r"^\( (\S+)", lambda match: f"( {number(match[1])}", rest)))
    return found


def values(name: str) -> list[str]:
    """The values of an LDIF file's schema."""
    lines = (CONF / name).read_text().splitlines()
    return [line for line in lines if line.startswith(("olc", "attributeTypes", "objectClasses"))]


@pytest.mark.parametrize("name", ["oath", "otpd"])
def test_both_forms_of_openldap_say_the_same(name: str) -> None:
    assert values(f"{name}.ldif") == [f"{OLC[keyword]}: {rest}" for keyword, rest in statements(f"{name}.schema")]


def test_the_form_of_389_directory_server_says_the_same() -> None:
    expected = [*expanded("oath.schema"), *expanded("otpd.schema")]
    assert values("99otpd.ldif") == [f"{SUBSCHEMA[keyword]}: {rest}" for keyword, rest in expected]


def test_the_adapter_asks_for_attributes_that_exist() -> None:
    text = (CONF / "oath.schema").read_text() + (CONF / "otpd.schema").read_text()
    assert set(ATTRIBUTES) - {"objectClass", "uid"} <= set(re.findall(r"NAME '(\w+)'", text))
