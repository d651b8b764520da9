"""Remembered devices: from where somebody gave a code, none is asked for again for a while; and what ends that."""

import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from module.pam_login import AUTH_ERR, SUCCESS, Login
from rig.host import Token, run
from rig.people import as_user

from otpd import remembered
from otpd.adapters import config
from otpd.adapters.key_file import read_key_ring
from otpd.daemon import compose
from otpd.protocol import Answer, Ask, Begin, Done, Request, decode_reply, encode_request
from otpd.remembered import _digest as digest
from otpd.seal import KeyRing
from otpd.secret import Secret
from otpd.values import EntryId, UserName

from .conftest import World, eventually
from .test_completion import bash
from .test_control import CONTROL, call, enrol_another, send
from .test_faults import restarted
from .test_keys import RING, directory, soon
from .test_lost_phone import recovery_codes

HERE, THERE = "192.0.2.7", "192.0.2.8"
POLICY = """
[service.shell-a]
remember_hours = 12
remember_group = "shell"
tries = 1

[service.shell-b]
remember_hours = 12
remember_group = "shell"
tries = 1

[service.alone]
remember_hours = 12
tries = 1
"""


@pytest.fixture(scope="module", autouse=True)
def policy(world: World) -> Iterator[None]:
    with restarted(world.host, world.host.settings + POLICY):
        yield


def login(world: World, service: str, user: str, rhost: str, *answers: str) -> tuple[int, int]:
    """The PAM return code, and how many prompts came."""
    world.login(service, user).finish()  # writes the stack
    one = Login([world.driver, "-r", rhost, "/etc/pam.d", service, user])
    for answer in answers:
        one.type(f"text {answer}")
    result = one.finish()
    return result.code, sum(style.startswith("echo") for style, _ in result.messages)


def devices(user: str) -> list[dict[str, object]]:
    found: list[dict[str, object]] = call("root", "device-list", user=user)[1]["devices"]
    return found


def remember(world: World, user: str, token: Token, service: str = "shell-a", rhost: str = HERE) -> None:
    before = devices(user)
    if before:
        time.sleep(1.1)  # one that takes the place of another differs in when it was made, in whole seconds
    assert login(world, service, user, rhost, token.code()) == (SUCCESS, 1)
    assert eventually(lambda: devices(user) != before)


def is_asked(world: World, user: str, service: str = "shell-a", rhost: str = HERE) -> bool:
    code, prompts = login(world, service, user, rhost, "000000")
    assert (code, prompts) in ((SUCCESS, 0), (AUTH_ERR, 1))
    run("otpctl", "user", "unlock", user)
    return prompts == 1


def test_the_same_address_and_services_and_no_others(world: World, alice: tuple[str, Token]) -> None:
    user, token = alice
    assert is_asked(world, user)
    remember(world, user, token)
    assert not is_asked(world, user)
    assert not is_asked(world, user, "shell-b")
    assert not is_asked(world, user, "shell-a", f"::ffff:{HERE}")
    assert is_asked(world, user, "alone")
    assert is_asked(world, user, "anything"), "a service that remembers nobody"
    for rhost in (THERE, "host.example.org", ""):
        assert is_asked(world, user, "shell-a", rhost)
    other, _ = world.person(enrolled=True)
    assert is_asked(world, other)
    assert f"accepted user={user} service=shell-b" in world.host.log("otpd")
    assert "remembered device" in world.host.log("otpd")
    assert call(user, "device-list")[1]["devices"] == devices(user)
    assert call(user, "device-list")[1]["devices"] == devices(user)
    shown = run("otpctl", "device", "list", "--user", user)
    assert HERE in shown
    assert "shell" in shown


def test_it_ends_in_time(world: World, alice: tuple[str, Token]) -> None:
    user, token = alice
    remember(world, user, token)
    [device] = devices(user)
    assert isinstance(device["expires"], int)
    assert abs(device["expires"] - time.time() - 12 * 3600) < 60
    # Who writes to the directory makes nothing last longer, or begin anew.
    for attribute, value in (("otpdExpires", "20991231000000Z"), ("otpdService", "alone"), ("otpdAddress", THERE)):
        dn = f"otpdId={device['id']},uid={user},ou=otpd"
        old = world.host.ldap("ldapsearch", "-LLL", "-b", dn, "-s", "base", attribute).partition(f"{attribute}: ")[2]
        for given, asked in ((value, True), (old.split()[0], False)):
            change = f"changetype: modify\nreplace: {attribute}\n{attribute}: {given}\n"
            world.host.ldap("ldapmodify", stdin=f"dn: {dn}\n{change}")
            assert eventually(lambda asked=asked: is_asked(world, user) == asked), attribute  # type: ignore[misc]


def test_each_service_goes_by_its_own_hours(world: World, alice: tuple[str, Token]) -> None:
    """Whoever remembered somebody for longer, and whatever was the rule when they did."""
    user, token = alice
    remember(world, user, token)
    made_before(user, 2 * 3600)
    assert eventually(lambda: not is_asked(world, user, "shell-b"))
    shorter = POLICY.replace("remember_hours = 12", "remember_hours = 1", 1)  # of shell-a
    with restarted(world.host, world.host.settings.replace(POLICY, shorter)):
        assert is_asked(world, user, "shell-a")
        assert not is_asked(world, user, "shell-b")


def made_before(user: str, seconds: int) -> None:
    """Let the user's device have been remembered that long ago, as otpd would have written it then."""
    as_user("otpd", write_again, user, seconds, read_key_ring(RING))


def write_again(user: str, seconds: int, ring: KeyRing) -> None:
    name, here = UserName(user), directory()
    [device], known = here.devices(name, soon()), here.user(name, soon())
    assert known
    device = replace(device, created=device.created - seconds, expires=device.expires - seconds)
    sealed = ring.seal(remembered.DEVICE_PURPOSE, (name, device.id), digest(known, device))
    here.put_device(name, replace(device, sealed_digest=sealed), soon())


def test_nobody_is_remembered_where_their_own_program_says_they_are(world: World, alice: tuple[str, Token]) -> None:
    """Through control.sock, which does not know where a login comes from."""
    user, token = alice

    def reply(request: Request) -> object:
        return decode_reply(as_user(user, send, CONTROL, encode_request(request))[0])

    asked = reply(Begin(user=user, service="shell-a", rhost=THERE))
    assert isinstance(asked, Ask)
    assert reply(Answer(dialogue=asked.dialogue, text=Secret(token.code().encode()))) == Done(verdict="accept")
    remember(world, user, token)
    assert [device["address"] for device in devices(user)] == [HERE], "what was to be remembered first is not"
    assert isinstance(reply(Begin(user=user, service="shell-a", rhost=HERE)), Ask)


def test_forgetting(world: World, alice: tuple[str, Token]) -> None:
    user, token = alice
    remember(world, user, token)
    remember(world, user, token, rhost=THERE)
    first = next(device for device in devices(user) if device["address"] == HERE)
    assert str(first["id"]) in bash(f"otpctl device forget --user {user} ")
    run("otpctl", "device", "forget", str(first["id"]), "--user", user)
    assert is_asked(world, user)
    assert not is_asked(world, user, rhost=THERE)
    run("otpctl", "device", "forget", "--all", "--user", user)
    assert is_asked(world, user, rhost=THERE)
    assert devices(user) == []
    assert call(user, "device-forget", id=str(first["id"]))[1]["reason"] == "no-such-device"


def test_what_becomes_of_a_token_ends_it(world: World, alice: tuple[str, Token]) -> None:
    user, token = alice
    remember(world, user, token)
    first = enrol_another(user, token)
    assert devices(user) == []
    assert is_asked(world, user), "another device was added"
    third = enrol_beside(user, token)
    remember(world, user, token)
    run("otpctl", "token", "remove", third, "--user", user)
    assert devices(user) == []
    assert is_asked(world, user), "another token was removed"
    for verb, undo in (("token-disable", "token-enable"), ("disable", "enable")):
        world.host.forget_steps(user)
        token.last_step = 0
        remember(world, user, token)
        body = {"id": first} if verb.startswith("token") else {}
        for step in (verb, undo):
            assert call("root", step, user=user, **body)[0] == "ok"
            if step == verb and not body:
                assert login(world, "shell-a", user, HERE, "000000")[0] == AUTH_ERR
            else:
                assert is_asked(world, user), step
    assert devices(user) == []


def enrol_beside(user: str, token: Token) -> str:
    """One more token; its id."""
    before = tokens(user)
    enrol_another(user, token)
    (new,) = tokens(user) - before
    return new


def tokens(user: str) -> set[str]:
    return {one["id"] for one in call(user, "status")[1]["tokens"]}


def test_nobody_is_remembered_for_a_token_that_went_meanwhile(world: World, alice: tuple[str, Token]) -> None:
    """A login writes the entry when it is over: a thief's, whom its owner outran by removing that token."""
    user, token = alice
    first = call(user, "status")[1]["tokens"][0]["id"]
    second = enrol_beside(user, token)
    run("otpctl", "token", "remove", first, "--user", user)
    for gone, known in ((first, False), (second, True)):
        as_user("otpd", remember_late, user, gone, read_key_ring(RING))
        assert bool(devices(user)) == known
        assert is_asked(world, user) != known


def remember_late(user: str, token: str, ring: KeyRing) -> None:
    parts = compose(config.load(Path("/etc/otpd/otpd.toml")), ring, ["control"]).dialogue.parts
    remembered.remember(parts, UserName(user), EntryId(token), "shell", HERE, 3600.0, soon())


def test_a_recovery_code_is_not_remembered(world: World, alice: tuple[str, Token]) -> None:
    user, token = alice
    codes = recovery_codes(world, user, token)
    assert login(world, "shell-a", user, HERE, codes[0])[0] == SUCCESS
    assert is_asked(world, user)
    assert devices(user) == []


def test_a_damaged_entry_locks_nobody_out(world: World, alice: tuple[str, Token]) -> None:
    user, token = alice
    remember(world, user, token)
    [device] = devices(user)
    change = "changetype: modify\nreplace: otpdSealedDigest\notpdSealedDigest: k1.AAAA\n"
    world.host.ldap("ldapmodify", stdin=f"dn: otpdId={device['id']},uid={user},ou=otpd\n{change}")
    assert eventually(lambda: is_asked(world, user))
    assert login(world, "shell-a", user, HERE, token.code())[0] == SUCCESS
