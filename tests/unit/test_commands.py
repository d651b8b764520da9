"""Every command of otpctl: an example, an object for programs, help that a terminal can hold."""

from collections.abc import Iterator

import click
import pytest
from click.testing import CliRunner

from otpd.cli.main import otpctl


def commands(group: click.Group, before: str = "") -> Iterator[tuple[str, click.Command]]:
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from commands(command, f"{before}{name} ")
        else:
            yield f"{before}{name}", command


COMMANDS = dict(commands(otpctl))


@pytest.mark.parametrize("name", ["", *COMMANDS])
def test_help_has_an_example(name: str) -> None:
    text = CliRunner().invoke(otpctl, [*name.split(), "--help"], prog_name="otpctl", terminal_width=80).output
    _, found, examples = text.partition("Example:\n")
    assert found
    assert f"otpctl {name}".strip() in examples
    assert max(map(len, text.splitlines())) <= 100


def test_every_command_prints_json() -> None:
    assert [name for name, command in COMMANDS.items() if "as_json" not in words(command)] == []


def words(command: click.Command) -> list[str]:
    return ["as_json" if "--json" in one.opts else str(one.name) for one in command.params]


def test_no_option_takes_a_secret() -> None:
    """What is on a command line is seen by all, and kept by the shell."""
    taking = {
        option: name
        for name, command in COMMANDS.items()
        for one in command.params
        for option in one.opts
        if not getattr(one, "is_flag", False)
    }
    secret = ("password", "secret", "code", "seed", "ticket", "proof", "pin", "token")
    assert {option for option in taking if any(word in option for word in secret)} == set()
    assert not any(one.envvar for command in COMMANDS.values() for one in command.params)
    assert otpctl.context_settings.get("auto_envvar_prefix") is None
