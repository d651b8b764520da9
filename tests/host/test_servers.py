"""What a login is answered, and when, while one of the directory's servers is away; docs/directory.md has the table."""

import json
import os
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from module.pam_login import AUTHINFO_UNAVAIL, SUCCESS, Login
from rig.host import LDAPI, Host, Token, run

from .conftest import SETTINGS, World
from .test_faults import restarted

SILENT = Path("/run/otpd-silent")
SILENT_URI = "ldapi://%2Frun%2Fotpd-silent"
DEADLINE_SECONDS = 5


@pytest.fixture
def silent() -> Iterator[None]:
    """A server that takes connections and says nothing."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(SILENT))
        SILENT.chmod(0o666)
        listener.listen(64)
        yield
    SILENT.unlink()


def servers(uris: list[str], provider: str) -> str:
    return f"{SETTINGS}\n[directory]\nuris = {json.dumps(uris)}\nprovider = {json.dumps(provider)}\n"


def outcome(world: World, service: str, user: str, answer: str) -> tuple[int, float]:
    """The PAM return code, and how long it took from the answer on."""
    login: Login = world.login(service, user)
    login.wait_for("conversation")
    login.type(f"text {answer}")
    result = login.finish()
    return result.code, result.seconds


def app_password(user: str) -> str:
    made = json.loads(run("otpctl", "app-password", "create", "--service", "imap", "--user", user, "--json"))
    password: str = made["password"]
    return password


@pytest.mark.parametrize("megabytes", [0, 64])
def test_a_replica_hangs(world: World, host: Host, alice: tuple[str, Token], silent: None, megabytes: int) -> None:
    """The first app password waits for half of the time, those after it do not; codes and the cache ask no replica."""
    user, token = alice
    password = app_password(user)
    wait = 0 if megabytes else DEADLINE_SECONDS / 2
    with restarted(host, servers([SILENT_URI, LDAPI], LDAPI) + f"[cache]\nmegabytes = {megabytes}\n"):
        for typed, service, least, most in (
            (token.code(), "anything", 0, 1),
            (password, "imap", wait, wait + 1),
            (password, "imap", 0, 1),
        ):
            code, seconds = outcome(world, service, user, typed)
            assert code == SUCCESS
            assert least <= seconds < most


def test_the_provider_hangs(world: World, host: Host, alice: tuple[str, Token], silent: None) -> None:
    """What only reads goes on: app passwords. What must write does not: codes, right and wrong."""
    user, token = alice
    password = app_password(user)
    with restarted(host, servers([LDAPI, SILENT_URI], SILENT_URI)):
        assert outcome(world, "imap", user, password)[0] == SUCCESS
        for typed in (token.code(), token.wrong()):
            code, seconds = outcome(world, "anything", user, typed)
            assert code == AUTHINFO_UNAVAIL
            assert seconds < DEADLINE_SECONDS + 1


def test_the_provider_refuses_connections(world: World, host: Host, alice: tuple[str, Token]) -> None:
    user, token = alice
    password = app_password(user)
    nobody = "ldapi://%2Frun%2Fotpd-nobody"
    assert not os.path.lexists("/run/otpd-nobody")
    with restarted(host, servers([nobody, LDAPI], nobody)):
        assert outcome(world, "imap", user, password)[0] == SUCCESS
        for typed in (token.code(), token.wrong()):
            code, seconds = outcome(world, "anything", user, typed)
            assert code == AUTHINFO_UNAVAIL
            assert seconds < 1


def test_directory_check(host: Host) -> None:
    """The embedded directory has all that a check looks for, and the check leaves nothing in it."""
    reply = json.loads(run("otpctl", "directory", "check", "--json"))
    assert reply["well"]
    seen = run("otpctl", "directory", "check")
    assert seen.count("  ok   ") == len(reply["findings"]) == 11
    assert "otpd-check" not in host.ldap("ldapsearch", "-LLL", "-b", "ou=otpd", "dn")


def test_directory_check_sees_the_indexes_of_the_embedded_directory(host: Host) -> None:
    """Root may read its configuration, and is asked for no password; who says who else reads it, is."""
    change = "dn: olcDatabase={1}mdb,cn=config\nchangetype: modify\ndelete: olcDbIndex\nolcDbIndex: otpdId eq\n"
    root = ["ldapmodify", "-Q", "-Y", "EXTERNAL", "-H", LDAPI]
    run(*root, stdin=change)
    done = subprocess.run(["otpctl", "directory", "check"], text=True, capture_output=True, check=False)
    run(*root, stdin=change.replace("delete:", "add:"))
    assert done.returncode == 1
    assert f" FAULT {LDAPI}: indexes: olcDatabase={{1}}mdb,cn=config lacks otpdId eq\n" in done.stdout
    command = ["otpctl", "directory", "check", "--admin-dn", "cn=admin,cn=config"]
    for typed, code, says in (("typed", 1, "bind was refused"), ("", 2, "takes a password")):
        done = subprocess.run(command, input=f"{typed}\n", text=True, capture_output=True, check=False)
        assert (done.returncode, "typed" in done.stdout) == (code, False)
        assert says in done.stdout + done.stderr


def test_directory_check_finds_a_server_that_hangs(host: Host, silent: None) -> None:
    with restarted(host, servers([LDAPI, SILENT_URI], LDAPI)):
        done = subprocess.run(["otpctl", "directory", "check"], text=True, capture_output=True, check=False)
    assert done.returncode == 1
    assert f" FAULT {SILENT_URI}: answer: " in done.stdout
    assert f"  ok   {LDAPI}: schema" in done.stdout


def test_directory_check_is_for_root(alice: tuple[str, Token]) -> None:
    done = subprocess.run(
        ["otpctl", "directory", "check"], text=True, capture_output=True, check=False, user=alice[0], cwd="/"
    )
    assert (done.returncode, done.stdout) == (77, "")
