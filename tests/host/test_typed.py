"""What people type, as they type it, at every door where it can be typed."""

import itertools
import time
from collections.abc import Callable, Iterator

import pyotp
import pytest
from module.pam_login import AUTH_ERR, SUCCESS
from rig.host import Host, Token, pam_service, run
from rig.people import converse, ssh

from otpd import recovery, symbols, throttle

from .conftest import PASSWORD, World
from .test_app_passwords import make, opens
from .test_control import call
from .test_devices import at_a_quiet_moment
from .test_enrolment import secret_on
from .test_faults import restarted

WIDE = {ord("0") + number: 0xFF10 + number for number in range(10)}
FORMS: dict[str, Callable[[str], str]] = {
    "a space": lambda code: f"{code[:3]} {code[3:]}",
    "a hyphen": lambda code: f"{code[:3]}-{code[3:]}",
    "a trailing space": lambda code: f"{code} ",
    "full width": lambda code: code.translate(WIDE),
    "full width, and its space": lambda code: f"{code[:3]}\u3000{code[3:]}".translate(WIDE),
    "a no-break space": lambda code: f"{code[:3]}\u00a0{code[3:]}",
    "a dash": lambda code: f"{code[:3]}\u2013{code[3:]}",
}


@pytest.fixture(scope="module")
def port(world: World) -> Iterator[int]:
    yield world.host.start_sshd()
    world.host.stop("sshd")


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
class TestCodes:
    def test_at_logins(self, world: World, port: int, alice: tuple[str, Token], form: Callable[[str], str]) -> None:
        user, token = alice
        assert ssh(port, user, [PASSWORD, form(token.code())]).succeeded
        assert world.outcome("anything", user, form(token.code())) == SUCCESS
        assert world.outcome("one", user, PASSWORD + form(token.code())) == SUCCESS, "behind the password"
        assert world.outcome("one", user, PASSWORD + form(token.wrong())) == AUTH_ERR
        assert call(user, "status")[1]["failures"] == 1

    def test_at_a_shell(self, world: World, alice: tuple[str, Token], form: Callable[[str], str]) -> None:
        user, token = alice
        new = Token("")

        def code(screen: str) -> str:
            new.secret = secret_on(screen)
            world.secrets.add(new.secret)
            return form(new.code())

        seen = converse(["otpctl", "enroll", "--label", "tablet"], [form(token.code()), code], user)
        assert seen.succeeded, seen.screen
        world.host.forget_steps(user)
        now = at_a_quiet_moment()
        seen = converse(["otpctl", "resync"], [form(token.at(now)), form(token.at(now + 1))], user)
        assert seen.succeeded, seen.screen
        assert call(user, "status")[1]["failures"] == 0


def test_the_password_is_handed_on_as_it_was_typed(host: Host, alice: tuple[str, Token]) -> None:
    """A space between password and code is the password's."""
    user, token = alice
    run("chpasswd", stdin=f"{user}:spaced 12 \n")
    pam_service("one", "auth required pam_otpd.so forward_pass\nauth required pam_unix.so use_first_pass\n")
    for typed, ok in ((f"spaced 12 {FORMS['a space'](token.code())} ", True), (f"spaced 12{token.code()}", False)):
        assert converse(["pamtester", "one", user, "authenticate"], [typed]).succeeded == ok


def test_a_password_that_ends_in_digits_is_one_try(world: World, alice: tuple[str, Token]) -> None:
    """With devices of six and of eight digits, the code may be either; a wrong reading makes nobody wait."""
    user, token = alice
    begun = call("root", "enrol-begin", user=user, digits="8")[1]
    long = pyotp.TOTP(begun["secret"], digits=8)
    assert call("root", "enrol-confirm", user=user, ticket=begun["ticket"], code=long.now())[0] == "ok"
    run("chpasswd", stdin=f"{user}:spring26\n")
    for _ in range(throttle.FREE_FAILURES):
        assert world.outcome("one", user, "wrong000000") == AUTH_ERR
    time.sleep(throttle.wait_seconds(throttle.FREE_FAILURES) + 0.1)
    assert world.outcome("one", user, f"spring26{token.code()}") == SUCCESS
    world.host.forget_steps(user)
    assert world.outcome("one", user, f"spring26{long.now()}") == SUCCESS


TYPED: list[Callable[[str], str]] = [
    str.upper,
    lambda text: text.replace("-", ""),
    lambda text: text.replace("-", " "),
    lambda text: text.replace("-", "\u2013"),
    lambda text: f" {text} ",
    lambda text: "-".join(text.replace("-", "")),
    lambda text: "".join(chr(ord(one) + 0xFEE0) for one in text),
]


TWICE = '\n[service.twice]\naccept = ["app-password"]\ntries = 2\n'


class TestAppPasswords:
    def test_case_spaces_and_hyphens_do_not_matter(self, world: World, alice: tuple[str, Token]) -> None:
        user, _ = alice
        made = make(user)
        for number, change in enumerate(TYPED):
            assert opens(world, user, change(made["password"])), number

    def test_one_wrong_letter_is_a_typo_and_no_guess(self, world: World, alice: tuple[str, Token]) -> None:
        user, _ = alice
        with restarted(world.host, world.host.settings + TWICE):
            made = make(user, "--service", "twice")
            places = [place for place, one in enumerate(made["password"]) if one != "-"][len("otpd") :]
            wrong = [with_another(made["password"], place) for place in places]
            for one in wrong:
                assert not opens(world, user, one)
            assert world.host.log("otpd").count(f'user={user} service=imap reason="a typo in an app password') == 36
            login = world.login("twice", user)
            login.type(f"text {wrong[0]}")
            login.type(f"text {made['password']}")
            result = login.finish()
        assert result.code == SUCCESS, "after thirty-six of them"
        assert ("info", "There is a typo in it.") in result.messages
        assert call(user, "status")[1]["failures"] == 0


def test_recovery_codes_in_full_width_and_with_dashes(world: World, alice: tuple[str, Token]) -> None:
    user, token = alice
    codes = call(user, "recovery-codes", proof=token.code())[1]["recovery_codes"]
    world.secrets |= set(codes)
    for code, change in zip(codes, itertools.islice(TYPED, len(TYPED)), strict=False):
        assert recovery.looks_like_one(change(code).encode())
        assert world.outcome("anything", user, change(code)) == SUCCESS


def with_another(text: str, place: int) -> str:
    other = symbols.ALPHABET[(symbols.ALPHABET.index(text[place]) + 1) % len(symbols.ALPHABET)]
    return text[:place] + other + text[place + 1 :]
