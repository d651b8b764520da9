"""Losing a phone, and what helps: recovery codes, a second device, root."""

import json
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from module.pam_login import AUTH_ERR, SUCCESS, Login
from rig.host import Token, run
from rig.people import codes_on, converse

from .conftest import PASSWORD, World
from .test_control import call, enrol_another


def recovery_codes(world: World, user: str, token: Token) -> list[str]:
    codes: list[str] = call(user, "recovery-codes", proof=token.code())[1]["recovery_codes"]
    world.secrets |= set(codes)
    return codes


def test_each_recovery_code_opens_once_where_a_code_does(world: World, alice: tuple[str, Token]) -> None:
    user, token = alice
    codes = recovery_codes(world, user, token)
    assert len(set(codes)) == 10
    for number, code in enumerate(codes):
        login = world.login("anything", user)
        typed = (code, code.upper(), code.replace("-", ""), code.replace("-", " "), f" {code} ")[number % 5]
        login.type(f"text {typed}")
        result = login.finish()
        assert result.code == SUCCESS
        left = 9 - number
        told = [text for style, text in result.messages if style == "info"]
        assert told
        assert (f"{left} of them" if left else "None is left.") in told[0]
        assert ("Make new ones" in told[0]) == (left <= 3)
        assert world.outcome("anything", user, code) == AUTH_ERR, "a second time"
    log = world.host.log("otpd")
    for left in range(10):
        assert f'accepted user={user} service=anything reason=accepted detail="recovery code, {left} left"' in log
    assert 'reason="wrong or used recovery code"' in log


def test_ssh_tells_of_a_recovery_code_before_the_shell(world: World, alice: tuple[str, Token]) -> None:
    user, token = alice
    code = recovery_codes(world, user, token)[0]
    port = world.host.start_sshd()
    options = ["-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null", "-o", "LogLevel=ERROR"]
    seen = converse(
        ["sh", "-c", 'sleep 6 | ssh -tt -F none "$@"', "sh", "-p", str(port), *options, f"{user}@127.0.0.1"],
        [PASSWORD, code],
        seconds=8,
    )
    world.host.stop("sshd")
    assert "You used a recovery code. 9 of them are left." in seen.screen


def test_a_typo_in_a_recovery_code_is_no_guess(world: World, alice: tuple[str, Token]) -> None:
    user, token = alice
    code = recovery_codes(world, user, token)[0]
    wrong = ("1" if code[0] == "0" else "0") + code[1:]
    login = world.login("patient", user)
    login.type(f"text {wrong}")
    login.type(f"text {code}")
    result = login.finish()
    assert result.code == SUCCESS
    assert ("info", "There is a typo in it.") in result.messages
    assert call(user, "status")[1]["failures"] == 0


def test_wrong_recovery_codes_are_guesses(world: World, alice: tuple[str, Token]) -> None:
    user, token = alice
    others = recovery_codes(world, user, token)
    recovery_codes(world, user, token)  # the ones before become invalid
    for code in others[:3]:
        assert world.outcome("anything", user, code) == AUTH_ERR
    assert call(user, "status")[1]["failures"] == 3
    assert call(user, "status")[1]["recovery_codes"] == 10


def test_eight_offer_one_recovery_code(world: World) -> None:
    user, token = world.person(enrolled=True)
    codes = recovery_codes(world, user, token)
    for code in codes:
        logins: list[Login] = []
        for _ in range(8):
            login = world.login("race", user)
            login.wait_for("conversation")
            logins.append(login)
        for login in logins:
            login.type(f"text {code}")
        assert [login.finish().code for login in logins].count(SUCCESS) == 1
        world.host.forget_failures(user)


def test_with_a_recovery_code_to_a_new_phone(world: World, alice: tuple[str, Token]) -> None:
    user, token = alice
    old = call(user, "status")[1]["tokens"][0]["id"]
    codes = recovery_codes(world, user, token)
    begun = call(user, "enrol-begin", proof=codes[0], label="new phone")[1]
    new = Token(begun["secret"])
    assert call(user, "enrol-confirm", ticket=begun["ticket"], code=new.code())[0] == "ok"
    assert call(user, "token-remove", id=old, proof=codes[1])[0] == "ok"
    assert world.outcome("anything", user, token.code()) == AUTH_ERR
    assert world.outcome("anything", user, new.code()) == SUCCESS
    # The account password alone never was enough.
    assert call(user, "enrol-begin", proof=PASSWORD)[1]["reason"] == "proof-refused"


def test_the_last_device_stays_unless_root_removes_it(world: World, alice: tuple[str, Token]) -> None:
    user, token = alice
    only = call(user, "status")[1]["tokens"][0]["id"]
    for verb in ("token-remove", "token-disable"):
        assert call(user, verb, id=only, proof=token.code())[1]["reason"] == "last-token"
    run("otpctl", "token", "remove", only, "--user", user)
    assert call(user, "status")[1]["enrolled"] is False
    assert call(user, "enrol-begin")[1]["kind"] == "code", "the recovery codes are left, and the password is not enough"
    assert "Set one up, with a recovery code as proof" in run("otpctl", "status", user=user)


@pytest.mark.parametrize("verb", ["token-remove", "token-disable"])
def test_two_devices_do_not_go_at_the_same_moment(world: World, alice: tuple[str, Token], verb: str) -> None:
    """Each with a code of the other: who is left without any could not log in any more."""
    user, one = alice
    for _ in range(10):
        begun = call("root", "enrol-begin", user=user)[1]
        other = Token(begun["secret"], renew=lambda: world.host.forget_steps(user))
        world.secrets.add(other.secret)
        assert call("root", "enrol-confirm", user=user, ticket=begun["ticket"], code=other.code())[0] == "ok"
        first, second = (device["id"] for device in call("root", "status", user=user)[1]["tokens"])
        with ThreadPoolExecutor(2) as pool:
            gone = [
                pool.submit(call, user, verb, id=device, proof=code)
                for device, code in ((first, other.code()), (second, one.code()))
            ]
            reasons = [going.result() for going in gone]
        left = [device for device in call("root", "status", user=user)[1]["tokens"] if device["state"] == "active"]
        assert left, reasons
        run("otpctl", "user", "unlock", user)
        for device in call("root", "status", user=user)[1]["tokens"]:
            if device["id"] != left[0]["id"]:
                assert call("root", "token-remove", user=user, id=device["id"])[0] == "ok"
        one = one if left[0]["id"] == first else other


def test_disabling_one_device_leaves_the_other(world: World, alice: tuple[str, Token]) -> None:
    user, token = alice
    first = enrol_another(user, token)
    assert call(user, "token-disable", id=first, proof=token.code())[0] == "ok"
    assert world.outcome("anything", user, token.code()) == AUTH_ERR
    # Disabling and enabling the user as a whole does not bring it back.
    run("otpctl", "user", "disable", user)
    assert [one["state"] for one in call(user, "status")[1]["tokens"]].count("suspended") == 1
    for command in (["user", "show", user], ["status", "--user", user], ["token", "list", "--user", user]):
        assert "suspended" in run("otpctl", *command), "who is disabled is who root looks at"
    run("otpctl", "user", "enable", user)
    assert sorted(one["state"] for one in call(user, "status")[1]["tokens"]) == ["active", "disabled"]
    assert world.outcome("anything", user, token.code()) == AUTH_ERR
    assert call("root", "token-enable", user=user, id=first)[0] == "ok"
    assert world.outcome("anything", user, token.code()) == SUCCESS


def test_a_disabled_user_recovers_nothing(world: World, alice: tuple[str, Token]) -> None:
    user, token = alice
    codes = recovery_codes(world, user, token)
    run("otpctl", "user", "disable", user)
    assert world.outcome("anything", user, codes[0]) == AUTH_ERR
    assert call(user, "enrol-begin", proof=codes[0])[1]["reason"] == "disabled"
    run("otpctl", "user", "enable", user)
    assert world.outcome("anything", user, codes[0]) == SUCCESS


def test_renaming(alice: tuple[str, Token]) -> None:
    user, token = alice
    only = call(user, "status")[1]["tokens"][0]["id"]
    assert call(user, "token-rename", id=only, label="\u00dcber phone", proof=token.code())[0] == "ok"
    assert call(user, "status")[1]["tokens"][0]["label"] == "\u00dcber phone"
    assert "\u00dcber phone" in run("otpctl", "token", "list", "--user", user)


@pytest.mark.parametrize("verb", ["token-rename", "token-disable", "token-enable", "token-remove"])
def test_an_id_that_is_no_token_costs_no_code(world: World, alice: tuple[str, Token], verb: str) -> None:
    user, token = alice
    recovery_codes(world, user, token)
    made = json.loads(run("otpctl", "app-password", "create", "--service", "imap", "--user", user, "--json"))
    code = token.code()
    for other in ("nonsense", made["id"], "recovery-codes", "*"):
        assert call(user, verb, id=other, proof=code)[1]["reason"] == "no-such-token"
    assert world.outcome("anything", user, code) == SUCCESS


def test_a_ticket_does_not_outlive_what_proved_it(world: World, alice: tuple[str, Token]) -> None:
    user, token = alice
    begun = call(user, "enrol-begin", proof=token.code())[1]
    run("otpctl", "user", "reset", user)
    confirmed = call(user, "enrol-confirm", ticket=begun["ticket"], code=Token(begun["secret"]).code())
    assert confirmed[1]["reason"] == "overtaken"


@pytest.mark.parametrize("verb", ["token-remove", "token-disable"])
def test_nor_does_it_outlive_the_device_that_did(world: World, alice: tuple[str, Token], verb: str) -> None:
    """Who found the phone may have begun to enrol their own with it before its owner removes it."""
    user, found = alice
    begun = call(user, "enrol-begin", proof=found.code())[1]
    beside = call(user, "enrol-begin", proof=found.code())[1]
    first = enrol_another(user, found)
    code = Token(beside["secret"]).code()
    assert call(user, "enrol-confirm", ticket=beside["ticket"], code=code)[0] == "ok", "another that is added ends none"
    assert call("root", verb, user=user, id=first)[0] == "ok"
    code = Token(begun["secret"]).code()
    assert call(user, "enrol-confirm", ticket=begun["ticket"], code=code)[1]["reason"] == "overtaken"


def test_tokens_at_their_owners_terminal(world: World, alice: tuple[str, Token]) -> None:
    user, token = alice
    first = enrol_another(user, token)
    codes = recovery_codes(world, user, token)

    def otpctl(*words: str) -> str:
        seen = converse(["otpctl", "token", *words], [codes.pop()], user)
        assert seen.succeeded, seen.screen
        assert seen.prompts == ("Current verification code: ",)
        return seen.screen

    assert "Renamed: old phone" in otpctl("rename", first, "old phone")
    assert "old phone" in run("otpctl", "token", "list", user=user)
    assert f"Undo: otpctl token enable {first}" in otpctl("disable", first)
    assert world.outcome("anything", user, token.code()) == AUTH_ERR
    assert "accepted again" in otpctl("enable", first)
    assert world.outcome("anything", user, token.code()) == SUCCESS
    assert "refused for good" in otpctl("remove", first)
    assert world.outcome("anything", user, token.code()) == AUTH_ERR
    (last,) = call(user, "status")[1]["tokens"]
    seen = converse(["otpctl", "token", "remove", last["id"]], [], user)
    assert (seen.succeeded, seen.prompts) == (False, ()), "and no code is asked for"
    assert "ask your administrator" in seen.screen


def test_at_a_terminal(world: World, alice: tuple[str, Token]) -> None:
    user, token = alice
    seen = converse(["otpctl", "recovery-codes"], [token.code(), ""], user)
    assert seen.succeeded, seen.screen
    assert "Write them down" in seen.screen
    lines = codes_on(seen.screen)
    assert len(lines) == 10
    world.secrets |= set(lines)
    assert f"Recovery codes that {user} has left: 10" in run("otpctl", "status", "--user", user)
    done = subprocess.run(["otpctl", "recovery-codes", "--user", user], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, "")


def test_nothing_of_them_is_in_the_directory(world: World, alice: tuple[str, Token]) -> None:
    user, token = alice
    codes = recovery_codes(world, user, token)
    database = Path("/var/lib/otpd-directory/data/data.mdb").read_bytes()
    for code in codes:
        assert code.encode() not in database
        assert code.replace("-", "")[:10].encode() not in database


def test_reset_forgets_all_even_of_an_account_that_is_gone(world: World, alice: tuple[str, Token]) -> None:
    user, token = alice
    codes = recovery_codes(world, user, token)
    made = json.loads(run("otpctl", "app-password", "create", "--service", "imap", "--user", user, "--json"))
    enrol_another(user, token)
    code = token.code()
    run("otpctl", "user", "reset", user)
    for service, typed in (("anything", code), ("anything", codes[0]), ("imap", made["password"])):
        assert world.outcome(service, user, typed) == AUTH_ERR
    assert call(user, "status")[1]["enrolled"] is False
    assert call("root", "reset", user=user)[0] == "ok"
    token = world.enroll_self(user)
    assert world.outcome("anything", user, token.code()) == SUCCESS
    run("userdel", user)
    assert call("root", "status", user=user)[1]["reason"] == "no-such-user"
    run("otpctl", "user", "reset", user)
    assert "No such object" in world.host.ldap_error("ldapsearch", "-b", f"uid={user},ou=otpd")
