"""What somebody who may write to the directory tries: to move a sealed value to where it opens a door for them.

Every value is bound to its user, its entry and its purpose. Where one was moved, the login is refused, and the log
names the entry, and never the value.
"""

import json
from dataclasses import dataclass

import pytest
from module.pam_login import AUTH_ERR, AUTHINFO_UNAVAIL, SUCCESS
from rig.host import Token, run

from .conftest import World
from .test_control import call, enrol_another
from .test_lost_phone import recovery_codes


@dataclass
class Person:
    """An enrolled user with two devices, recovery codes and two app passwords: all that is sealed."""

    name: str
    token: Token
    codes: list[str]
    passwords: list[dict[str, str]]

    @classmethod
    def settle(cls, world: World) -> "Person":
        name, token = world.person(enrolled=True)
        enrol_another(name, token)
        make = ["otpctl", "app-password", "create", "--json", "--user", name, "--service", "imap"]
        return cls(name, token, recovery_codes(world, name, token), [json.loads(run(*make)) for _ in range(2)])

    @property
    def tokens(self) -> list[str]:
        return [one["id"] for one in call(self.name, "status")[1]["tokens"]]


ATTRIBUTE = {"token": "otpdSealedSeed", "app password": "otpdSealedDigest", "recovery": "otpdSealedRecoveryCode"}


def sealed(world: World, user: str, entry: str, kind: str) -> list[str]:
    where = f"otpdId={entry},uid={user},ou=otpd"
    found = world.host.ldap("ldapsearch", "-LLL", "-b", where, "-s", "base", ATTRIBUTE[kind])
    return [line.partition(": ")[2] for line in found.splitlines() if line.startswith(ATTRIBUTE[kind])]


def put(world: World, user: str, entry: str, kind: str, *values: str) -> None:
    attribute = ATTRIBUTE[kind]
    lines = "".join(f"{attribute}: {value}\n" for value in values)
    change = f"changetype: modify\nreplace: {attribute}\n{lines}"
    world.host.ldap("ldapmodify", stdin=f"dn: otpdId={entry},uid={user},ou=otpd\n{change}")


@pytest.fixture(scope="module")
def victim(world: World) -> Person:
    return Person.settle(world)


@pytest.fixture(scope="module")
def mallory(world: World) -> Person:
    return Person.settle(world)


KINDS = list(ATTRIBUTE)
MOVES = [(owner, kind, target) for owner in ("mallory", "victim") for kind in KINDS for target in KINDS]
MOVES.remove(("victim", "recovery", "recovery"))  # that is where it stands


@pytest.mark.parametrize(("owner", "kind", "target"), MOVES)
def test_a_moved_value_does_not_open(
    world: World, victim: Person, mallory: Person, owner: str, kind: str, target: str
) -> None:
    """From another user, another entry, another purpose, and all of them at once, to each place."""
    person = mallory if owner == "mallory" else victim
    sources = {"token": person.tokens[1], "app password": person.passwords[1]["id"], "recovery": "recovery-codes"}
    targets = {"token": victim.tokens[0], "app password": victim.passwords[0]["id"], "recovery": "recovery-codes"}
    value = sealed(world, person.name, sources[kind], kind)[0]
    before = sealed(world, victim.name, targets[target], target)
    # What opens mallory's door, or a door of the victim's own, is typed at the victim's.
    opens = victim.passwords[0]["password"]
    typed = {"token": mallory.token.code(), "app password": opens, "recovery": mallory.codes[0]}
    seen = world.host.log("otpd").splitlines()
    put(world, victim.name, targets[target], target, value)
    try:
        service = "imap" if target == "app password" else "anything"
        assert world.outcome(service, victim.name, typed[target]) == AUTHINFO_UNAVAIL
        log = "\n".join(line for line in world.host.log("otpd").splitlines() if line not in seen)
        assert f"of {victim.name}" in log
        assert "does not open with key k1" in log
        assert value not in log
        assert value.partition(".")[2][:16] not in log
    finally:
        put(world, victim.name, targets[target], target, *before)


def test_a_widened_app_password_opens_nothing(world: World, victim: Person) -> None:
    """The services are a part of what is sealed: a writer to the directory cannot let a mail password in by ssh."""
    one = victim.passwords[0]
    change = "changetype: modify\nadd: otpdService\notpdService: smtp\n"
    world.host.ldap("ldapmodify", stdin=f"dn: otpdId={one['id']},uid={victim.name},ou=otpd\n{change}")
    try:
        for service in ("smtp", "imap"):
            assert world.outcome(service, victim.name, one["password"]) == AUTH_ERR
        assert 'reason="wrong app password"' in world.host.log("otpd")
    finally:
        change = change.replace("add:", "delete:")
        world.host.ldap("ldapmodify", stdin=f"dn: otpdId={one['id']},uid={victim.name},ou=otpd\n{change}")


def test_the_same_people_still_get_in(world: World, victim: Person) -> None:
    assert world.outcome("anything", victim.name, victim.token.code()) == SUCCESS
    assert world.outcome("imap", victim.name, victim.passwords[0]["password"]) == SUCCESS
    assert world.outcome("imap", victim.name, victim.passwords[1]["password"]) == SUCCESS
    assert world.outcome("anything", victim.name, victim.codes[0]) == SUCCESS
