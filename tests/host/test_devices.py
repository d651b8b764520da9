"""Devices of every kind, through real logins: other algorithms, hardware keys, clocks that are wrong."""

import functools
import json
import re
import time
from dataclasses import dataclass, field
from typing import Any

import pyotp
import pytest
from module.pam_login import AUTH_ERR, SUCCESS
from rig.host import PERIOD_SECONDS, Token, run
from rig.people import converse

from otpd.enrolment import first_token_id

from .conftest import PASSWORD, World
from .test_control import call

SEEDS = {"sha1": b"1234567890" * 2, "sha256": b"1234567890" * 3 + b"12", "sha512": b"1234567890" * 6 + b"1234"}


def oathtool(*arguments: str, seed: bytes) -> str:
    return run("oathtool", *arguments, "-", stdin=seed.hex() + "\n").strip()


def enrol(world: World, user: str, code: Any, **chosen: str) -> dict[str, Any]:
    """Enrol with the codes of a device that ``code`` reads when the seed is there."""
    status, begun = call("root", "enrol-begin", user=user, **chosen)
    assert status == "ok", begun
    if "secret" in begun:
        world.secrets.add(begun["secret"])
    status, done = call("root", "enrol-confirm", user=user, ticket=begun["ticket"], code=code(begun))
    assert status == "ok", done
    return begun


def token_of(user: str) -> dict[str, Any]:
    tokens: list[dict[str, Any]] = call("root", "status", user=user)[1]["tokens"]
    return tokens[-1]


@pytest.mark.parametrize("algorithm", ["sha1", "sha256", "sha512"])
@pytest.mark.parametrize(("digits", "period"), [(6, 30), (7, 15), (8, 60)])
def test_every_algorithm_with_an_independent_generator(world: World, algorithm: str, digits: int, period: int) -> None:
    user, _ = world.person()
    seed = SEEDS[algorithm]

    def code(_begun: object = None) -> str:
        options = (f"--totp={algorithm}", f"--digits={digits}", f"--time-step-size={period}s")
        return oathtool(*options, seed=seed)

    chosen = {"algorithm": algorithm, "digits": str(digits), "period": str(period)}
    begun = enrol(world, user, code, seed="hex:" + seed.hex(), **chosen)
    assert "secret" not in begun, "who gave it knows it"
    world.host.forget_steps(user)
    typed = code()
    assert world.outcome("anything", user, typed) == SUCCESS
    assert world.outcome("anything", user, typed) == AUTH_ERR
    world.host.forget_steps(user)
    assert world.outcome("one", user, PASSWORD + code()) == SUCCESS
    shown = token_of(user)
    assert (shown["algorithm"], shown["digits"], shown["period_seconds"]) == (algorithm, digits, period)
    assert f"TOTP, {algorithm.upper()}, {digits} digits, one every {period} s" in run(
        "otpctl", "status", "--user", user
    )


def test_what_is_chosen_is_in_the_qr_code(world: World) -> None:
    user, _ = world.person()
    chosen = {"algorithm": "sha256", "digits": "8", "period": "60"}

    def code(begun: dict[str, Any]) -> str:
        parsed = pyotp.parse_uri(begun["uri"])
        assert (parsed.digits, parsed.interval, len(parsed.byte_secret())) == (8, 60, 32)
        return str(parsed.now())

    enrol(world, user, code, **chosen)


@pytest.mark.parametrize(
    ("chosen", "reason"),
    [
        ({"algorithm": "md5"}, "bad-parameter"),
        ({"digits": "5"}, "bad-parameter"),
        ({"digits": "9"}, "bad-parameter"),
        ({"period": "14"}, "bad-parameter"),
        ({"period": "-30"}, "bad-parameter"),
        ({"kind": "hotp", "period": "30"}, "bad-parameter"),
        ({"kind": "sms"}, "bad-parameter"),
        ({"seed": "MZXW6"}, "bad-seed"),
        ({"seed": "not base32!"}, "bad-seed"),
    ],
)
def test_what_cannot_be_chosen_costs_no_code(
    world: World, alice: tuple[str, Token], chosen: dict[str, str], reason: str
) -> None:
    user, token = alice
    code = token.code()
    assert call(user, "enrol-begin", proof=code, **chosen)[1]["reason"] == reason
    assert world.outcome("anything", user, code) == SUCCESS


@dataclass
class Key:
    """A hardware key: it counts, whether its codes are used or not."""

    seed: bytes = SEEDS["sha1"]
    counter: int = 0
    given: list[str] = field(default_factory=list)

    def press(self, times: int = 1) -> str:
        for _ in range(times):
            self.given.append(oathtool("--hotp", f"--counter={self.counter}", seed=self.seed))
            self.counter += 1
        return self.given[-1]


@pytest.fixture
def key(world: World) -> tuple[str, Key]:
    user, _ = world.person()
    made = Key()
    enrol(world, user, lambda _: made.press(), kind="hotp", seed="hex:" + made.seed.hex())
    return user, made


def test_each_code_of_a_key_opens_once_and_in_order(world: World, key: tuple[str, Key]) -> None:
    user, made = key
    assert world.outcome("anything", user, made.given[0]) == AUTH_ERR, "the one that activated it"
    skipped = made.press()
    code = made.press()
    assert world.outcome("anything", user, code) == SUCCESS
    assert world.outcome("anything", user, code) == AUTH_ERR
    assert 'reason="code already used"' in world.host.log("otpd")
    assert world.outcome("anything", user, skipped) == AUTH_ERR, "the counter only grows"
    assert world.outcome("one", user, PASSWORD + made.press()) == SUCCESS
    shown = token_of(user)
    assert (shown["kind"], shown["period_seconds"], shown["clock"]) == ("hotp", None, "")


def test_a_key_that_is_far_ahead_is_resynchronised(world: World, key: tuple[str, Key]) -> None:
    user, made = key
    made.press(10)
    assert world.outcome("anything", user, made.press()) == SUCCESS, "ten were not used"
    made.press(11)
    assert world.outcome("anything", user, made.press()) == AUTH_ERR
    first, second = made.press(), made.press()
    assert call(user, "resync", code=second, next=first)[1]["reason"] == "wrong-code"
    assert call(user, "status")[1]["failures"] == 2, "both are counted"
    assert converse(["otpctl", "resync"], [first, second], user).succeeded
    assert call(user, "status")[1]["failures"] == 0
    for used in (first, second):
        assert world.outcome("anything", user, used) == AUTH_ERR
    assert world.outcome("anything", user, made.press()) == SUCCESS


def test_a_key_that_was_used_elsewhere_is_enrolled_by_two_codes(world: World) -> None:
    user, _ = world.person()
    made = Key(counter=500)
    answers = ["hex:" + made.seed.hex(), PASSWORD, lambda _: made.press(), lambda _: made.press(), ""]
    seen = converse(["otpctl", "enroll", "--hotp", "--import", "--label", "key"], answers, user)
    assert seen.succeeded, seen.screen
    assert made.seed.hex() not in seen.screen
    assert "Activated." in seen.screen
    assert world.outcome("anything", user, made.press()) == SUCCESS


def test_nobody_makes_a_counter_of_a_clock(world: World, alice: tuple[str, Token]) -> None:
    """Who writes to the directory, and saw an old code, would get in with it again."""
    user, token = alice
    step = int(time.time()) // PERIOD_SECONDS - 1000
    dn = f"otpdId={first_token_id(user)},uid={user},ou=otpd"  # type: ignore[arg-type]
    entry = world.host.ldap("ldapsearch", "-LLL", "-b", dn)
    kept = [line for line in entry.splitlines() if line and "TOTP" not in line and "objectClass" not in line]
    changed = "\n".join([*kept, "objectClass: otpdHotpToken", f"oathHOTPCounter: {step - 1}"]) + "\n"
    world.host.ldap("ldapdelete", dn)
    world.host.ldap("ldapadd", stdin=changed)
    assert world.outcome("anything", user, token.at(step)) != SUCCESS
    assert "does not open" in world.host.log("otpd")


def at_a_quiet_moment() -> int:
    """The time step, with seconds left in it."""
    while time.time() % PERIOD_SECONDS > PERIOD_SECONDS - 8:
        time.sleep(0.5)
    return int(time.time()) // PERIOD_SECONDS


def test_the_drift_of_a_clock_is_learned(world: World, alice: tuple[str, Token]) -> None:
    user, token = alice
    world.host.forget_steps(user)
    now = at_a_quiet_moment()
    for offset in (1, 2, 3, 4):
        assert world.outcome("anything", user, token.at(now + offset)) == SUCCESS, offset
    assert world.outcome("anything", user, token.at(now + 5)) == AUTH_ERR, "what is learned has a bound"
    assert world.outcome("anything", user, token.at(now + 1)) == AUTH_ERR, "the window is no wider"
    assert token_of(user)["clock"] == "2 minutes fast"


def test_a_clock_that_is_far_off_is_resynchronised(world: World, alice: tuple[str, Token]) -> None:
    user, token = alice
    world.host.forget_steps(user)
    slow = at_a_quiet_moment() - 40
    assert world.outcome("anything", user, token.at(slow)) == AUTH_ERR
    answers = [token.at(slow + 1), token.at(slow + 2)]
    seen = converse(["otpctl", "resync"], answers, user)
    assert seen.succeeded, seen.screen
    assert re.search(r"Its clock is (19|20) minutes slow, which is allowed for", seen.screen)
    assert world.outcome("anything", user, answers[0]) == AUTH_ERR
    assert world.outcome("anything", user, answers[1]) == AUTH_ERR
    assert world.outcome("anything", user, token.at(slow + 3)) == SUCCESS
    assert "minutes slow" in run("otpctl", "status", "--user", user)


def test_the_owner_is_told_at_the_shell_and_nobody_at_a_login(world: World, alice: tuple[str, Token]) -> None:
    user, token = alice
    world.host.forget_steps(user)
    now = at_a_quiet_moment()
    login = world.login("patient", user)
    for code in (token.at(now + 6), "nonsense", "nonsense"):
        login.type(f"text {code}")
    assert not [text for _, text in login.finish().messages if "clock" in text]
    assert f"{first_token_id(user)}, whose clock is off by +180 s" in world.host.log("otpd")  # type: ignore[arg-type]
    reply = call(user, "recovery-codes", proof=token.at(now + 6))[1]
    assert (reply["reason"], reply["message"]) == (
        "proof-refused", "The clock of your device is 3 minutes fast. Run: otpctl resync. Or set it, and wait as long.",
    )  # fmt: skip
    assert call(user, "status")[1]["failures"] == 2, "it is a wrong code all the same"
    # A guesser who is told so must have nothing of it later.
    assert token_of(user)["last_used"] is None
    entry = world.host.ldap("ldapsearch", "-LLL", "-b", f"uid={user},ou=otpd", "oathTOTPLastTimeStep")
    assert f"oathTOTPLastTimeStep: {now + 6}" in entry
    assert call(user, "recovery-codes", proof=token.at(now + 6))[1]["message"] == "Wrong code.", "it is told once"


def test_who_enrols_is_told_of_a_wrong_clock(world: World) -> None:
    user, _ = world.person()
    begun = call(user, "enrol-begin", proof=PASSWORD)[1]
    world.secrets.add(begun["secret"])
    slow = Token(begun["secret"]).at(int(time.time()) // PERIOD_SECONDS - 6)
    reply = call(user, "enrol-confirm", ticket=begun["ticket"], code=slow)[1]
    assert re.match(r"The clock of your device is [34] minutes slow\. Set it", reply["message"])


def test_a_wrong_pair_is_a_guess_and_must_wait_like_one(world: World, alice: tuple[str, Token]) -> None:
    user, token = alice
    wrong = token.wrong()
    for _ in range(5):
        assert call(user, "resync", code=wrong, next=wrong)[1]["reason"] == "wrong-code"
    assert call(user, "status")[1]["failures"] == 5
    assert call(user, "resync", code="", next="12345")[1]["message"] == "This is not a code."
    assert call(user, "status")[1]["failures"] == 5, "what is no code is no guess"


def test_where_a_device_was_last_used_is_shown(world: World, alice: tuple[str, Token]) -> None:
    user, token = alice
    assert token_of(user)["last_used"] is None
    assert "never" in run("otpctl", "token", "list", "--user", user)
    assert world.outcome("anything", user, token.code()) == SUCCESS
    used = token_of(user)["last_used"]
    host = run("hostname").strip()
    assert (used["host"], used["service"]) == (host, "anything")
    assert 0 <= time.time() - used["at"] < 90
    assert used["at"] % 60 == 0
    for command in (("status",), ("token", "list")):
        assert f" on {host} for anything" in run("otpctl", *command, "--user", user)
    assert json.loads(run("otpctl", "status", "--json", "--user", user))["tokens"][0]["last_used"] == used
    assert call(user, "recovery-codes", proof=token.code())[0] == "ok"
    assert token_of(user)["last_used"]["service"] == "otpctl"


def test_codes_of_different_lengths_behind_a_password(world: World) -> None:
    """A password that ends in digits, and tokens of six and eight."""
    user, password = f"digits{next(world.numbers)}", "secret 42"
    world.host.add_user(user, password)
    token = world.host.enroll(user)
    token.renew = functools.partial(world.host.forget_steps, user)
    world.secrets.add(token.secret)
    seed = SEEDS["sha1"]

    def code(_begun: object = None) -> str:
        return oathtool("--totp", "--digits=8", seed=seed)

    enrol(world, user, code, digits="8", seed="hex:" + seed.hex())
    assert world.outcome("one", user, password + token.code()) == SUCCESS
    world.host.forget_steps(user)
    assert world.outcome("one", user, password + code()) == SUCCESS
