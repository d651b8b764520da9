"""What otpctl prints for people, for pipes and for programs."""

import base64
import json
import os
import re
import subprocess
from typing import Final

import pytest
from rig.host import run
from rig.people import converse
from rig.terminal import terminal
from unit.test_commands import COMMANDS

from .conftest import World
from .test_secret_screen import SHOWING

TABLES: Final = {
    "token list": "--user {user}",
    "app-password list": "--user {user}",
    "user list": "",
    "report": "",
    "keys list": "",
}
SENTENCES: Final = {
    "status": "--user {user}",
    "user show": "{user}",
    "device list": "--user {user}",
    "directory check": "",
}
CHANGING: Final = {
    *("resync", "token rename", "token disable", "token enable", "token remove"),
    *("app-password rename", "app-password revoke", "app-password revoke-all", "device forget"),
    *("user disable", "user enable", "user unlock"),
    *("directory init", "directory export", "directory import", "directory migrate"),
    *("keys init", "keys add", "keys rotate", "keys retire"),
}
"""They print one object as well, which the tests of what they do read."""
LABEL: Final = "the mail program on the old laptop in the kitchen, by the window"
COLOURS: Final = "\x1b[3", "\x1b[4", "\x1b[9"


@pytest.fixture(scope="module")
def user(world: World) -> str:
    """Somebody with an app password of a long label, and what goes with it."""
    name, _ = world.person(enrolled=True)
    services = [f"--service={service}" for service in ("imap", "smtp", "mixed")]
    networks = [f"--from=2001:db8:{number}::/48" for number in range(10)]
    run("otpctl", "app-password", "create", "--user", name, *services, *networks, "--label", LABEL, "--json")
    return name


def test_every_command_is_here() -> None:
    assert {*TABLES, *SENTENCES, *SHOWING, *CHANGING} == set(COMMANDS)


@pytest.mark.parametrize("name", [*TABLES, *SENTENCES])
def test_one_document_for_programs(user: str, name: str) -> None:
    command = ["otpctl", *name.split(), *(TABLES | SENTENCES)[name].format(user=user).split(), "--json"]
    printed = run(*command, check=name != "directory check")
    assert isinstance(json.loads(printed), dict)
    assert printed.count("\n") == 1


@pytest.mark.parametrize("name", [*TABLES, *SENTENCES])
def test_plain_text_in_a_pipe(user: str, name: str) -> None:
    command = ["otpctl", *name.split(), *(TABLES | SENTENCES)[name].format(user=user).split()]
    done = subprocess.run(command, text=True, capture_output=True, check=False)
    assert "\x1b" not in done.stdout + done.stderr
    if name in TABLES:
        table = done.stdout.split("\n\n", maxsplit=1)[0].splitlines()
        assert len({line.count("\t") for line in table}) == 1
        assert table[0].isupper()
    if name == "app-password list":
        assert table[1].split("\t")[1] == LABEL
        assert table[1].split("\t")[3].count("/48") == 10


@pytest.mark.parametrize("name", TABLES)
def test_a_table_on_a_terminal(user: str, name: str) -> None:
    command = ["env", "NO_COLOR=1", "otpctl", *name.split(), *TABLES[name].format(user=user).split()]
    screen = converse(command, []).screen
    assert "\x1b[1m" in screen or name == "app-password list", "titles are bold, where there is room for a table"
    assert not any(colour in screen for colour in COLOURS)


def test_on_a_narrow_terminal(user: str) -> None:
    """Whole words and whole ids, a row in lines of its own."""
    token_id = json.loads(run("otpctl", "token", "list", "--user", user, "--json"))["tokens"][0]["id"]
    with terminal(size="40x45") as window:
        screen = window.run(f"otpctl token list --user {user}")
        assert f"ID         {token_id}\n" in screen
        assert "STATE      active\n" in screen
        assert LABEL in window.run(f"otpctl app-password list --user {user}")
        window.run("otpctl report | head -3")
        assert "Usage: otpctl user bypass" in window.run("otpctl user bypass --help")


def test_long_work_shows_how_far_it_is(user: str) -> None:
    assert "reading users" in converse(["otpctl", "report"], []).screen
    assert "reading users" not in converse(["otpctl", "report", "--json"], []).screen
    assert (
        "reading users" not in subprocess.run(["otpctl", "report"], capture_output=True, text=True, check=True).stderr
    )


def test_what_who_writes_to_the_directory_puts_there_moves_no_cursor(world: World) -> None:
    """And makes nothing that a shell offers after TAB."""
    name, _ = world.person(enrolled=True)
    token = json.loads(run("otpctl", "token", "list", "--user", name, "--json"))["tokens"][0]["id"]
    label = "old\x1b[2J\x9b2J\u202e\nplain\nrm\n_"
    place, value = f"otpdId={token},uid={name},ou=otpd", base64.b64encode(label.encode()).decode()
    world.host.ldap("ldapmodify", stdin=f"dn: {place}\nchangetype: modify\nreplace: otpdLabel\notpdLabel:: {value}\n")
    for command in ("token list --user", "status --user", "user show"):
        lines = re.split(r"[\n\t]", run("otpctl", *command.split(), name))
        assert all(map(str.isprintable, lines))
        assert "plain" not in lines, "nor a line of its own"
        printed = run("otpctl", *command.split(), name, "--json")
        assert printed.rstrip("\n").isprintable()
        assert label in [one["label"] for one in json.loads(printed)["tokens"]]
    words = f"otpctl token rename --user {name} "
    asked = {**os.environ, "_OTPCTL_COMPLETE": "zsh_complete", "COMP_WORDS": words, "COMP_CWORD": "5"}
    offered = subprocess.run(["otpctl"], env=asked, text=True, capture_output=True, check=False).stdout.splitlines()
    assert offered == ["plain", token, "old?[2J?2J??plain?rm?_"]
