"""kill -9 at random moments while people log in, enrol and make passwords: what they were told stays true."""

import itertools
import random
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final, Literal

import pytest
from rig.host import DAEMONS

from .clients import NO_ANSWER, Login, manage
from .fleet import Fleet, FleetHost, rounds
from .life import Person

KILLS: Final = rounds("KILLS", 40)
_AT_ONCE: Final = 10
_BATCH: Final = 48

Victim = Literal["otpd", "slapd", "both"]


@dataclass
class Crowd:
    """People at work, each on a thread of its own."""

    fleet: Fleet
    seed: int
    done: Counter[str] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)
    people: list[Person] = field(default_factory=list)
    _end: threading.Event = field(default_factory=threading.Event)

    def run(self, number: int, names: Iterator[str]) -> None:
        """Work until the end, as one person after the other."""
        chance, person = random.Random(f"{self.seed} {number}"), None
        try:
            while not self._end.is_set():
                if person is None or person.tired:
                    person = Person(self.fleet, next(names), chance, self.done, self.faults)
                    self.people.append(person)
                person.act()
        except BaseException as error:
            self.faults.append(f"a person broke: {error!r}")
            raise

    @contextmanager
    def at_work(self) -> Iterator[None]:
        """For a while."""
        pool = self.fleet.people(KILLS * _AT_ONCE + 100)
        workers = [
            threading.Thread(target=self.run, args=(number, iter(pool[number::_AT_ONCE]))) for number in range(_AT_ONCE)
        ]
        for worker in workers:
            worker.start()
        try:
            yield
        finally:
            self._end.set()
            for worker in workers:
                worker.join()


def kill(fleet: Fleet, victim: Victim, chance: random.Random) -> None:
    """kill -9, and start again at once, as systemd would."""
    host = chance.choice(fleet.hosts)
    names = chance.choice([["otpd"], ["otpd-control"], list(DAEMONS)]) if victim != "slapd" else []
    blows = [lambda: host.kill(*names)] if names else []
    blows += [lambda: fleet.first.stop(9)] if victim != "otpd" else []
    chance.shuffle(blows)
    for blow in blows:
        blow()
    if victim != "otpd":
        fleet.first.start()
    if names:
        host.start(*names)


def verdicts(host: FleetHost, service: str, offers: Sequence[tuple[str, str]]) -> list[str]:
    """What many logins come to, a batch at a time; an offer is a user and what is typed."""
    found: list[str] = []
    for start in range(0, len(offers), _BATCH):
        logins = [(Login.begin(host.auth, user, service), typed) for user, typed in offers[start : start + _BATCH]]
        for login, typed in logins:
            assert login
            login.offer(typed)
        found += [login.verdict() if login else NO_ANSWER for login, _ in logins]
    return found


def check_records(fleet: Fleet, people: Sequence[Person]) -> None:
    """What people were told is there, in the directory itself, and is whole."""
    for person in people:
        found = fleet.user(person.user)
        if person.gone:
            assert found, "a reset notes its moment"
            assert not found.enrolled, person.user
            continue
        tokens = {token.id: token for token in found.tokens} if found else {}
        most = len(person.tokens) + len(person.unanswered_tokens)
        assert len(person.tokens) <= len(tokens) <= most, person.user
        for phone in person.tokens:
            assert tokens[phone.token_id].state == "active"
            assert tokens[phone.token_id].last_step >= phone.accepted_step, "what was accepted is spent"
            phone.last_step = max(phone.last_step, tokens[phone.token_id].last_step)


def check_reads(hosts: Sequence[FleetHost], people: Sequence[Person]) -> None:
    """Whatever is there, every host can show it."""
    for person, host in zip(people, itertools.cycle(hosts), strict=False):
        status, reply = manage(host.control, "status", user=person.user)
        assert status == "ok", reply
        status, reply = manage(host.control, "app-password-list", user=person.user)
        assert status == "ok", reply
        listed = {item["id"] for item in reply["app_passwords"]}
        if not person.gone:
            assert set(person.app_passwords) <= listed, person.user
            assert len(listed) <= len(person.app_passwords) + person.unanswered_app_passwords


def check_works(hosts: Sequence[FleetHost], people: Sequence[Person]) -> None:
    """What should work does, and what should not does not."""
    staying = [person for person in people if not person.gone]
    for host in hosts:
        passwords = [(person.user, password) for person in staying for password in person.app_passwords.values()]
        assert set(verdicts(host, "imap", passwords)) <= {"accept"}
        revoked = [(person.user, password) for person in people for password in person.revoked]
        revoked += [(person.user, one) for person in people if person.gone for one in person.app_passwords.values()]
        assert set(verdicts(host, "imap", revoked)) <= {"refuse"}
    devices = [(person.user, phone.code()) for person in staying for phone in person.tokens if phone.left() > 0]
    assert set(verdicts(hosts[0], "door", devices)) <= {"accept"}
    for person in people:
        for code in person.spent_recovery_codes[-2:] + person.spent[-10:]:
            person.refuses(code)


def test_what_was_said_stays_true(fleet: Fleet, capsys: pytest.CaptureFixture[str]) -> None:
    seed = random.SystemRandom().randrange(2**32)
    chance, crowd = random.Random(seed), Crowd(fleet, seed)
    with fleet.set(deadline_seconds=1), crowd.at_work():
        time.sleep(2)
        for number in range(KILLS):
            time.sleep(chance.uniform(0.0, 0.5))
            kill(fleet, ("otpd", "slapd", "both")[number % 3], chance)
            assert not crowd.faults, (seed, crowd.faults)
    assert fleet.replicated(60)
    for person in crowd.people:
        if not person.gone and person.tokens:
            fleet.forget_failures(person.user)
    check_records(fleet, crowd.people)
    check_reads(fleet.hosts, crowd.people)
    check_works(fleet.hosts, crowd.people)
    assert not crowd.faults, (seed, crowd.faults)
    with capsys.disabled():
        print(f"\n{KILLS} kills, seed {seed}, {len(crowd.people)} people: {dict(sorted(crowd.done.items()))}")
    for least in ("code accepted", "recovery code accepted", "enrolled", "app password created", "replayed"):
        assert crowd.done[least] > KILLS, "there was no load"
