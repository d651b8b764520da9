"""Enrolment in the middle of a login, through the real ssh and its sshd, and through login: every sentence of it."""

import json
import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from module.pam_login import AUTH_ERR, MAXTRIES, SUCCESS, Login
from rig.host import CODE_ONLY, PASSWORD_THEN_CODE, Host, Token, pam_service, run
from rig.people import converse, ssh
from rig.screen import photograph, picture, scan, sentences

from .conftest import PASSWORD, World
from .test_control import call
from .test_faults import restarted

PROVE = "Account password or enrolment ticket: "
RACERS = 8
HANDED_ON = PASSWORD_THEN_CODE.replace("pam_otpd.so", "pam_otpd.so try_first_pass")
SETTINGS = """
[service.sshd]
unenrolled = "enrol-at-login"
tries = 2

[service.login]
unenrolled = "enrol-at-login"
qr = "ascii"

[service.plain]
unenrolled = "enrol-at-login"
qr = "off"
"""


@pytest.fixture(scope="module", autouse=True)
def enrolling(world: World) -> Iterator[None]:
    with restarted(world.host, world.host.settings + SETTINGS):
        yield


@pytest.fixture
def port(host: Host) -> Iterator[int]:
    yield host.start_sshd(pam=HANDED_ON)
    host.stop("sshd")


def secret_on(screen: str) -> str:
    found = re.search(r"type this secret into it: ([A-Z2-7 ]+)", screen)
    assert found, screen
    return found[1].replace(" ", "").strip()


def app(world: World, user: str, token: Token) -> "Code":
    return Code(world, user, token)


class Code:
    """What the app shows once the secret on the screen was scanned; ``token`` learns it."""

    def __init__(self, world: World, user: str, token: Token) -> None:
        self.world, self.user, self.token = world, user, token

    def __call__(self, screen: str) -> str:
        self.token.secret = secret_on(screen)
        self.token.renew = lambda: self.world.host.forget_steps(self.user)
        self.world.secrets.add(self.token.secret)
        return self.token.code()


def codes_on(world: World, screen: str) -> list[str]:
    codes = re.findall(r"\b[0-9a-z]{4}-[0-9a-z]{4}-[0-9a-z]{4}\b", screen)
    world.secrets |= set(codes)
    return codes


def test_the_transcript(world: World, port: int, tmp_path: Path) -> None:
    """Password, QR code, code, recovery codes, in; each sentence of it."""
    user, token = world.person()
    seen = ssh(port, user, [PASSWORD, app(world, user, token), ""], command="echo let in")
    assert seen.succeeded, seen.screen
    codes = codes_on(world, seen.screen)
    name = f"({user}@127.0.0.1)"
    groups = " ".join(re.findall("....", token.secret))
    assert sentences(seen.screen) == [
        f"{name} Password:",
        name,
        "Set up your second factor: scan this with the authenticator app on your phone.",
        f"Or type this secret into it: {groups}",
        "Code that the app shows now:",
        name,
        "Activated. From now on, logging in here takes a code of the app.",
        "If the phone is gone, each of these recovery codes works once instead of a code:",
        "Write them down and keep them away from the phone. They are not shown again.",
        "New ones: otpctl recovery-codes",
        "Press Enter to go on:",
        "let in",
    ]
    assert len(set(codes)) == 10
    assert max(len(line) for line in seen.screen.splitlines()) <= 80
    for light in (False, True):
        photograph(picture(seen.screen), tmp_path / "qr.png", light=light)
        assert f"secret={token.secret}&" in scan(tmp_path / "qr.png", light=light)
    # From now on the code is asked for; the recovery codes work; the code that activated it is spent.
    assert not ssh(port, user, [PASSWORD, token.at(token.last_step)]).succeeded
    assert ssh(port, user, [PASSWORD, token.code()]).succeeded
    assert ssh(port, user, [PASSWORD, codes[0]]).succeeded
    assert call(user, "status")[1]["recovery_codes"] == 9
    log = world.host.log("otpd")
    assert f"enrolled user={user} service=sshd token=" in log
    assert f'accepted user={user} service=sshd rhost=127.0.0.1 reason=accepted detail="enrolled token' in log


def test_a_client_in_the_c_locale_can_type_the_secret(world: World, port: int) -> None:
    user, token = world.person()
    options = ["-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null", "-o", "LogLevel=ERROR"]
    command = ["env", "LC_ALL=C", "ssh", "-F", "none", "-p", str(port), *options, f"{user}@127.0.0.1", "echo let in"]
    seen = converse(command, [PASSWORD, app(world, user, token), ""])
    assert seen.succeeded, seen.screen
    assert seen.screen.isascii()
    assert len(codes_on(world, seen.screen)) == 10


def test_a_dropped_connection_leaves_the_user_as_before(world: World, port: int) -> None:
    user, token = world.person()
    before = call(user, "status")[1]
    secrets = []
    for _ in range(2):
        seen = ssh(port, user, [PASSWORD])  # and gone, at the prompt for the code
        secrets.append(secret_on(seen.screen))
        world.secrets.add(secrets[-1])
        assert call(user, "status")[1] == before
        assert "No such object" in world.host.ldap_error("ldapsearch", "-b", f"uid={user},ou=otpd")
    assert secrets[0] != secrets[1], "the next login starts afresh"
    assert ssh(port, user, [PASSWORD, app(world, user, token), ""]).succeeded


def test_gone_before_the_recovery_codes_were_read(world: World, port: int) -> None:
    user, token = world.person()
    seen = ssh(port, user, [PASSWORD, app(world, user, token)])
    assert not seen.succeeded
    assert len(codes_on(world, seen.screen)) == 10
    assert ssh(port, user, [PASSWORD, token.code()]).succeeded, "the token is active"


def test_two_at_once(world: World, port: int) -> None:
    """One is activated; the other is told why, and gets in with a code of the one that was."""
    user, token = world.person()
    first = Token("")

    def enrol_elsewhere(screen: str) -> str:
        assert ssh(port, user, [PASSWORD, app(world, user, first), ""]).succeeded
        return app(world, user, token)(screen)

    seen = ssh(port, user, [PASSWORD, enrol_elsewhere, lambda _: first.code()])
    assert seen.succeeded, seen.screen
    assert sentences(seen.screen)[5:] == [
        f"({user}@127.0.0.1)",
        "Another enrolment, or a reset, came between, so this one was not activated.",
        "Remove it from the app. If you enrolled elsewhere just now, type a code of that.",
        "Verification code:",
        "let in",
    ]
    assert len(call(user, "status")[1]["tokens"]) == 1
    assert not ssh(port, user, [PASSWORD, token.code()]).succeeded


def test_eight_at_once_with_one_ticket(world: World) -> None:
    """One is activated and let in; each of the others is told why it was not."""
    user, _ = world.person()
    for number in range(int(os.environ.get("OTPD_ROUNDS", "10"))):
        ticket = json.loads(run("otpctl", "user", "reset", user, "--ticket", "--json"))["ticket"]["secret"]
        world.secrets.add(ticket)
        logins, apps = [], []
        for _ in range(RACERS):
            logins.append(world.login("plain", user))
            apps.append(Token(secret_of(world, logins[-1], ticket)))
        for login, token in zip(logins, apps, strict=True):
            login.type(f"text {token.code()}")
            login.type("text ")  # once the recovery codes were read; to the others, it is no code
        told = [(result.code, "\n".join(text for _, text in result.messages)) for result in map(Login.finish, logins)]
        for _, text in told:
            codes_on(world, text)
        winners = [text for code, text in told if code == SUCCESS]
        assert len(winners) == 1, (number, told)
        assert "Activated. From now on" in winners[0]
        late = ("Another enrolment, or a reset, came between,", "The enrolment ticket was used meanwhile.")
        assert all(any(why in text for why in late) for code, text in told if code != SUCCESS), (number, told)
        assert len(call(user, "status")[1]["tokens"]) == 1


def secret_of(world: World, login: Login, proof: str) -> str:
    """Give the proof, and read the secret that is shown then."""
    login.wait_for("conversation")
    login.type(f"text {proof}")
    shown = "\n".join(message["text"] for message in login.wait_for("conversation")["messages"])
    found = re.search(r"\n  ([A-Z2-7 ]+)", shown)
    assert found, shown
    secret = found[1].replace(" ", "")
    world.secrets.add(secret)
    return secret


def test_wrong_codes(world: World, port: int) -> None:
    user, token = world.person()

    def wrong(screen: str) -> str:
        token.secret = secret_on(screen)
        world.secrets.add(token.secret)
        return token.wrong()

    seen = ssh(port, user, [PASSWORD, wrong, wrong, app(world, user, token), ""])
    assert seen.succeeded, seen.screen
    assert seen.screen.count("Wrong code. Check that the clock of your phone is right, and try the next one.") == 2
    assert seen.screen.count("scan this") == 1, "the QR code is still on the screen"
    assert call(user, "status")[1]["failures"] == 0
    other, token = world.person()
    seen = ssh(port, other, [PASSWORD, *[wrong] * 5])
    assert not seen.succeeded
    assert call(other, "status")[1]["enrolled"] is False
    codes_on(world, seen.screen)


class TestProof:
    """Nobody enrols who has not proved the account password, or holds a ticket, whatever the stack says."""

    def test_a_stack_that_checks_nothing(self, world: World, host: Host) -> None:
        port = host.start_sshd(pam=CODE_ONLY)
        user, token = world.person()
        seen = ssh(port, user, ["wrong", "wrong again"])
        assert not seen.succeeded
        assert sentences(seen.screen) == [
            f"({user}@127.0.0.1)",
            "You have no second factor yet, and logging in here takes one. Set it up now:",
            "you need a phone with an authenticator app.",
            "Account password or enrolment ticket:",
            f"({user}@127.0.0.1)",
            "This was not accepted.",
            "Account password or enrolment ticket:",
            f"{user}@127.0.0.1: Permission denied (publickey).",
        ]
        assert "secret" not in seen.screen
        assert f'proof user={user} service=sshd reason="wrong account password"' in host.log("otpd")
        seen = ssh(port, user, [PASSWORD, app(world, user, token), ""])
        assert seen.succeeded, seen.screen
        codes_on(world, seen.screen)
        host.stop("sshd")

    def test_a_wrong_password_that_the_stack_let_pass(self, world: World) -> None:
        user, _ = world.person()
        pam_service("plain", HANDED_ON.replace("requisite", "optional"))
        seen = converse(["pamtester", "plain", user, "authenticate"], ["wrong", "wrong"])
        assert not seen.succeeded
        assert seen.prompts == ("Password: ", PROVE, PROVE)
        assert "type this secret" not in seen.screen

    def test_what_cannot_ask_or_show_enrols_nobody(self, world: World) -> None:
        user, _ = world.person()
        assert world.outcome("plain", user, arguments="use_first_pass") == AUTH_ERR
        pam_service("sudo", PASSWORD_THEN_CODE)
        login = world.login("plain", user)
        assert login.wait_for("conversation")["messages"][-1]["text"] == PROVE
        login.finish()

    def test_unknown_and_enrolled_users_see_the_ordinary_prompt(self, world: World, alice: tuple[str, Token]) -> None:
        for name in (alice[0], "nobody-of-that-name"):
            login = world.login("plain", name)
            assert login.wait_for("conversation")["messages"][-1]["text"] == "Verification code: "
            login.finish()

    def test_a_disabled_user_enrols_nothing(self, world: World) -> None:
        user, _ = world.person()
        run("otpctl", "user", "disable", user)
        assert world.outcome("plain", user, "123456", "", "") == MAXTRIES

    def test_disabled_in_between(self, world: World) -> None:
        user, token = world.person()
        login = world.login("plain", user)
        token.secret = secret_of(world, login, PASSWORD)
        run("otpctl", "user", "disable", user)
        login.type(f"text {token.code()}")
        assert login.finish().code == AUTH_ERR


def test_without_a_picture(world: World) -> None:
    user, token = world.person()
    login = world.login("plain", user)
    login.type(f"text {PASSWORD}")
    login.wait_for("conversation")
    texts_shown = [message["text"] for message in login.wait_for("conversation")["messages"]]
    assert texts_shown[0].splitlines()[:2] == [
        "", "Set up your second factor: type this secret into the authenticator app on your phone."
    ]  # fmt: skip
    token.secret = texts_shown[0].splitlines()[2].replace(" ", "")
    world.secrets.add(token.secret)
    login.type(f"text {token.code()}")
    for message in login.wait_for("conversation")["messages"]:
        codes_on(world, message["text"])
    login.type("text ")
    assert login.finish().code == SUCCESS


def test_at_a_console(world: World, tmp_path: Path) -> None:
    """``login`` itself, on a pty, with a QR code in ASCII, of which each line is within 80 columns."""
    user, token = world.person()
    run("usermod", "--shell", "/bin/true", user)  # so that the session ends
    pam_service("login", HANDED_ON)
    seen = converse(["login", "-h", "console.example.org", user], [PASSWORD, app(world, user, token), ""], seconds=30)
    assert len(codes_on(world, seen.screen)) == 10, seen.screen
    lines = seen.screen.splitlines()
    assert max(map(len, lines)) <= 80
    photograph(picture(seen.screen), tmp_path / "qr.png")
    assert f"secret={token.secret}&" in scan(tmp_path / "qr.png")
    assert call(user, "status")[1]["enrolled"] is True


def test_messages_keep_to_the_limits_of_pam(world: World) -> None:
    user, token = world.person()
    login = world.login("sshd", user)
    login.type(f"text {PASSWORD}")
    login.wait_for("conversation")
    messages = login.wait_for("conversation")["messages"]
    assert len(messages) <= 32
    assert max(len(message["text"].encode()) for message in messages) < 512
    assert "info" in {message["style"] for message in messages}
    app(world, user, token)("\n".join(message["text"] for message in messages))
    login.finish()
