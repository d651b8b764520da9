"""otpd.ldif and otpd.schema are the same schema, and the adapter asks for what is in it."""

import re
from pathlib import Path

from otpd.adapters.ldap_entries import ATTRIBUTES

CONF = Path(__file__).parents[2] / "conf"
KINDS = {
    "objectidentifier": "olcObjectIdentifier",
    "attributetype": "olcAttributeTypes",
    "objectclass": "olcObjectClasses",
}


def schema_statements() -> list[str]:
    text = re.sub(r"^#.*\n", "", (CONF / "otpd.schema").read_text(), flags=re.MULTILINE)
    joined = re.sub(r"\n[ \t]+", " ", text)
    return [
        re.sub(r"\s+", " ", f"{KINDS[line.split()[0]]}: {line.split(' ', 1)[1]}")
        for line in joined.splitlines()
        if line
    ]


def test_both_files_say_the_same() -> None:
    lines = (CONF / "otpd.ldif").read_text().splitlines()
    assert [re.sub(r"\s+", " ", line) for line in lines if line.startswith("olc")] == schema_statements()


def test_the_adapter_asks_for_attributes_that_exist() -> None:
    defined = set(re.findall(r"NAME '(\w+)'", (CONF / "otpd.schema").read_text()))
    assert {name for name in ATTRIBUTES if name.startswith("otpd")} <= defined
