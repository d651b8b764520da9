"""The offline rule by itself: its limit, and its memory, from many threads and processes."""

import multiprocessing
import threading
from pathlib import Path

import pytest

from otpd.adapters.offline_memory import Memory, Spent
from otpd.clock import Deadline, SystemClock
from otpd.errors import StoreError
from otpd.offline import Contact, HostTime, OfflineRule
from otpd.ring_text import new_key_line
from otpd.seal import KeyRing
from otpd.values import EntryId, TimeStep, UserName

RACERS = 8
ROUNDS = 200
ALICE = UserName("alice")
TOKEN = EntryId("2f8d6c1e")
RING = KeyRing.from_text(new_key_line("k1"), "test")
USER = {"uid=alice": {"objectClass": [b"otpdUser"], "uid": [b"alice"], "oathFailureCount": [b"0"]}}


def soon() -> Deadline:
    return Deadline.after(SystemClock(), 30)


def memory(path: Path, ring: KeyRing = RING, users: int = 10) -> Memory:
    return Memory(path, ring, SystemClock(), users)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "offline.db"


def test_the_limit_counts_from_the_last_answer() -> None:
    rule = OfflineRule(hours=2)
    assert rule.ends(Contact(at=1000.0)) == 8200.0
    assert rule.ends(Contact()) == 0.0


def test_a_clock_that_is_set_back_does_not_stop_the_time() -> None:
    time = HostTime(latest=5000.0, monotonic=10.0)
    assert time.at(wall=100.0, monotonic=70.0) == 5060.0
    assert time.at(wall=6000.0, monotonic=70.0) == 6000.0


def test_an_answer_forgets_a_clock_that_was_wrong() -> None:
    assert Contact(at=9e9, latest=9e9).answered(1000.0) == Contact(at=1000.0, latest=1000.0)


def test_away_since_the_first_miss() -> None:
    contact = Contact().lost("code", 5.0).lost("code", 9.0).lost("app-password", 7.0)
    assert contact.away == {"code": 5.0, "app-password": 7.0}
    assert contact.back("code").away == {"app-password": 7.0}


def test_one_of_eight_threads_claims_a_step(file: Path) -> None:
    kept, wins = memory(file), []
    barrier = threading.Barrier(RACERS)

    def race() -> None:
        for step in range(1, ROUNDS + 1):
            barrier.wait()
            if kept.claim(Spent(ALICE, TOKEN, TimeStep(step)), soon(), offline=step % 2 == 0):
                wins.append(step)

    racers = [threading.Thread(target=race) for _ in range(RACERS)]
    for racer in racers:
        racer.start()
    for racer in racers:
        racer.join()
    assert sorted(wins) == list(range(1, ROUNDS + 1))


def _race(path: Path, barrier: "multiprocessing.synchronize.Barrier", wins: "multiprocessing.Queue[int]") -> None:
    kept, won = memory(path), 0
    for step in range(1, ROUNDS + 1):
        barrier.wait()
        won += kept.claim(Spent(ALICE, TOKEN, TimeStep(step)), soon(), offline=True)
    wins.put(won)


def test_one_of_eight_processes_claims_a_step(file: Path) -> None:
    fork = multiprocessing.get_context("fork")
    memory(file).close()
    barrier, wins = fork.Barrier(RACERS), fork.Queue()
    racers = [fork.Process(target=_race, args=(file, barrier, wins)) for _ in range(RACERS)]
    for racer in racers:
        racer.start()
    assert sum(wins.get(timeout=60) for _ in racers) == ROUNDS
    for racer in racers:
        racer.join()


def test_a_later_step_spends_those_before_it(file: Path) -> None:
    kept = memory(file)
    assert kept.claim(Spent(ALICE, TOKEN, TimeStep(9)), soon(), offline=True)
    assert not kept.claim(Spent(ALICE, TOKEN, TimeStep(8)), soon(), offline=False)
    assert kept.claim(Spent(ALICE, TOKEN, TimeStep(10)), soon(), offline=False)
    assert kept.unsettled_steps(ALICE, soon()) == [Spent(ALICE, TOKEN, TimeStep(10))], "still not known"
    kept.settle_step(Spent(ALICE, TOKEN, TimeStep(9)), soon())
    assert kept.unsettled_steps(ALICE, soon()), "the directory shows an earlier one"
    kept.settle_step(Spent(ALICE, TOKEN, TimeStep(10)), soon())
    assert kept.unsettled(soon()) == []


def test_failures_are_the_sum_and_a_right_code_takes_back_what_was_not_known(file: Path) -> None:
    kept = memory(file)
    assert kept.set_failures(ALICE, 3, (3, 4), 1.0, soon())
    assert not kept.set_failures(ALICE, 3, (3, 4), 1.0, soon())
    assert kept.set_failures(ALICE, 3, (4, 5), 2.0, soon())
    known = kept.failures(ALICE, soon())
    assert known
    assert (known.count, known.unknown) == (5, 2)
    assert kept.set_failures(ALICE, 3, (5, 0), 3.0, soon())
    known = kept.failures(ALICE, soon())
    assert known
    assert (known.count, known.unknown) == (0, 0)


def test_who_is_disabled_or_gone_is_so_for_every_proof(file: Path) -> None:
    kept = memory(file)
    kept.remember(ALICE, "app-password", USER, soon())
    disabled = {"uid=alice": {**USER["uid=alice"], "otpdState": [b"disabled"]}}
    kept.remember(ALICE, "code", disabled, soon())
    recalled = kept.recall(ALICE, "app-password", soon())
    assert recalled
    assert recalled.found["uid=alice"]["otpdState"] == [b"disabled"]
    kept.remember(ALICE, "code", {}, soon())
    assert kept.recall(ALICE, "app-password", soon()) is None


def test_no_more_users_than_allowed(file: Path) -> None:
    kept = memory(file, users=2)
    names = [UserName(f"user{number}") for number in range(4)]
    for name in names:
        kept.remember(name, "code", USER, soon())
    assert sum(kept.recall(name, "code", soon()) is not None for name in names) == 2
    assert kept.recall(names[3], "code", soon())


def test_a_new_key_opens_what_the_old_one_sealed_and_takes_over(file: Path) -> None:
    old, new = new_key_line("k1"), new_key_line("k2")
    first = memory(file, KeyRing.from_text(old, "test"))
    first.remember(ALICE, "code", USER, soon())
    first.close()
    memory(file, KeyRing.from_text(new + old, "test")).close()
    assert memory(file, KeyRing.from_text(new, "test")).recall(ALICE, "code", soon())
    with pytest.raises(StoreError, match="needs the key"):
        memory(file, KeyRing.from_text(old, "test"))


def test_nothing_of_the_user_is_in_the_file(file: Path) -> None:
    kept = memory(file)
    kept.remember(ALICE, "code", USER, soon())
    kept.claim(Spent(ALICE, TOKEN, TimeStep(9)), soon(), offline=True)
    content = b"".join(path.read_bytes() for path in file.parent.iterdir())
    for word in (b"alice", TOKEN.encode(), b"otpdUser"):
        assert word not in content
