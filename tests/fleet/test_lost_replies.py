"""Answers of the write provider are lost at random: no code is accepted twice, and what is accepted is spent."""

import random
import threading
from collections import Counter

import pytest

from .clients import log_in
from .fleet import Fleet, rounds
from .life import SECONDS
from .lossy import lossy
from .phone import Phone

TRIES = rounds("LOST_REPLIES", 300)
_AT_ONCE = 10


def use_up(fleet: Fleet, user: str, phone: Phone, chance: random.Random, seen: Counter[str]) -> list[str]:
    """Offer code after code, each until it is decided, and then once more; what went wrong."""
    faults = []
    for _ in range(TRIES // _AT_ONCE):
        if phone.left() < 1:
            fleet.forget(user)
            phone.last_step = 0
        code = phone.code()
        verdicts: list[str] = []
        while "accept" not in verdicts and "refuse" not in verdicts:
            verdicts.append(log_in(chance.choice(fleet.hosts).auth, user, "door", code, SECONDS))
            if verdicts[-1] == "accept":
                found = fleet.user(user)
                assert found
                if found.tokens[0].last_step < phone.last_step:
                    faults.append(f"{user}: {code} was accepted, and the directory does not show it")
        verdicts += [log_in(host.auth, user, "door", code, SECONDS) for host in fleet.hosts]
        if verdicts.count("accept") > 1:
            faults.append(f"{user}: {verdicts}")
        seen.update(verdicts)
    return faults


def test_no_code_twice(fleet: Fleet, capsys: pytest.CaptureFixture[str]) -> None:
    seed = random.SystemRandom().randrange(2**32)
    people = {user: fleet.enroll(user) for user in fleet.people(_AT_ONCE)}
    seen: Counter[str] = Counter()
    faults: list[str] = []

    def work(user: str, phone: Phone) -> None:
        try:
            faults.extend(use_up(fleet, user, phone, random.Random(f"{seed} {user}"), seen))
        except BaseException as error:
            faults.append(repr(error))
            raise

    with lossy(fleet.first, random.Random(seed)) as proxy, fleet.set(provider=proxy.uri, deadline_seconds=1):
        workers = [threading.Thread(target=work, args=one) for one in people.items()]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
    assert not faults, (seed, faults)
    with capsys.disabled():
        print(f"\n{TRIES} codes, seed {seed}: {dict(seen)}; lost: {dict(proxy.lost)}")
    assert seen["accept"] > TRIES / 2
    assert len(proxy.lost) >= 3
