"""Enrolment: what is shown can be scanned, what is scanned gives right codes, and of many at once one is activated."""

import multiprocessing
import re
import subprocess
import time
from pathlib import Path

import pytest
from module.pam_login import SUCCESS
from rig.host import PERIOD_SECONDS, Token, run
from rig.people import Seen, converse
from rig.screen import photograph, picture, scan

from otpd import qr

from .conftest import PASSWORD, World
from .test_control import call


def enrol_at_a_terminal(user: str, *codes: str) -> Seen:
    return converse(["otpctl", "enroll"], [PASSWORD, *codes], user)


def test_the_qr_code_is_the_uri(world: World, tmp_path: Path) -> None:
    user, _ = world.person()
    seen = enrol_at_a_terminal(user)
    photograph(picture(seen.screen), tmp_path / "qr.png")
    uri = scan(tmp_path / "qr.png")
    secret = secret_on(seen.screen)
    world.secrets.add(secret)
    assert uri == f"otpauth://totp/otpd%20test:{user}?secret={secret}&issuer=otpd%20test"
    assert len({len(row) for row in picture(seen.screen)}) == 1, "80 columns hold it"


def test_qr_codes_of_all_lengths_scan(tmp_path: Path) -> None:
    for length in (1, 20, 60, 120, 250):
        content = "otpauth://totp/" + "x" * length
        for text in (qr.to_text(content), qr.to_ascii(content)):
            photograph(text.split("\n"), tmp_path / "qr.png")
            assert scan(tmp_path / "qr.png") == content
            photograph(text.split("\n"), tmp_path / "qr.png", light=True)
            assert scan(tmp_path / "qr.png", light=True) == content


def test_codes_of_an_independent_generator(world: World) -> None:
    user, _ = world.person()
    status, begun = call(user, "enrol-begin", proof=PASSWORD)
    assert status == "ok"
    world.secrets.add(begun["secret"])
    code = run("oathtool", "--totp", "--base32", "-", stdin=begun["secret"] + "\n").strip()
    assert call(user, "enrol-confirm", ticket=begun["ticket"], code=code)[0] == "ok"
    world.host.forget_steps(user)
    code = run("oathtool", "--totp", "--base32", "-", stdin=begun["secret"] + "\n").strip()
    assert world.outcome("anything", user, code) == SUCCESS


def test_only_a_right_code_activates(world: World) -> None:
    user, _ = world.person()
    _, begun = call(user, "enrol-begin", proof=PASSWORD)
    token = Token(begun["secret"])
    for wrong in ("", "12345", "abcdef", token.wrong()):
        assert call(user, "enrol-confirm", ticket=begun["ticket"], code=wrong)[1]["reason"] == "wrong-code"
    assert call(user, "status")[1]["enrolled"] is False
    code = token.code()
    assert world.outcome("anything", user, code) != SUCCESS, "before it is activated"
    assert call(user, "enrol-confirm", ticket=begun["ticket"], code=code)[0] == "ok"
    assert world.outcome("anything", user, code) != SUCCESS, "the code that activated it is spent"
    assert world.outcome("anything", user, token.code()) == SUCCESS


def test_an_enrolment_that_is_broken_off_leaves_nothing(world: World) -> None:
    user, _ = world.person()
    enrol_at_a_terminal(user)
    assert call(user, "status")[1] == {
        "user": user, "enrolled": False, "disabled": False, "failures": 0, "wait_seconds": 0, "tokens": [],
        "recovery_codes": 0, "app_passwords": 0, "grants": [],
    }  # fmt: skip
    assert "No such object" in world.host.ldap_error("ldapsearch", "-b", f"uid={user},ou=otpd")


def test_of_two_first_enrolments_one_is_activated_and_the_other_told_why(world: World) -> None:
    user, _ = world.person()
    begun = [call(user, "enrol-begin", proof=PASSWORD)[1] for _ in range(2)]
    codes = [Token(one["secret"]).code() for one in begun]
    assert call(user, "enrol-confirm", ticket=begun[1]["ticket"], code=codes[1])[0] == "ok"
    status, reply = call(user, "enrol-confirm", ticket=begun[0]["ticket"], code=codes[0])
    assert (status, reply["reason"]) == ("error", "overtaken")
    assert len(call(user, "status")[1]["tokens"]) == 1


def _confirm(arguments: tuple[str, str, str]) -> bool:
    user, ticket, code = arguments
    return call(user, "enrol-confirm", ticket=ticket, code=code)[0] == "ok"


def test_racing_first_enrolments(world: World) -> None:
    """Four enrolments, each confirmed twice at once: one token."""
    with multiprocessing.Pool(8) as pool:
        for _ in range(10):
            user, _ = world.person()
            begun = [call(user, "enrol-begin", proof=PASSWORD)[1] for _ in range(4)]
            tasks = [(user, one["ticket"], Token(one["secret"]).code()) for one in begun] * 2
            assert sum(pool.map(_confirm, tasks, chunksize=1)) == 1
            assert len(call("root", "status", user=user)[1]["tokens"]) == 1


def test_a_second_token_works_beside_the_first(world: World, alice: tuple[str, Token]) -> None:
    user, token = alice
    _, begun = call(user, "enrol-begin", proof=token.code(), label="tablet")
    second = Token(begun["secret"])
    assert call(user, "enrol-confirm", ticket=begun["ticket"], code=second.code())[0] == "ok"
    for one in (token, second):
        assert world.outcome("anything", user, one.code()) == SUCCESS
    assert {one["label"] for one in call(user, "status")[1]["tokens"]} == {"", "tablet"}


@pytest.mark.parametrize("label", ["*)(uid=*", 'a,b=c+d"\\<>;#', "\u00dcber phone \U0001f4f1", " spaces ", "x" * 64])
def test_labels_are_kept_as_they_are(world: World, alice: tuple[str, Token], label: str) -> None:
    user, _ = alice
    _, begun = call("root", "enrol-begin", user=user, label=label)
    done = call("root", "enrol-confirm", user=user, ticket=begun["ticket"], code=Token(begun["secret"]).code())
    assert done[0] == "ok"
    assert label in [one["label"] for one in call(user, "status")[1]["tokens"]]


def test_codes_outside_the_window_are_wrong(world: World) -> None:
    user, token = world.person(enrolled=True)
    world.host.forget_steps(user)
    while time.time() % PERIOD_SECONDS > PERIOD_SECONDS - 4:
        time.sleep(0.5)
    now = int(time.time()) // PERIOD_SECONDS
    inside = [token.at(now + offset) for offset in (-1, 0, 1)]
    for offset in (-3, -2, 2, 3):
        if token.at(now + offset) not in inside:
            assert world.outcome("anything", user, token.at(now + offset)) != SUCCESS
    for code in inside:
        assert world.outcome("anything", user, code) == SUCCESS


def test_enrolling_by_hand_is_the_transcript_of_the_readme(world: World) -> None:
    user, _ = world.person()
    code = lambda screen: Token(secret_on(screen)).code()  # noqa: E731
    seen = converse(["otpctl", "enroll"], [PASSWORD, "000000", code, ""], user)
    assert seen.succeeded, seen.screen
    assert seen.prompts[:2] == ("Account password: ", "Code that the app shows now: ")
    assert "Wrong code." in seen.screen
    assert "Activated." in seen.screen
    world.secrets.add(secret_on(seen.screen))


def secret_on(screen: str) -> str:
    found = re.search(r"type the secret:\s+([A-Z2-7 ]+)", screen)
    assert found
    return found[1].replace(" ", "").strip()


def test_the_output_for_programs_is_two_objects(world: World, alice: tuple[str, Token]) -> None:
    command = ["otpctl", "enroll", "--json", "--user", alice[0]]
    done = subprocess.run(command, input="000000\n", text=True, capture_output=True, check=False)
    assert done.returncode == 1
    first, second = done.stdout.splitlines()
    assert '"secret"' in first
    assert '"error": "wrong-code"' in second
