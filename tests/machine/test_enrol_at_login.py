"""Enrolling at a login, on booted machines: OpenSSH 9.2 and 10.0, client and server, crosswise; and each one's login.

A terminal has 80 columns. The client is run from the root of its own release, in the network of the server's machine.
"""

import itertools
import json
import re
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pytest
from directory.servers import debian
from machine.machine import build
from machine.world import PASSWORD, SETTINGS, World, installed, mended_at_the_end, ssh_to
from rig.host import Token
from rig.people import Answer, Seen, converse
from rig.screen import COLUMNS, photograph, picture, rendered, scan, sentences

OPENSSH: Final = {"bookworm": "9.2", "trixie": "10.0"}
ROWS: Final = 24
GRACE: Final = 4  # seconds; long enough for two passwords
NUMBERS: Final = itertools.count(1)
# The door of the console, as that of ssh.
LOGIN: Final = """\
sed -i -e '/^@include common-auth/{r /usr/local/share/doc/otpd/examples/sshd.example' -e 'd}' /etc/pam.d/login
"""
RULES: Final = """
[service.sshd]
unenrolled = "enrol-at-login"
qr = "utf8"

[service.login]
unenrolled = "enrol-at-login"
qr = "utf8"
"""


@dataclass(frozen=True)
class Client:
    """The ssh of a release, for users of ``world``."""

    root: Path
    world: World

    def command(self, *command: str, locale: str = "C.UTF-8") -> list[str]:
        network = ["nsenter", f"--target={self.world.machine.leader}", "--net", "--"]
        return [*network, "chroot", str(self.root), "env", "-i", f"LC_ALL={locale}", "TERM=xterm", *command]

    def ssh(self, user: str, answers: Sequence[Answer], *options: str, locale: str = "C.UTF-8") -> Seen:
        return converse(self.command(*ssh_to(user, *options), locale=locale), answers, columns=COLUMNS)


@pytest.fixture(scope="module", params=list(OPENSSH))
def world(request: pytest.FixtureRequest) -> Iterator[World]:
    with installed(request.param) as world:
        world.administer(LOGIN)
        configure(world, RULES)
        yield world


@pytest.fixture(scope="module")
def clients(world: World) -> Iterator[dict[str, Client]]:
    with ExitStack() as stack:
        here = world.machine.suite
        roots = {
            suite: stack.enter_context(debian(str(build(suite)), Path(f"/run/{suite}-at-{here}"))) for suite in OPENSSH
        }
        yield {suite: Client(root, world) for suite, root in roots.items()}


@pytest.fixture
def other(clients: dict[str, Client], world: World) -> Client:
    """The client of the release that the server is not of."""
    return next(client for suite, client in clients.items() if suite != world.machine.suite)


@pytest.fixture
def user(world: World) -> str:
    """Somebody who has not enrolled."""
    name = f"user{next(NUMBERS)}"
    world.machine.run("useradd", "--create-home", "--shell", "/bin/bash", name)
    world.machine.run("chpasswd", stdin=f"{name}:{PASSWORD}\n")
    return name


@contextmanager
def drawn(world: World, qr: str) -> Iterator[None]:
    """How the QR code is drawn, meanwhile."""
    with mended_at_the_end(world):
        configure(world, RULES.replace("utf8", qr))
        yield


def configure(world: World, rules: str) -> None:
    before = world.machine.read(SETTINGS).split("\n[service.sshd]")[0]
    world.machine.write(SETTINGS, before + rules)
    world.machine.run("systemctl", "restart", "otpd")


class App:
    """What the app shows, once the secret on the screen was typed into it."""

    def __init__(self, world: World) -> None:
        self.world, self.token, self.screen = world, Token(""), ""

    def code(self, screen: str) -> str:
        self.screen = screen
        found = re.search(
            r"type this secret into (?:it: |the authenticator app on your phone\.\s+)([A-Z2-7 ]+)", screen
        )
        assert found, screen
        self.token.secret = found[1].replace(" ", "")
        self.world.secrets.add(self.token.secret)
        return self.token.code()

    def wrong(self, screen: str) -> str:
        self.code(screen)
        self.token.last_step = 0
        return self.token.wrong()


def codes_on(world: World, screen: str) -> list[str]:
    """The recovery codes."""
    codes = re.findall(r"\b[0-9a-z]{4}-[0-9a-z]{4}-[0-9a-z]{4}\b", screen)
    world.secrets |= set(codes)
    return codes


@pytest.mark.parametrize("suite", OPENSSH)
def test_who_talks_to_whom(world: World, clients: dict[str, Client], suite: str) -> None:
    command = ssh_to("alice", "BatchMode=yes")
    command = [word.replace("LogLevel=ERROR", "LogLevel=DEBUG1") for word in command]
    told = subprocess.run(clients[suite].command(*command), text=True, stderr=subprocess.PIPE, check=False).stderr
    assert re.search(rf"Local version string SSH-2.0-OpenSSH_{OPENSSH[suite]}p", told), told
    assert re.search(rf"remote software version OpenSSH_{OPENSSH[world.machine.suite]}p", told), told


@pytest.mark.parametrize("suite", OPENSSH)
def test_the_transcript(world: World, clients: dict[str, Client], suite: str, user: str, tmp_path: Path) -> None:
    app, client = App(world), clients[suite]
    seen = client.ssh(user, [PASSWORD, PASSWORD, app.wrong, app.code, ""])
    codes = codes_on(world, seen.screen)
    name, groups = f"({user}@127.0.0.1)", " ".join(re.findall("....", app.token.secret))
    assert sentences(seen.screen) == [
        f"{name} Password:",
        name,
        "You have no second factor yet, and logging in here takes one. Set it up now:",
        "you need a phone with an authenticator app.",
        "Account password or enrolment ticket:",
        name,
        "Set up your second factor: scan this with the authenticator app on your phone.",
        f"Or type this secret into it: {groups}",
        "Code that the app shows now:",
        name,
        "Wrong code. Check that the clock of your phone is right, and try the next one.",
        "Code that the app shows now:",
        name,
        "Activated. From now on, logging in here takes a code of the app.",
        "If the phone is gone, each of these recovery codes works once instead of a code:",
        "Write them down and keep them away from the phone. They are not shown again.",
        "New ones: otpctl recovery-codes",
        "Press Enter to go on:",
        "let in",
    ], world.machine.journal("-u", "otpd", "--lines=20")
    assert seen.succeeded
    assert len(set(codes)) == 10
    assert max(map(len, seen.screen.splitlines())) <= COLUMNS
    for light in (False, True):
        photograph(rendered(seen.screen), tmp_path / "screen.png", light=light)
        assert f"secret={app.token.secret}&" in scan(tmp_path / "screen.png", light=light)
    seen = client.ssh(user, [PASSWORD, codes[0]])
    assert seen.succeeded
    assert len(seen.prompts) == 2


@pytest.mark.parametrize("suite", OPENSSH)
def test_a_client_in_the_c_locale(world: World, clients: dict[str, Client], suite: str, user: str) -> None:
    """It draws no blocks; the secret and the prompt are what its screen ends with."""
    app = App(world)
    seen = clients[suite].ssh(user, [PASSWORD, PASSWORD, app.code, ""], locale="C")
    assert seen.succeeded, seen.screen
    assert seen.screen.isascii()
    last = "\n".join(rendered(app.screen)[-ROWS:])
    assert " ".join(re.findall("....", app.token.secret)) in last
    assert last.endswith("Code that the app shows now: ")
    assert len(codes_on(world, seen.screen)) == 10


def test_a_qr_code_in_ascii(world: World, other: Client, user: str, tmp_path: Path) -> None:
    """A client in the C locale shows it, and it scans."""
    app = App(world)
    with drawn(world, "ascii"):
        seen = other.ssh(user, [PASSWORD, PASSWORD, app.code, ""], locale="C")
    assert seen.succeeded, seen.screen
    assert max(map(len, seen.screen.splitlines())) <= COLUMNS
    for light in (False, True):
        photograph(rendered(seen.screen), tmp_path / "screen.png", light=light)
        assert f"secret={app.token.secret}&" in scan(tmp_path / "screen.png", light=light)
    codes_on(world, seen.screen)


def test_no_qr_code(world: World, other: Client, user: str) -> None:
    app = App(world)
    with drawn(world, "off"):
        seen = other.ssh(user, [PASSWORD, PASSWORD, app.code, ""])
    assert seen.succeeded, seen.screen
    assert picture(app.screen) == []
    assert "\n  " + " ".join(re.findall("....", app.token.secret)) in app.screen.replace("\r", "")
    codes_on(world, seen.screen)


def test_at_a_console(world: World, user: str, tmp_path: Path) -> None:
    """``login`` as the release has it, which is shadow's or util-linux's, with its own PAM stack, on a pty."""
    app = App(world)
    world.machine.run("usermod", "--shell", "/bin/true", user)  # so that the session ends
    seen = console(world, user, [PASSWORD, PASSWORD, app.wrong, app.code, ""])
    assert len(set(codes_on(world, seen.screen))) == 10, seen.screen
    assert seen.prompts == (
        "Password: ",
        "Account password or enrolment ticket: ",
        "Code that the app shows now: ",
        "Code that the app shows now: ",
        "Press Enter to go on: ",
    )
    assert max(map(len, seen.screen.splitlines())) <= COLUMNS
    photograph(rendered(seen.screen), tmp_path / "screen.png")
    assert f"secret={app.token.secret}&" in scan(tmp_path / "screen.png")
    assert f"session opened for user {user}" in world.machine.journal("-t", "login")


def console(world: World, user: str, answers: Sequence[Answer]) -> Seen:
    """On a terminal of the machine's own, as getty starts it: login looks up its name, and hangs up on who had it."""
    command = world.machine.inside(["script", "--quiet", "--command", f"exec login {user}", "/dev/null"])
    return converse(command, answers, columns=COLUMNS)


def status(world: World, user: str) -> dict[str, Any]:
    shown: dict[str, Any] = json.loads(world.machine.run("otpctl", "status", "--user", user, "--json"))
    return shown


def test_sshd_loses_patience(world: World, other: Client, user: str) -> None:
    """LoginGraceTime, which is two minutes: the user is as before, and the next login starts afresh."""
    app, before = App(world), status(world, user)

    def late(screen: str) -> str:
        until = time.monotonic() + 30
        while world.machine.run("ss", "--no-header", "--tcp", "state", "established", "sport = :22"):
            assert time.monotonic() < until
            time.sleep(0.2)
        return app.code(screen)

    with patience(world, "LoginGraceTime", GRACE):
        seen = other.ssh(user, [PASSWORD, PASSWORD, late], "LogLevel=INFO")
    assert "now: \r\nConnection closed by 127.0.0.1 port 22" in seen.screen, "on the Enter behind the code"
    assert status(world, user) == before
    secret = app.token.secret
    seen = other.ssh(user, [PASSWORD, PASSWORD, app.code, ""])
    assert seen.succeeded, seen.screen
    assert app.token.secret != secret
    codes_on(world, seen.screen)


def test_login_loses_patience(world: World, user: str) -> None:
    """LOGIN_TIMEOUT, which is a minute."""
    app, before = App(world), status(world, user)
    world.machine.run("usermod", "--shell", "/bin/true", user)

    def late(screen: str) -> str:
        time.sleep(GRACE + 1)
        return app.code(screen)

    with patience(world, "LOGIN_TIMEOUT", GRACE):
        seen = console(world, user, [PASSWORD, PASSWORD, late])
    assert f"timed out after {GRACE} seconds" in seen.screen
    assert status(world, user) == before
    secret = app.token.secret
    seen = console(world, user, [PASSWORD, PASSWORD, app.code, ""])
    assert len(set(codes_on(world, seen.screen))) == 10, seen.screen
    assert app.token.secret != secret


@contextmanager
def patience(world: World, key: str, seconds: int) -> Iterator[None]:
    """Set how long sshd or login wait, meanwhile."""
    path = "/etc/login.defs" if key.isupper() else "/etc/ssh/sshd_config"
    before = world.machine.read(path)
    kept = [line for line in before.splitlines() if key not in line]
    try:
        world.machine.write(path, "\n".join([f"{key} {seconds}", *kept, ""]))
        world.machine.run("systemctl", "reload", "ssh")
        yield
    finally:
        world.machine.write(path, before)
        world.machine.run("systemctl", "reload", "ssh")


def test_the_journal_holds_nothing_that_was_on_a_screen(world: World) -> None:
    journal = world.machine.journal()
    assert "enrolled user=user" in journal
    assert [secret for secret in world.secrets if secret in journal] == []
