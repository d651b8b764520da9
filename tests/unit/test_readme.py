"""What the README tells an administrator to type is what the tests on booted machines type."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_the_installation_is_the_one_that_is_tested() -> None:
    readme = re.sub(r" {2,}#.*", "", (ROOT / "README.md").read_text())
    source = (ROOT / "tests/machine/test_install.py").read_text()
    for name in ("INSTALL", "SSH"):
        found = re.search(rf'^{name}: Final = """\\\n(.*?)"""', source, re.MULTILINE | re.DOTALL)
        assert found
        for line in found[1].splitlines():
            assert f"    {line}\n" in readme, line


def test_every_command_of_make_exists() -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert set(re.findall(r"\bmake ([a-z]+)\b", (ROOT / "README.md").read_text())) <= targets
