"""App passwords as their owners manage them: from where and until when one opens, when it was last used."""

import json
import re
import time
from dataclasses import replace
from typing import Any

import pytest
from module.pam_login import AUTH_ERR, SUCCESS, Login
from rig.host import Token, pam_service, run
from rig.people import as_user, converse

from otpd import app_password
from otpd.adapters.key_file import read_key_ring
from otpd.directory import AppPasswordRecord
from otpd.factors.app_password import DIGEST_PURPOSE
from otpd.values import ServiceName, UserName

from .conftest import World, eventually
from .test_control import call
from .test_faults import restarted
from .test_keys import RING, directory, soon

DAY_SECONDS = 86400


def make(user: str, *options: str) -> dict[str, Any]:
    command = ["otpctl", "app-password", "create", "--json", "--user", user, "--service", "imap", *options]
    made: dict[str, Any] = json.loads(run(*command))
    return made


def opens(world: World, user: str, password: str, rhost: str | None = None) -> bool:
    pam_service("imap", "auth [success=ok default=die] pam_otpd.so\naccount required pam_permit.so\n")
    login = Login([world.driver, *(["-r", rhost] if rhost is not None else []), "/etc/pam.d", "imap", user])
    login.type(f"text {password}")
    code = login.finish().code
    assert code in (SUCCESS, AUTH_ERR)
    return code == SUCCESS


def one(user: str, app_id: str) -> dict[str, Any]:
    listed = call(user, "app-password-list")[1]["app_passwords"]
    found: dict[str, Any] = next(record for record in listed if record["id"] == app_id)
    return found


def put(user: str, **other: Any) -> str:
    """One that was made in another way than otpctl makes them today: long ago, say. Its text."""
    made = app_password.generate()
    record = AppPasswordRecord(made.id, "", frozenset([ServiceName("imap")]), time.time(), b"", **other)
    return store(user, record, made)


def store(user: str, record: AppPasswordRecord, made: app_password.AppPassword) -> str:
    ring = read_key_ring(RING)
    digest = ring.seal(DIGEST_PURPOSE, (user, made.id), app_password.digest(made, record.scope))
    as_user("otpd", add, user, replace(record, sealed_digest=digest))
    return app_password.to_text(made).reveal().decode()


def add(user: str, record: AppPasswordRecord) -> None:
    assert directory().add_app_password(UserName(user), record, soon())


def test_from_some_networks_alone(world: World, alice: tuple[str, Token]) -> None:
    user, _ = alice
    made = make(user, "--from", "192.0.2.7/24", "--from", "2001:db8::/32")
    assert made["networks"] == ["192.0.2.0/24", "2001:db8::/32"]
    for rhost in ("192.0.2.200", "::ffff:192.0.2.9", "2001:db8::1"):
        assert opens(world, user, made["password"], rhost), rhost
    for outside in (
        "192.0.3.1",
        "2001:db9::1",
        "::ffff:192.0.3.1",
        "mail.example.org",
        "192.0.2.1.example.org",
        "",
        None,
    ):
        assert not opens(world, user, made["password"], outside), outside
    assert 'reason="app password of another network"' in world.host.log("otpd")


@pytest.mark.parametrize("network", ["nonsense", "192.0.2.0/33", "*", "192.0.2.0/24,10.0.0.0/8"])
def test_what_is_no_network(alice: tuple[str, Token], network: str) -> None:
    reply = call("root", "app-password-create", user=alice[0], services="imap", networks=network)
    assert reply[1]["reason"] == "bad-parameter"


def test_until_its_day(world: World, alice: tuple[str, Token]) -> None:
    user, _ = alice
    made = make(user, "--days", "30")
    assert abs(made["expires"] - time.time() - 30 * DAY_SECONDS) < 60
    assert opens(world, user, made["password"])
    soon_over = put(user, expires=float(int(time.time()) + 3))
    assert opens(world, user, soon_over)
    assert eventually(lambda: not opens(world, user, soon_over))
    assert 'reason="expired app password"' in world.host.log("otpd")
    assert opens(world, user, made["password"])
    assert "expired" in run("otpctl", "app-password", "list", "--user", user)


@pytest.mark.parametrize("attribute", ["otpdExpires", "otpdNetwork"])
def test_who_writes_to_the_directory_lifts_no_limit(world: World, alice: tuple[str, Token], attribute: str) -> None:
    user, _ = alice
    made = make(user, "--days", "30", "--from", "192.0.2.0/24")
    dn = f"otpdId={made['id']},uid={user},ou=otpd"
    world.host.ldap("ldapmodify", stdin=f"dn: {dn}\nchangetype: modify\ndelete: {attribute}\n")
    assert not opens(world, user, made["password"], "192.0.2.1")
    assert 'reason="wrong app password"' in world.host.log("otpd")


def test_when_it_was_last_used_and_from_where(world: World, alice: tuple[str, Token]) -> None:
    user, _ = alice
    made = make(user, "--label", "laptop")
    assert one(user, made["id"])["last_use"] is None
    for rhost in ("192.0.2.7", "192.0.2.8", "192.0.2.9"):
        assert opens(world, user, made["password"], rhost)
        assert eventually(lambda: one(user, made["id"])["last_use"] is not None)
    use = one(user, made["id"])["last_use"]
    assert (use["service"], use["address"]) == ("imap", "192.0.2.7"), "written at most once a minute"
    assert use["at"] % 60 == 0
    assert abs(use["at"] - time.time()) < 130
    assert "192.0.2.7" in run("otpctl", "app-password", "list", "--user", user)


def test_without_use_it_ends_where_policy_says_so(world: World, alice: tuple[str, Token]) -> None:
    user, _ = alice
    made = app_password.generate()
    then = time.time() - 3 * DAY_SECONDS
    unused = store(user, AppPasswordRecord(made.id, "", frozenset([ServiceName("imap")]), then, b""), made)
    fresh = make(user)
    with restarted(world.host, world.host.settings + "\n[app_password]\nunused_days = 2\n"):
        assert not opens(world, user, unused)
        assert opens(world, user, fresh["password"])
        assert one(user, made.id)["expired"]
    assert opens(world, user, unused)


def test_renaming_and_revoking_all(world: World, alice: tuple[str, Token]) -> None:
    user, token = alice
    made = [make(user) for _ in range(3)]
    assert call(user, "app-password-rename", id=made[0]["id"], label="old laptop", proof=token.code())[0] == "ok"
    assert one(user, made[0]["id"])["label"] == "old laptop"
    assert opens(world, user, made[0]["password"])
    done, reply = call(user, "app-password-revoke-all", proof=token.code())
    assert (done, sorted(reply["ids"])) == ("ok", sorted(record["id"] for record in made))
    assert not any(opens(world, user, record["password"]) for record in made)
    assert call(user, "app-password-revoke-all")[1]["reason"] == "no-such-app-password", "and no code is asked for"


def test_at_their_owners_terminal(world: World, alice: tuple[str, Token]) -> None:
    user, token = alice
    for label in ("phone", "laptop"):
        seen = converse(
            ["otpctl", "app-password", "create", "--service", "imap", "--label", label], [token.code(), ""], user
        )
        assert seen.succeeded, seen.screen
        world.secrets |= set(re.findall(r"otpd(?:-[0-9a-z]{6}){6}", seen.screen))
    (first, second) = (record["id"] for record in call(user, "app-password-list")[1]["app_passwords"])
    for words, said in (
        (["rename", first, "old phone"], "Renamed: old phone"),
        (["revoke", first], f"Revoked: {first} opens nothing"),
        (["revoke-all"], f"Revoked: {second}. They open nothing"),
    ):
        seen = converse(["otpctl", "app-password", *words], [token.code()], user)
        assert seen.succeeded, seen.screen
        assert said in seen.screen
    assert "No app passwords." in run("otpctl", "app-password", "list", user=user)
    # An administrator sees what there is, and revokes it; what it is, nobody is told again.
    made = make(user, "--label", "tablet")
    assert "tablet" in run("otpctl", "user", "show", user)
    for shown in (["user", "show", user], ["app-password", "list", "--user", user]):
        assert made["password"][12:] not in run("otpctl", *shown) + run("otpctl", *shown, "--json")
    run("otpctl", "app-password", "revoke", made["id"], "--user", user)
    assert not opens(world, user, made["password"])


def test_the_limit_is_the_sites(world: World, alice: tuple[str, Token]) -> None:
    user, _ = alice
    with restarted(world.host, world.host.settings + "\n[app_password]\nlimit = 2\n"):
        for _ in range(2):
            make(user)
        assert call("root", "app-password-create", user=user, services="imap")[1]["reason"] == "too-many"
