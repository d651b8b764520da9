"""German where it is wanted, English elsewhere, and in the journal: through ssh, otpctl and control.sock."""

import threading
from collections.abc import Iterator

import pytest
from rig.host import Host, Token, run
from rig.people import converse, ssh
from rig.screen import sentences

from .conftest import PASSWORD, World
from .test_control import call
from .test_enrol_at_login import HANDED_ON, Code
from .test_faults import restarted

SETTINGS = """
[service.sshd]
unenrolled = "enrol-at-login"
language = "de"
"""
GERMAN = {"LANG": "de_DE.UTF-8", "LC_ALL": "", "LANGUAGE": "de"}


@pytest.fixture(scope="module", autouse=True)
def german(world: World) -> Iterator[None]:
    with restarted(world.host, world.host.settings + SETTINGS):
        yield


@pytest.fixture
def port(host: Host) -> Iterator[int]:
    yield host.start_sshd(pam=HANDED_ON)
    host.stop("sshd")


def test_an_enrolment_at_a_login(world: World, port: int) -> None:
    user, token = world.person()

    def first(screen: str) -> str:
        secret = screen.rpartition("Geheimnis hinein: ")[2].splitlines()[0]
        return Code(world, user, token)(f"type this secret into it: {secret}")

    seen = ssh(port, user, [PASSWORD, first, ""])
    assert seen.succeeded, seen.screen
    groups = " ".join(token.secret[at : at + 4] for at in range(0, len(token.secret), 4))
    assert sentences(seen.screen)[2:] == [
        "Zweiter Faktor: lesen Sie dies mit der Authenticator-App Ihres Telefons ein.",
        f"Oder tippen Sie dieses Geheimnis hinein: {groups}",
        "Code, den die App jetzt zeigt:",
        f"({user}@127.0.0.1)",
        "Aktiviert. Von jetzt an braucht eine Anmeldung hier einen Code der App.",
        "Ist das Telefon weg, gilt statt eines Codes jeder von diesen einmal:",
        "Schreiben Sie sie auf, fern vom Telefon. Sie erscheinen nicht noch einmal.",
        "Neue: otpctl recovery-codes",
        "Weiter mit der Eingabetaste:",
        "let in",
    ]
    assert max(len(line) for line in seen.screen.splitlines()) <= 80
    again = ssh(port, user, [PASSWORD, token.wrong(), token.code()])
    assert again.succeeded
    assert "Das wurde nicht angenommen." in again.screen
    assert f"({user}@127.0.0.1) Bestätigungscode: " in again.screen
    log = world.host.log("otpd")
    assert f'"asking again" user={user}' in log or f"asking again user={user}" in log
    assert 'reason="wrong code"' in log
    assert "Falscher" not in log


def test_otpctl_and_what_otpd_answers_it(world: World, alice: tuple[str, Token]) -> None:
    user, _token = alice
    seen = converse(["otpctl", "status"], [], user, environment=GERMAN)
    assert "Sie haben einen zweiten Faktor." in seen.screen
    seen = converse(["otpctl", "token", "remove", "0"], [], user, environment=GERMAN)
    assert "otpctl: Es gibt kein Token mit dieser id. Siehe: otpctl token list" in seen.screen
    assert "There is no token of that id." in converse(["otpctl", "token", "remove", "0"], [], user).screen
    assert "reason=no-such-token" in world.host.log("otpd-control")
    assert "Beispiel:" in run("otpctl", "enroll", "--help", env={"LANGUAGE": "de", "PATH": "/usr/local/bin:/usr/bin"})


def test_each_request_is_answered_in_its_own_language(alice: tuple[str, Token]) -> None:
    """Though the same workers answer all of them."""
    user, _token = alice
    wanted = {"de": "Das darf nur root.", "en": "Only root may do this.", "../de": "Only root may do this."}
    wrong: list[str] = []

    def ask(language: str) -> None:
        for _round in range(10):
            message = call(user, "reset", language=language)[1]["message"]
            if message != wanted[language]:
                wrong.append(message)

    threads = [threading.Thread(target=ask, args=(language,)) for language in wanted]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
