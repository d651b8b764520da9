"""What the README tells an administrator to type is what is tested, and the manuals know every word of the code."""

import re
from pathlib import Path

from otpd.cli.main import otpctl
from otpd.factor import Reason
from otpd.management import VERBS

ROOT = Path(__file__).parents[2]


def test_the_installation_is_the_one_that_is_tested() -> None:
    readme = re.sub(r" {2,}#.*", "", (ROOT / "README.md").read_text())
    source = (ROOT / "tests/machine/world.py").read_text()
    for name in ("INSTALL", "SSH"):
        found = re.search(rf'^{name}: Final = """\\\n(.*?)"""', source, re.MULTILINE | re.DOTALL)
        assert found
        for line in found[1].splitlines():
            assert f"    {line}\n" in readme, line


def test_every_command_of_make_exists() -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert set(re.findall(r"\bmake ([a-z]+)\b", (ROOT / "README.md").read_text())) <= targets


def test_the_manual_has_every_reason() -> None:
    manual = (ROOT / "docs/man/otpd.8").read_text()
    assert [reason for reason in Reason if f".It {reason}\n" not in manual] == []


def test_control_md_has_every_verb_with_its_fields() -> None:
    text = (ROOT / "docs/control.md").read_text()
    for name, verb in VERBS.items():
        assert f"`{name}`" in text
        assert all(f"`{field}`" in text for field in verb.fields), name


def test_the_manual_has_every_command() -> None:
    manual = (ROOT / "docs/man/otpctl.1").read_text()
    for name, command in otpctl.commands.items():
        verbs = [f"{name} {sub}" for sub in getattr(command, "commands", {})] or [name]
        for verb in verbs:
            assert re.search(rf"^\.It .*Cm {verb}\b|^\.It Cm {name} .*{verb.split()[-1]}", manual, re.MULTILINE), verb
