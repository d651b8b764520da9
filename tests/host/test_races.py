"""One code, one login: many at once, through the module, and at the directory itself."""

import json
import multiprocessing
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from module.pam_login import SUCCESS, Login
from rig.host import LDAPI, Token, run
from rig.people import _become

from otpd.adapters.ldap.connections import Connections, Servers
from otpd.adapters.ldap.directory import LdapDirectory
from otpd.clock import Deadline, SystemClock
from otpd.values import TimeStep, UserName

from .conftest import World

ROUNDS = 100
RACERS = 8


def at_the_prompt(world: World, user: str) -> Login:
    login = world.login("race", user)
    login.wait_for("conversation")
    return login


def test_eight_offer_one_code(world: World) -> None:
    user, token = world.person(enrolled=True)
    for number in range(ROUNDS):
        world.host.forget_steps(user)
        logins = [at_the_prompt(world, user) for _ in range(RACERS)]
        code = Token(token.secret).code()
        for login in logins:
            login.type(f"text {code}")
        codes = [login.finish().code for login in logins]
        assert codes.count(SUCCESS) == 1, (number, codes)


def test_eight_offer_one_recovery_code(world: World) -> None:
    user, _ = world.person(enrolled=True)
    codes: list[str] = []
    for number in range(int(os.environ.get("OTPD_ROUNDS", "10"))):
        codes = codes or json.loads(run("otpctl", "recovery-codes", "--user", user, "--json"))["recovery_codes"]
        world.host.forget_failures(user)  # those who come too late have made a wrong guess
        logins = [at_the_prompt(world, user) for _ in range(RACERS)]
        text = codes.pop()
        world.secrets.add(text)
        for login in logins:
            login.type(f"text {text}")
        results = [login.finish().code for login in logins]
        assert results.count(SUCCESS) == 1, (number, results)


def test_eight_users_offer_eight_codes(world: World) -> None:
    people = [world.person(enrolled=True) for _ in range(RACERS)]
    successes = 0
    for _ in range(ROUNDS):
        for user, _ in people:
            world.host.forget_steps(user)
        logins = [(at_the_prompt(world, user), Token(token.secret)) for user, token in people]
        for login, token in logins:
            login.type(f"text {token.code()}")
        successes += [login.finish().code for login, _ in logins].count(SUCCESS)
    assert successes == RACERS * ROUNDS


def _spend(
    barrier: "multiprocessing.synchronize.Barrier", user: str, rounds: int, wins: "multiprocessing.Queue[int]"
) -> None:
    _become("otpd")
    clock = SystemClock()
    directory, won = LdapDirectory(Connections(Servers((LDAPI,), LDAPI), clock), "ou=otpd"), 0
    for number in range(1, rounds + 1):
        found = directory.user(UserName(user), Deadline.after(clock, 10))
        assert found
        barrier.wait()
        won += directory.spend_step(found.name, found.tokens[0], TimeStep(10**9 + number), Deadline.after(clock, 10))
        barrier.wait()
    wins.put(won)
    wins.close()
    wins.join_thread()
    os._exit(0)


def test_spending_is_strict_in_the_directory_itself(world: World) -> None:
    """Past all of the daemon's own order: eight processes, each with its own connection, read, then write at once."""
    rounds = 500
    user, _ = world.person(enrolled=True)
    barrier, wins = multiprocessing.Barrier(RACERS), multiprocessing.Queue()
    racers = [multiprocessing.Process(target=_spend, args=(barrier, user, rounds, wins)) for _ in range(RACERS)]
    for racer in racers:
        racer.start()
    assert sum(wins.get(timeout=120) for _ in racers) == rounds
    for racer in racers:
        racer.join()


def set_failures(world: World, user: str, count: int, ago: timedelta) -> None:
    last = (datetime.now(UTC) - ago).strftime("%Y%m%d%H%M%SZ")
    change = (
        f"replace: oathFailureCount\noathFailureCount: {count}\n-\nreplace: oathLastFailure\noathLastFailure: {last}\n"
    )
    world.host.ldap("ldapmodify", stdin=f"dn: uid={user},ou=otpd\nchangetype: modify\n{change}")


def test_parallel_guesses_do_not_outrun_the_count(world: World) -> None:
    """After the free failures, one of many guesses that are made at once is looked at; the others must wait."""
    user, token = world.person(enrolled=True)
    set_failures(world, user, 6, timedelta(hours=1))
    logins = [at_the_prompt(world, user) for _ in range(RACERS)]
    for login in logins:
        login.type(f"text {token.wrong()}")
    assert not [login for login in logins if login.finish().code == SUCCESS]
    decided = [line for line in world.host.log("otpd").splitlines() if f"refused user={user} " in line]
    assert ["wrong code" in line for line in decided].count(True) == 1
    assert ["must wait" in line for line in decided].count(True) == RACERS - 1


def test_who_must_wait_must_wait_with_a_right_code_too_and_not_for_ever(world: World) -> None:
    user, token = world.person(enrolled=True)
    set_failures(world, user, 14, timedelta(seconds=0))
    assert world.outcome("race", user, token.code()) != SUCCESS
    status = json.loads(run("otpctl", "status", "--user", user, "--json"))
    assert 400 < status["wait_seconds"] <= 512
    set_failures(world, user, 10**6, timedelta(seconds=901))
    assert world.outcome("race", user, token.code()) == SUCCESS
    assert json.loads(run("otpctl", "status", "--user", user, "--json"))["failures"] == 0


def test_the_first_failures_cost_nothing(world: World) -> None:
    user, token = world.person(enrolled=True)
    for _ in range(4):
        assert world.outcome("race", user, token.wrong()) != SUCCESS
    assert world.outcome("race", user, token.code()) == SUCCESS


@pytest.fixture(autouse=True)
def _service(world: World) -> None:
    Path("/etc/pam.d/race").unlink(missing_ok=True)
