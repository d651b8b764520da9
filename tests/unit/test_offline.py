"""The offline rule by itself: its limit, and its memory, from many threads and processes."""

import multiprocessing
import sqlite3
import threading
from dataclasses import dataclass
from pathlib import Path

import pytest

from otpd.adapters.ldap.connections import Connections, Servers
from otpd.adapters.ldap.directory import LdapDirectory
from otpd.adapters.ldap.reader import Entries
from otpd.adapters.ldap.syntax import from_time
from otpd.adapters.offline.host import KEEP_SECONDS, Host
from otpd.adapters.offline.keeper import Keeper, settle
from otpd.adapters.offline.memory import Memory, Spent
from otpd.clock import Deadline, SystemClock
from otpd.directory import Token, User
from otpd.errors import DirectoryError, DirectoryUnavailable, StoreError
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


MADE, MADE_AGAIN = 1_700_000_000.0, 1_700_000_900.0


def test_a_token_that_was_made_anew_under_the_same_id_begins_anew(file: Path) -> None:
    """The first token of a user always has the same id; after a reset, it may be one that counts from 0."""
    kept = memory(file)
    assert kept.claim(Spent(ALICE, TOKEN, TimeStep(58_000_000), MADE), soon(), offline=True)
    anew = Spent(ALICE, TOKEN, TimeStep(1), MADE_AGAIN)
    assert kept.claim(anew, soon(), offline=False)
    assert not kept.claim(anew, soon(), offline=False), "and is spent once"
    assert kept.unsettled_steps(ALICE, soon()) == []


def counting(made: float) -> dict[str, dict[str, list[bytes]]]:
    """A user with a token that counts, and was last used with the counter 0."""
    token = {
        "objectClass": [b"otpdHotpToken"],
        "otpdId": [TOKEN.encode()],
        "otpdState": [b"active"],
        "oathOTPLength": [b"6"],
        "oathHMACAlgorithm": [b"1.2.840.113549.2.7"],
        "oathHOTPCounter": [b"0"],
        "otpdCreated": [from_time(made).encode()],
        "otpdSealedSeed": [b"k1.x"],
    }
    return {**USER, f"otpdId={TOKEN},uid=alice": token}


class Known(LdapDirectory):
    """A directory that knows one user, and takes no write."""

    def __init__(self, entries: Entries) -> None:
        servers = Servers(("ldapi://nowhere",), "ldapi://nowhere")
        super().__init__(Connections(servers, SystemClock()), "dc=example", self)  # type: ignore[arg-type]
        self.entries = entries
        self.raised: list[int] = []

    def read(self, *_: object) -> Entries:
        return self.entries

    def raise_step(self, name: UserName, token: Token, step: TimeStep, deadline: Deadline) -> bool:
        self.raised.append(step)
        return True


def test_a_step_of_a_token_that_is_gone_is_not_brought_to_the_one_that_has_its_id(file: Path) -> None:
    """Else the counter of the new one would stand at 58 million for good."""
    kept, directory = memory(file), Known(counting(MADE_AGAIN))
    kept.claim(Spent(ALICE, TOKEN, TimeStep(58_000_000), MADE), soon(), offline=True)
    settle(directory, kept, ALICE, soon())
    assert directory.raised == []
    assert kept.unsettled(soon()) == []


def test_while_the_directory_lacks_a_code_the_memory_must_know_it(file: Path) -> None:
    """With the servers back and the file gone, a code that was accepted a moment ago would be so once more."""
    kept = memory(file)
    host = Host(OfflineRule(hours=1), kept, SystemClock())
    spent = Spent(ALICE, TOKEN, TimeStep(9))
    assert host.claim(spent, soon(), offline=True)
    kept.close()
    with pytest.raises(DirectoryUnavailable):
        host.claim(spent, soon(), offline=False)
    host.settled = host.decided
    assert host.claim(spent, soon(), offline=False), "the directory knows it: it is asked"


@dataclass
class SetClock:
    """A clock that somebody sets."""

    now: float

    def wall(self) -> float:
        return self.now

    def monotonic(self) -> float:
        return 100.0


def test_a_contact_of_a_wrong_clock_is_written_anew(file: Path) -> None:
    """Else the limit would begin with the next start, for as long as the clock was ahead."""
    clock = SetClock(2e9)
    kept = Memory(file, RING, clock, 10)
    host = Host(OfflineRule(hours=1), kept, clock)
    host.answered("code")
    clock.now = 1.7e9
    host.answered("code")
    clock.now += KEEP_SECONDS + 1
    host.answered("code")
    assert kept.contact(Deadline.after(clock, 30)).at <= clock.now


def test_a_memory_that_hangs_leaves_time_for_what_needs_no_record(file: Path) -> None:
    host = Host(OfflineRule(hours=1), memory(file), SystemClock())
    other = sqlite3.connect(file, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    deadline = Deadline.after(SystemClock(), 4)
    assert not host.remember(ALICE, "app-password", USER, deadline)
    assert deadline.remaining_seconds() > 1
    other.close()


class Broken(Known):
    """Of most users, it holds what does not parse."""

    def ping(self, *_: object) -> None:
        """It answers."""

    def user(self, name: UserName, deadline: Deadline) -> User | None:
        if name.startswith("broken"):
            raise DirectoryError("an entry that does not parse")
        return None


def test_nobody_waits_for_users_whose_entries_are_broken(file: Path) -> None:
    """However many they are, and whatever order they stand in."""
    kept = memory(file)
    good = [UserName(f"good{number}") for number in range(30)]
    for name in (*(UserName(f"broken{number}") for number in range(150)), *good):
        kept.claim(Spent(name, TOKEN, TimeStep(9)), soon(), offline=True)
    keeper = Keeper(Host(OfflineRule(hours=1), kept, SystemClock()), Broken({}), 30)
    with pytest.raises(DirectoryError):
        keeper.turn()
    assert not any(kept.unsettled_steps(name, soon()) for name in good)
