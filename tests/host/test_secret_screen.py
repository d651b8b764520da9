"""No secret that otpctl shows stays on the terminal, in what it scrolls back to, or in a file that nobody asked for."""

import json
import re
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import click
import pytest
from rig.host import Token
from rig.people import converse
from rig.terminal import Terminal, at_prompt, last, terminal

from otpd.cli.main import otpctl

from .conftest import World, eventually

CODE: Final = "Code that the app shows now:"
ENTER: Final = "Press Enter to go on:"
SECRET: Final = re.compile(r"^([A-Z2-7]{4}(?: [A-Z2-7]{4}){7}|(?:[0-9a-z]{4,6}-){2,}[0-9a-z]{4,6})\s*$", re.MULTILINE)
CREATE: Final = "otpctl app-password create --service imap --user {user}"
SHOWING: Final = {
    "enroll": ("otpctl enroll --user {user}", CODE),
    "recovery-codes": ("otpctl recovery-codes --user {user}", ENTER),
    "app-password create": (CREATE, ENTER),
    "user ticket": ("otpctl user ticket {user}", ENTER),
    "user bypass": ("otpctl user bypass {user} --host web1", ENTER),
    "user reset": ("otpctl user reset {user} --ticket", ENTER),
}
"""Each command that shows a secret, and what it asks while it does. The last one undoes what is before it."""
NO_OTHER_SCREEN: Final = ("alternate-screen off",)


def commands(group: click.Group, before: str = "") -> Iterator[tuple[str, click.Command]]:
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from commands(command, f"{before}{name} ")
        else:
            yield f"{before}{name}", command


def secrets_on(world: World, screen: str) -> set[str]:
    found = set(SECRET.findall(screen))
    world.secrets |= {secret.replace(" ", "") for secret in found}
    return found


def assert_nothing_of(secrets: set[str], window: Terminal) -> None:
    assert secrets
    kept = window.kept()
    for secret in secrets:
        assert secret not in kept
        assert secret[:9] not in kept
    assert not set(kept) & set("\u2580\u2584\u2588"), "of the QR code"


def test_every_command_that_shows_a_secret_is_here() -> None:
    showing = {name for name, command in commands(otpctl) if any(one.name == "show_secret" for one in command.params)}
    assert showing == set(SHOWING)


@pytest.mark.parametrize("settings", [(), NO_OTHER_SCREEN], ids=["an alternate screen", "none"])
def test_what_is_shown_once_is_gone_afterwards(world: World, settings: tuple[str, ...]) -> None:
    user, _ = world.person()
    secrets: set[str] = set()
    with terminal(*settings) as window:
        window.run("seq 200")
        for command, prompt in SHOWING.values():
            screen = window.run(command.format(user=user), until=prompt)
            shown = secrets_on(world, screen)
            assert shown, screen
            secrets |= shown
            if prompt == CODE:
                token = Token(shown.copy().pop().replace(" ", ""))
                assert "\u2580" in screen
                window.type(token.wrong())
                assert "\u2580" in window.wait(lambda seen: "Wrong code." in seen)
                window.type(token.code())
                secrets |= secrets_on(world, window.wait(lambda seen: last(seen) == ENTER))
            window.key("Enter")
            window.wait(at_prompt)
            assert_nothing_of(secrets, window)
        kept = window.kept()
    assert len(secrets) == 1 + 10 + 10 + 1 + 1 + 1 + 1
    for said in (
        "Activated.",
        "Made ten recovery",
        "Revoke it with: otpctl",
        "Made an enrol",
        "Made a bypass",
        "Reset: ",
    ):
        assert said in kept


@contextmanager
def shown(world: World, *settings: str, size: str = "100x45", **options: str) -> Iterator[tuple[Terminal, set[str]]]:
    """A terminal that shows an app password."""
    user, _ = world.person()
    with terminal(*settings, size=size, **options) as window:
        screen = window.run(CREATE.format(user=user), until=ENTER)
        yield window, secrets_on(world, screen)


ENDINGS: Final = {signal.SIGTERM: 143, signal.SIGHUP: 129, signal.SIGQUIT: 131}


@pytest.mark.parametrize("number", ENDINGS)
@pytest.mark.parametrize("settings", [(), NO_OTHER_SCREEN], ids=["an alternate screen", "none"])
def test_it_is_gone_when_it_is_ended(world: World, number: signal.Signals, settings: tuple[str, ...]) -> None:
    with shown(world, *settings) as (window, secrets):
        subprocess.run(["kill", f"-{number.value}", str(window.program())], check=True)
        window.wait(at_prompt)
        assert_nothing_of(secrets, window)
        window.type("echo $?")
        window.wait(lambda seen: f"\n{ENDINGS[number]}\n" in seen)
        assert echoes(window)


@pytest.mark.parametrize("key", ["C-c", "C-d", "C-\\"])
def test_it_is_gone_after_a_key(world: World, key: str) -> None:
    with shown(world) as (window, secrets):
        window.key(key)
        screen = window.wait(at_prompt)
        assert "Revoke it with" in screen, "it was made, and whoever broke off must know"
        assert_nothing_of(secrets, window)
        assert echoes(window)


def test_it_is_gone_from_a_terminal_that_was_stopped(world: World) -> None:
    with shown(world) as (window, secrets):
        window.key("C-s")
        subprocess.run(["kill", str(window.program())], check=True)
        window.wait(at_prompt)
        assert_nothing_of(secrets, window)


def test_enter_comes_from_the_terminal_whatever_standard_input_is(world: World) -> None:
    user, _ = world.person()
    with terminal() as window:
        secrets = secrets_on(world, window.run(f"echo | {CREATE.format(user=user)}", until=ENTER))
        window.key("Enter")
        window.wait(at_prompt)
        assert_nothing_of(secrets, window)


def test_it_ends_with_its_terminal(world: World) -> None:
    with shown(world) as (window, _):
        program = Path(f"/proc/{window.program()}")
        assert program.exists()
    assert eventually(lambda: not program.exists())


def test_where_no_shell_could_bring_it_back_it_is_not_suspended(world: World) -> None:
    """As with ssh -t host otpctl: nobody would continue it."""
    user, _ = world.person()
    seen = converse(CREATE.format(user=user).split(), ["\x1a", ""])
    assert seen.succeeded, seen.screen
    assert len(secrets_on(world, seen.screen)) == 1
    assert set(seen.prompts) == {f"{ENTER} "}


def echoes(window: Terminal) -> bool:
    return " echo " in window.run("stty -a").rpartition("stty -a")[2]


def test_suspended_it_is_gone_and_in_front_it_is_back(world: World) -> None:
    with shown(world) as (window, secrets):
        window.key("C-z")
        window.wait(lambda seen: at_prompt(seen) and "Stopped" in seen)
        assert_nothing_of(secrets, window)
        assert echoes(window)
        window.type("bg")
        window.wait(lambda seen: at_prompt(seen) and seen.count("app-password create") > 2)
        assert_nothing_of(secrets, window)
        window.type("fg")
        assert secrets_on(world, window.wait(lambda seen: last(seen) == ENTER)) == secrets
        window.type("typed unseen")
        assert "typed unseen" not in window.wait(at_prompt)
        assert_nothing_of(secrets, window)


def test_a_window_of_any_size(world: World) -> None:
    """It is one line to copy, wherever it is wrapped, and comes back when the window is large enough."""
    with shown(world, size="40x24") as (window, secrets):
        assert len(secrets) == 1
        window.resize(100, 4)
        window.wait(lambda seen: "Make this window larger" in seen)
        for columns, lines in ((80, 24), (30, 20), (100, 45)):
            window.resize(columns, lines)
            window.wait(lambda seen: set(SECRET.findall(seen)) == secrets and last(seen) == ENTER)
        window.key("Enter")
        window.wait(at_prompt)
        assert_nothing_of(secrets, window)


def test_the_qr_code_where_there_is_room_for_it(world: World) -> None:
    user, _ = world.person()
    with terminal(size="40x20") as window:
        screen = window.run(f"otpctl enroll --user {user}", until=CODE)
        secrets = secrets_on(world, screen)
        assert "too small for the QR" in screen
        window.resize(80, 24)
        window.wait(lambda seen: "\u2580" in seen and CODE in seen and "too small" not in seen)
        window.resize(100, 45)
        assert secrets_on(world, window.wait(lambda seen: last(seen) == CODE)) == secrets
        window.key("C-c")
        window.wait(at_prompt)
        assert_nothing_of(secrets, window)


def test_an_error_in_the_middle_is_read_afterwards(world: World) -> None:
    user, _ = world.person()
    with terminal() as window:
        secrets = secrets_on(world, window.run(f"otpctl enroll --user {user}", until=CODE))
        world.host.stop_daemon()
        try:
            window.type("123456")
            window.wait(lambda seen: "does not listen" in seen and at_prompt(seen))
        finally:
            world.host.start_daemon()
        assert_nothing_of(secrets, window)


def test_nothing_that_is_typed_is_kept(world: World, alice: tuple[str, Token]) -> None:
    """Neither on the screen nor in the shell's history; test_zz_secrets looks at arguments and environments."""
    user, token = alice
    with terminal(user=user) as window:
        window.run("otpctl recovery-codes", until="Current verification code:")
        code = token.code()
        window.type(code)
        secrets = secrets_on(world, window.wait(lambda seen: last(seen) == ENTER))
        window.key("Enter")
        window.wait(at_prompt)
        used = next(iter(secrets))
        window.run("otpctl app-password create --service imap", until="Current verification code:")
        window.type(used)
        secrets |= secrets_on(world, window.wait(lambda seen: last(seen) == ENTER))
        window.key("Enter")
        window.wait(at_prompt)
        assert_nothing_of(secrets | {code}, window)
        window.run("history -a; echo saved")
    home = Path(f"/home/{user}")
    assert "otpctl recovery-codes" in (home / ".bash_history").read_text()
    for path in home.iterdir():
        if path.is_file():
            assert not [secret for secret in {code, *secrets} if secret in path.read_text(errors="replace")], path


@pytest.fixture(scope="module")
def somebody(world: World) -> str:
    return world.person(enrolled=True)[0]


@pytest.mark.parametrize("name", SHOWING)
def test_not_into_a_pipe_unless_told_to(world: World, somebody: str, name: str) -> None:
    command = SHOWING[name][0].format(user=somebody).split()
    done = subprocess.run(command, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
    assert (done.returncode, done.stdout) == (2, "")
    assert "--show-secret or --json" in done.stderr
    told, as_json = (
        subprocess.run([*command, option], capture_output=True, text=True, check=False, input="000000\n").stdout
        for option in ("--show-secret", "--json")
    )
    assert secrets_on(world, told)
    assert "\x1b" not in told
    # enroll needs an answer to what it shows: a document before it, and one after it
    documents = [json.loads(line) for line in as_json.splitlines()]
    assert len(documents) == (2 if name == "enroll" else 1)
    world.secrets |= {documents[0]["secret"]} if name == "enroll" else secrets_on(world, as_json.replace('"', "\n"))


def test_not_into_a_file(somebody: str, tmp_path: Path) -> None:
    with (tmp_path / "out").open("w") as out:
        command = ["otpctl", "enroll", "--user", somebody]
        assert subprocess.run(command, stdout=out, stderr=subprocess.DEVNULL, check=False).returncode == 2
    assert (tmp_path / "out").read_text() == ""


@pytest.mark.parametrize("where", ["env TERM=dumb", "env -u TERM", "env JSON=--json", "setsid -w"])
def test_not_where_a_terminal_would_keep_it(world: World, somebody: str, where: str) -> None:
    """On one that can wipe nothing, as a document for programs, or without anybody to press Enter."""
    command = f"{where} sh -c 'otpctl user ticket {somebody} $JSON'"
    seen = converse(["sh", "-c", command], [])
    assert not seen.succeeded
    assert "add --show-secret" in seen.screen, seen.screen
    assert not secrets_on(world, seen.screen)


def test_where_a_terminal_keeps_it_if_told_to(world: World, somebody: str) -> None:
    seen = converse(["env", "TERM=dumb", "otpctl", "user", "ticket", somebody, "--show-secret"], [])
    assert seen.succeeded
    assert secrets_on(world, seen.screen), seen.screen
