"""What a login is answered, and when, while one of the directory's servers is away; docs/directory.md has the table."""

import json
import os
import socket
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


def test_a_replica_hangs(world: World, host: Host, alice: tuple[str, Token], silent: None) -> None:
    """The first login waits for half of the time, those after it do not."""
    user, token = alice
    with restarted(host, servers([SILENT_URI, LDAPI], LDAPI)):
        assert world.outcome("anything", user, token.code()) == SUCCESS
        code, seconds = outcome(world, "anything", user, token.code())
        assert code == SUCCESS
        assert seconds < 1


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
