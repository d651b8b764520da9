"""What an administrator hands out: enrolment tickets and bypass codes; resets; and all users at a glance."""

import json
import multiprocessing
import os
import socket
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from module.pam_login import AUTH_ERR, SUCCESS, Login
from rig.host import LDAPI, Token, run
from rig.people import _become, codes_on, converse

from otpd.adapters.ldap.connections import Connections, Servers
from otpd.adapters.ldap.directory import LdapDirectory
from otpd.clock import Deadline, SystemClock
from otpd.directory import Grant
from otpd.values import EntryId, UserName

from .conftest import PASSWORD, World
from .test_control import call
from .test_enrolment import secret_on
from .test_faults import restarted

HERE = socket.gethostname()
RACERS = 8
BYPASSED = "You were let in by a bypass code, which is used up. If you did not ask for one, tell your administrator."


def ticket(world: World, user: str) -> str:
    made = json.loads(run("otpctl", "user", "ticket", user, "--json"))
    world.secrets.add(made["secret"])
    return str(made["secret"])


def bypass(world: World, user: str, *hosts: str) -> str:
    flags = [flag for host in hosts or (HERE,) for flag in ("--host", host)]
    made = json.loads(run("otpctl", "user", "bypass", user, *flags, "--json"))
    world.secrets.add(made["secret"])
    return str(made["secret"])


def expire(world: World, user: str) -> None:
    """Let all grants of the user have expired: as the directory's own client, which spoils their digests, too."""
    for line in world.host.ldap(
        "ldapsearch", "-LLL", "-b", f"uid={user},ou=otpd", "(otpdExpires=*)", "dn"
    ).splitlines():
        if line.startswith("dn:"):
            change = "changetype: modify\nreplace: otpdExpires\notpdExpires: 20200101000000Z\n"
            world.host.ldap("ldapmodify", stdin=f"{line}\n{change}")


def enrol(world: World, user: str, proof: str) -> tuple[str, dict[str, Any]]:
    status, begun = call(user, "enrol-begin", proof=proof)
    assert status == "ok", begun
    world.secrets.add(begun["secret"])
    status, reply = call(user, "enrol-confirm", ticket=begun["ticket"], code=Token(begun["secret"]).code())
    world.secrets |= set(reply.get("recovery_codes", ()))
    return status, reply


class TestTicket:
    def test_at_a_shell(self, world: World) -> None:
        user, token = world.person()
        text = ticket(world, user)

        def code(screen: str) -> str:
            token.secret = secret_on(screen)
            world.secrets.add(token.secret)
            return token.code()

        seen = converse(["otpctl", "enroll", "--ticket"], [text.upper(), code, ""], user)
        assert seen.succeeded, seen.screen
        assert seen.prompts[0] == "Enrolment ticket: "
        assert text not in seen.screen.lower()
        codes = codes_on(seen.screen)
        world.secrets |= set(codes)
        assert len(codes) == 10
        assert "works once instead of a code" in seen.screen
        assert "New ones: otpctl recovery-codes" in seen.screen
        assert world.outcome("anything", user, codes[0]) == SUCCESS
        assert call(user, "enrol-begin", proof=text)[1]["reason"] == "proof-refused", "a second time"
        assert f"enrolment ticket made user={user}" in world.host.log("otpd")

    def test_it_is_spent_when_the_device_is_active_and_not_before(self, world: World) -> None:
        user, _ = world.person()
        text = ticket(world, user)
        assert call(user, "enrol-begin", proof=text)[0] == "ok"
        assert enrol(world, user, text)[0] == "ok"
        assert call(user, "status")[1]["grants"] == []

    def test_a_lost_phone(self, world: World, alice: tuple[str, Token]) -> None:
        """It stands for a code too; the recovery codes that are left stay."""
        user, _ = alice
        status, reply = enrol(world, user, ticket(world, user))
        assert (status, reply["recovery_codes"]) == ("ok", [])
        assert len(call(user, "status")[1]["tokens"]) == 2

    def test_it_is_no_proof_for_anything_else(self, world: World, alice: tuple[str, Token]) -> None:
        user, _ = alice
        text = ticket(world, user)
        assert call(user, "recovery-codes", proof=text)[1]["reason"] == "proof-refused"
        assert world.outcome("anything", user, text) == AUTH_ERR
        other, _ = world.person()
        assert call(other, "enrol-begin", proof=text)[1]["reason"] == "proof-refused"

    def test_a_new_one_a_reset_and_the_clock_end_it(self, world: World) -> None:
        user, _ = world.person()
        old = ticket(world, user)
        begun = call(user, "enrol-begin", proof=old)[1]
        new = ticket(world, user)
        assert call(user, "enrol-begin", proof=old)[1]["reason"] == "proof-refused"
        code = Token(begun["secret"]).code()
        assert call(user, "enrol-confirm", ticket=begun["ticket"], code=code)[1]["reason"] == "ticket-used"
        expire(world, user)
        assert call(user, "enrol-begin", proof=new)[1]["reason"] == "proof-refused"
        again = ticket(world, user)
        assert len(call(user, "status")[1]["grants"]) == 1, "what has expired goes"
        run("otpctl", "user", "reset", user)
        assert call(user, "enrol-begin", proof=again)[1]["reason"] == "proof-refused"

    def test_reset_makes_one(self, world: World, alice: tuple[str, Token]) -> None:
        user, _ = alice
        for how in ((), ("--no-ticket",), ("--show-secret", "--no-ticket")):
            assert "ticket" not in json.loads(run("otpctl", "user", "reset", user, "--json", *how)), (
                "it would be logged"
            )
            assert call(user, "status")[1]["grants"] == []
        made = json.loads(run("otpctl", "user", "reset", user, "--json", "--ticket"))
        world.secrets.add(made["ticket"]["secret"])
        assert call(user, "status")[1]["enrolled"] is False
        assert enrol(world, user, made["ticket"]["secret"])[0] == "ok"
        done = subprocess.run(["otpctl", "user", "reset", user, "--ticket"], capture_output=True, check=False)
        assert (done.returncode, done.stdout) == (2, b""), "into a pipe"
        assert call(user, "status")[1]["enrolled"] is True, "nothing was done"
        # Into a pipe none is made, unless it was asked for; and none that nobody could use.
        assert "second factor" in run("otpctl", "user", "reset", user)
        assert call(user, "status")[1]["grants"] == []
        run("otpctl", "user", "disable", user)
        assert "still refused" in run("otpctl", "user", "reset", user, "--show-secret")
        assert call(user, "status")[1]["disabled"] is True
        asked = run("otpctl", "user", "reset", user, "--json", "--ticket", check=False)
        assert json.loads(asked.splitlines()[-1])["error"] == "disabled"


def test_a_reset_ends_an_enrolment_that_the_account_password_began(world: World) -> None:
    user, _ = world.person()
    begun = call(user, "enrol-begin", proof=PASSWORD)[1]
    run("otpctl", "user", "reset", user)
    code = Token(begun["secret"]).code()
    assert call(user, "enrol-confirm", ticket=begun["ticket"], code=code)[1]["reason"] == "overtaken"
    assert enrol(world, user, PASSWORD)[0] == "ok"


@pytest.mark.parametrize("adding", ["enrol-confirm", "recovery-codes", "app-password-create"])
def test_nothing_outlives_a_reset_that_is_made_at_the_same_moment(world: World, adding: str) -> None:
    """Who stole a phone may be at it at that moment; and recovery codes that are left keep the owner from enrolling."""
    for number in range(12):
        user, _ = world.person()
        begun = call(user, "enrol-begin", proof=PASSWORD)[1]
        token = Token(begun["secret"])
        body = {"ticket": begun["ticket"], "code": token.code()}
        if adding != "enrol-confirm":
            assert call(user, "enrol-confirm", **body)[0] == "ok"
            body = {"proof": token.code(), **({"services": "imap"} if "app" in adding else {})}
        with ThreadPoolExecutor(2) as pool:
            added = pool.submit(call, user, adding, **body)
            time.sleep(0.001 * (number % 6))
            pool.submit(call, "root", "reset", user=user).result()
        status = call("root", "status", user=user)[1]
        left = {what: status[what] for what in ("enrolled", "tokens", "recovery_codes", "app_passwords")}
        assert left == {"enrolled": False, "tokens": [], "recovery_codes": 0, "app_passwords": 0}, added.result()


class TestBypass:
    def test_it_opens_once_and_the_user_is_told(self, world: World, alice: tuple[str, Token]) -> None:
        user, token = alice
        text = bypass(world, user)
        login = world.login("anything", user)
        login.type(f"text {text.upper().replace('-', ' ')}")
        result = login.finish()
        assert result.code == SUCCESS
        assert [text for style, text in result.messages if style == "info"] == [BYPASSED]
        assert world.outcome("anything", user, text) == AUTH_ERR
        log = world.host.log("otpd")
        assert f"WARNING otpd.audit: bypass made user={user} " in log
        assert f"WARNING otpd.audit: bypass used user={user} " in log
        assert 'reason="wrong, used or expired bypass code"' in log
        assert call(user, "status")[1]["failures"] == 0
        assert world.outcome("anything", user, token.code()) == SUCCESS

    def test_who_has_not_enrolled(self, world: World) -> None:
        user, _ = world.person()
        assert world.outcome("anything", user, bypass(world, user)) == SUCCESS

    def test_who_has_not_enrolled_where_a_login_offers_to(self, world: World) -> None:
        user, _ = world.person()
        offering = '\n[service.offering]\nunenrolled = "enrol-at-login"\n'
        with restarted(world.host, world.host.settings + offering):
            elsewhere = bypass(world, user, "somewhere-else")
            text = bypass(world, user)
            login = world.login("offering", user)
            login.type(f"text {text}")
            result = login.finish()
            assert result.code == SUCCESS
            assert result.messages[-1] == ("info", BYPASSED)
            for useless in (text, elsewhere):
                assert world.outcome("offering", user, useless, PASSWORD) == AUTH_ERR, "the password begins to enrol"
        assert f"WARNING otpd.audit: bypass used user={user} " in world.host.log("otpd")
        refused = f'asking user={user} service=offering reason="bypass code of another host"'
        assert refused in world.host.log("otpd")
        assert call(user, "status")[1]["enrolled"] is False

    def test_on_other_hosts_late_disabled_changed_or_reset(self, world: World, alice: tuple[str, Token]) -> None:
        user, _ = alice
        other = bypass(world, user, "somewhere-else", "web1.example.org")
        assert world.outcome("anything", user, other) == AUTH_ERR
        assert 'reason="bypass code of another host"' in world.host.log("otpd")
        # Who may write to the directory cannot make it good here.
        (grant,) = call("root", "status", user=user)[1]["grants"]
        dn = f"dn: otpdId={grant['id']},uid={user},ou=otpd\nchangetype: modify\n"
        world.host.ldap("ldapmodify", stdin=f"{dn}replace: otpdHost\notpdHost: {HERE}\n")
        assert world.outcome("anything", user, other) == AUTH_ERR
        good = bypass(world, user)
        run("otpctl", "user", "disable", user)
        assert world.outcome("anything", user, good) == AUTH_ERR
        run("otpctl", "user", "enable", user)
        expire(world, user)
        assert world.outcome("anything", user, good) == AUTH_ERR
        good = bypass(world, user)
        assert world.outcome("imap", user, good) == AUTH_ERR, "where no code is accepted"
        run("otpctl", "user", "reset", user)
        assert world.outcome("anything", user, good) == AUTH_ERR

    def test_it_is_no_proof_for_otpctl(self, world: World, alice: tuple[str, Token]) -> None:
        user, _ = alice
        text = bypass(world, user)
        for verb in ("enrol-begin", "recovery-codes"):
            assert call(user, verb, proof=text)[1]["reason"] == "proof-refused"
        assert world.outcome("anything", user, text) == SUCCESS

    @pytest.mark.parametrize(
        "body", [{"minutes": "0"}, {"minutes": "9999"}, {"minutes": "-1"}, {"hosts": " "}, {"hosts": "a " * 9}]
    )
    def test_what_makes_none(self, alice: tuple[str, Token], body: dict[str, str]) -> None:
        asked = {"minutes": "15", "hosts": "web1", **body}
        assert call("root", "bypass", user=alice[0], **asked)[1]["reason"] in ("malformed", "bad-hosts")


class TestRaces:
    def test_eight_offer_one_bypass_code(self, world: World) -> None:
        user, _ = world.person(enrolled=True)
        for _ in range(int(os.environ.get("OTPD_ROUNDS", "10"))):
            text = bypass(world, user)
            logins: list[Login] = []
            for _ in range(RACERS):
                login = world.login("race", user)
                login.wait_for("conversation")
                logins.append(login)
            for login in logins:
                login.type(f"text {text}")
            assert [login.finish().code for login in logins].count(SUCCESS) == 1

    def test_eight_enrol_with_one_ticket(self, world: World) -> None:
        """Of a user who is enrolled, so that nothing but the ticket keeps them from adding eight devices."""
        with multiprocessing.Pool(RACERS) as pool:
            for number in range(int(os.environ.get("OTPD_ROUNDS", "10"))):
                if number % 2 == 0:  # a user may open 50 connections, and then five a second
                    user, _ = world.person(enrolled=True)
                text = ticket(world, user)
                begun = [call(user, "enrol-begin", proof=text)[1] for _ in range(RACERS)]
                tasks = [(user, one["ticket"], Token(one["secret"]).code()) for one in begun]
                results = pool.map(_confirm, tasks, chunksize=1)
                # A user may have four requests under work; those beyond are told so.
                assert results.count("ok") == 1, (number, results)
                assert set(results) <= {"ok", "ticket-used", "unavailable"}, (number, results)
                added = call(user, "status")[1]["tokens"][-1]["id"]
                run("otpctl", "token", "remove", added, "--user", user)

    def test_taking_is_strict_in_the_directory_itself(self, world: World) -> None:
        rounds = 300
        user, _ = world.person(enrolled=True)
        barrier, wins = multiprocessing.Barrier(RACERS), multiprocessing.Queue()
        racers = [
            multiprocessing.Process(target=_take, args=(barrier, user, rounds, number, wins))
            for number in range(RACERS)
        ]
        for racer in racers:
            racer.start()
        assert sum(wins.get(timeout=120) for _ in racers) == rounds
        for racer in racers:
            racer.join()


def _confirm(arguments: tuple[str, str, str]) -> str:
    user, sealed, code = arguments
    status, reply = call(user, "enrol-confirm", ticket=sealed, code=code)
    return status if status == "ok" else str(reply["reason"])


def _take(
    barrier: "multiprocessing.synchronize.Barrier",
    user: str,
    rounds: int,
    racer: int,
    wins: "multiprocessing.Queue[int]",
) -> None:
    _become("otpd")
    clock = SystemClock()
    directory, won, name = LdapDirectory(Connections(Servers((LDAPI,), LDAPI), clock), "ou=otpd"), 0, UserName(user)
    for number in range(rounds):
        grant = Grant(EntryId(f"race{number:04}"), "bypass", 1.0e9, 2.0e9, frozenset(), b"k1.AAAA")
        if racer == 0:
            directory.add_grant(name, grant, Deadline.after(clock, 10))
        barrier.wait()
        won += directory.take_grant(name, grant.id, Deadline.after(clock, 10))
        barrier.wait()
    wins.put(won)
    wins.close()
    wins.join_thread()
    os._exit(0)


class TestAdministrator:
    def test_list_show_unlock_and_report(self, world: World) -> None:
        enrolled, token = world.person(enrolled=True)
        none, _ = world.person()
        off, _ = world.person(enrolled=True)
        run("groupadd", "staff-of-ours")
        for name in (enrolled, none, off):
            run("usermod", "-aG", "staff-of-ours", name)
        run("otpctl", "user", "disable", off)
        for _ in range(3):
            world.outcome("anything", enrolled, token.wrong())
        listed = json.loads(run("otpctl", "user", "list", "--group", "staff-of-ours", "--json"))["users"]
        assert [(one["name"], one["enrolled"], one["disabled"], one["failures"]) for one in listed] == sorted(
            [(enrolled, True, False, 3), (none, False, False, 0), (off, True, True, 0)]
        )
        assert [one["name"] for one in filtered("--not-enrolled")] == [none]
        assert {one["name"] for one in filtered("--enrolled")} == {enrolled, off}
        assert filtered("--no-recovery-codes") == []
        assert {enrolled, none, off} <= {one["name"] for one in filtered(group=())}
        assert "root" not in {one["name"] for one in filtered(group=())}
        assert "Wrong codes in a row: 3." in run("otpctl", "user", "show", enrolled)
        assert "Unlocked" in run("otpctl", "user", "unlock", enrolled)
        assert call(enrolled, "status")[1]["failures"] == 0
        report = json.loads(run("otpctl", "report", "--group", "staff-of-ours", "--json"))
        (row,) = report["groups"]
        assert (row["accounts"], row["enrolled"], row["not_enrolled"]) == (3, 2, [none])
        table = run("otpctl", "report", "--group", "staff-of-ours")
        assert f"Not enrolled: {none}\n" in table
        assert "66 %" in table
        assert "SECOND FACTOR" in run("otpctl", "user", "list", "--group", "staff-of-ours")
        done = subprocess.run(["otpctl", "user", "list"], user=enrolled, capture_output=True, check=False)
        assert done.returncode == 77
        assert (
            subprocess.run(["otpctl", "report", "--group", "nowhere"], capture_output=True, check=False).returncode == 1
        )

    def test_thousands_of_users(self, world: World) -> None:
        """Of 5,000 entries, the first has no account any more; of 5,000 accounts, the last has no entry."""
        many = [f"many{number:05}" for number in range(5001)]
        entry = "dn: uid={0},ou=otpd\nobjectClass: otpdUser\nuid: {0}\noathFailureCount: 0\n\n"
        world.host.ldap("ldapadd", stdin="".join(entry.format(name) for name in many[:-1]))
        passwd = Path("/etc/passwd")
        before = passwd.read_text()
        lines = (f"{name}:x:{200_000 + number}:100::/:/bin/sh\n" for number, name in enumerate(many) if number)
        passwd.write_text(before + "".join(lines))
        try:
            started = time.monotonic()
            users = {one["name"]: one for one in filtered(group=())}
            assert time.monotonic() - started < 15
            assert set(many) <= set(users)
            assert [users[name]["account"] for name in (many[0], many[1], many[-1])] == [False, True, True]
            assert many[-1] in run("otpctl", "user", "list", "--group", "users", "--not-enrolled")
            assert "5000" in run("otpctl", "report", "--group", "users")
        finally:
            passwd.write_text(before)
            world.host.ldap("ldapdelete", stdin="".join(f"uid={name},ou=otpd\n" for name in many[:-1]))


def filtered(*flags: str, group: tuple[str, ...] = ("--group", "staff-of-ours")) -> list[dict[str, Any]]:
    users: list[dict[str, Any]] = json.loads(run("otpctl", "user", "list", *group, *flags, "--json"))["users"]
    return users
