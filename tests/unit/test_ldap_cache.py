"""What the cache keeps, and what it does not: its rules, without a server."""

import secrets
import tracemalloc
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest

from otpd.adapters.ldap.cache import UNNOTIFIED_SECONDS, Cache, Change
from otpd.adapters.ldap.connections import Role
from otpd.adapters.ldap.reader import Entries, Entry
from otpd.clock import Deadline
from otpd.errors import DirectoryUnavailable
from otpd.values import UserName

BASE = "ou=otpd,dc=example,dc=org"


@dataclass
class Clock:
    now: float = 100.0

    def wall(self) -> float:
        return self.now

    def monotonic(self) -> float:
        return self.now


@dataclass
class Servers:
    """What the servers have, and which questions they were asked."""

    entries: dict[str, dict[str, Entry]] = field(default_factory=dict)
    asked: list[tuple[str, Role]] = field(default_factory=list)
    meanwhile: Callable[[], None] | None = None
    gone: bool = False

    def asker(self, name: str) -> Callable[[str, Role, Deadline], Entries]:
        def ask(which: str, role: Role, deadline: Deadline) -> Entries:
            self.asked.append((which, role))
            if self.gone and role == "write":
                raise DirectoryUnavailable("gone")
            found = dict(self.entries.get(name.lower(), {}))
            if self.meanwhile:
                self.meanwhile()
            return found

        return ask


def entry(number: int, **values: bytes) -> Entry:
    given = {name: [value] for name, value in values.items()}
    return {"entryUUID": [str(uuid.UUID(int=number)).encode()], **given}


def user(name: str, number: int = 1) -> dict[str, Entry]:
    return {f"uid={name},{BASE}": entry(number, objectClass=b"otpdUser", uid=name.encode())}


@dataclass
class World:
    clock: Clock = field(default_factory=Clock)
    servers: Servers = field(default_factory=Servers)

    def __post_init__(self) -> None:
        self.cache = Cache(self.clock, 2**20)
        self.cache.vouch(self.clock.now + 2, notified=True)
        self.servers.entries["alice"] = user("alice")

    def read(self, name: str = "alice", role: Role = "write", which: str = "(x=y)") -> Entries:
        deadline = Deadline.after(self.clock, 5)
        return self.cache.read(UserName(name), which, role, deadline, self.servers.asker(name))

    def questions(self, name: str = "alice") -> int:
        """How many the next read costs."""
        before = len(self.servers.asked)
        self.read(name)
        return len(self.servers.asked) - before


@pytest.fixture
def world() -> World:
    return World()


def change(number: int, dn: str, new: Entry | None = None) -> Change:
    return Change(uuid.UUID(int=number).bytes, dn, new)


def test_a_user_is_read_once(world: World) -> None:
    assert [world.questions() for _ in range(3)] == [1, 0, 0]
    assert world.servers.asked == [("(objectClass=*)", "write")], "as a whole, at the provider"


def test_nobody_is_kept_who_has_no_entry(world: World) -> None:
    assert [world.questions("bob") for _ in range(2)] == [1, 1]


def test_nobody_vouches(world: World) -> None:
    world.read()
    world.clock.now += 2
    assert [world.questions() for _ in range(2)] == [1, 1]
    assert world.servers.asked[-1] == ("(x=y)", "write"), "as if there were no cache"
    world.cache.lose()
    world.cache.vouch(world.clock.now + 2, notified=True)
    assert world.questions() == 1, "it begins empty"


def test_without_notifications(world: World) -> None:
    world.cache.vouch(world.clock.now + 10, notified=False)
    assert [world.questions() for _ in range(2)] == [1, 0]
    world.clock.now += UNNOTIFIED_SECONDS
    assert world.questions() == 1


def test_a_change_is_taken_over(world: World) -> None:
    world.read()
    child = f"otpdId=x,uid=alice,{BASE}"
    world.cache.change(change(2, child, entry(2, otpdId=b"x", otpdState=b"active")))
    assert world.read()[child]["otpdState"] == (b"active",)
    world.cache.change(change(2, child.upper().replace("OTPDID=X,UID", "otpdId=x,uid"), entry(2, otpdState=b"gone")))
    assert [one["otpdState"] for one in world.read().values() if "otpdState" in one] == [(b"gone",)]
    world.cache.change(change(2, child))
    assert list(world.read()) == [f"uid=alice,{BASE}"]
    assert len(world.servers.asked) == 1


def test_the_user_goes(world: World) -> None:
    world.read()
    world.cache.change(change(1, f"uid=alice,{BASE}"))
    assert len(world.cache) == 0


def test_the_user_is_renamed(world: World) -> None:
    world.read()
    world.cache.change(change(1, f"uid=bob,{BASE}", user("bob")[f"uid=bob,{BASE}"]))
    assert world.questions() == 1


def test_an_entry_that_shows_no_user_empties_it(world: World) -> None:
    world.read()
    world.cache.change(change(9, BASE, entry(9)))
    assert len(world.cache) == 0


@pytest.mark.parametrize(
    "event",
    [
        lambda cache: cache.change(change(7, f"otpdId=new,uid=ALICE,{BASE}", entry(7))),
        lambda cache: cache.change(change(1, f"uid=bob,{BASE}", entry(1))),
        lambda cache: cache.change(change(9, BASE, entry(9))),
        lambda cache: cache.written(f"uid=alice,{BASE}"),
        lambda cache: cache.lose(),
    ],
    ids=["an entry is added", "it is renamed", "something unclear", "it is written", "the connection ends"],
)
def test_what_happens_during_a_read_keeps_it_from_being_kept(world: World, event: Callable[[Cache], None]) -> None:
    world.servers.meanwhile = lambda: event(world.cache)
    world.read()
    world.servers.meanwhile = None
    world.cache.vouch(world.clock.now + 2, notified=True)
    assert [world.questions() for _ in range(2)] == [1, 0]


def test_what_happens_to_others_does_not(world: World) -> None:
    world.servers.meanwhile = lambda: world.cache.change(change(7, f"otpdId=new,uid=bob,{BASE}", entry(7)))
    assert [world.questions() for _ in range(2)] == [1, 0]


def test_a_name_in_other_case_is_neither_kept_nor_answered(world: World) -> None:
    assert [world.questions("ALICE") for _ in range(2)] == [1, 1]
    assert [world.questions() for _ in range(2)] == [1, 0]
    assert world.questions("ALICE") == 1
    assert world.questions() == 0


def test_the_provider_is_gone(world: World) -> None:
    world.servers.gone = True
    assert world.read(role="read")
    assert world.servers.asked == [("(objectClass=*)", "write"), ("(x=y)", "read")], "any server may answer"
    with pytest.raises(DirectoryUnavailable):
        world.read(role="write")


def test_what_it_thinks_it_takes_is_what_it_takes(world: World) -> None:
    """A user with a token, ten recovery codes and two app passwords; 1,000 pass through."""
    cache, deadline = Cache(world.clock, 2**21), Deadline.after(world.clock, 5)
    cache.vouch(world.clock.now + 2, notified=True)
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    for number in range(1000):
        name = UserName(f"user{number}")
        cache.read(name, "(x=y)", "write", deadline, lambda *_, name=name, number=number: person(name, number))
    taken = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    assert 0.6 * 2**21 < taken < 1.05 * 2**21


def person(name: str, number: int) -> Entries:
    def values(**given: list[bytes]) -> Entry:
        return {
            "entryUUID": [str(uuid.uuid4()).encode()],
            **{key: list(map(bytes, value)) for key, value in given.items()},
        }

    sealed = [secrets.token_hex(45).encode() for _ in range(13)]
    top = f"uid={name},{BASE}"
    return {
        top: values(objectClass=[b"otpdUser"], uid=[name.encode()], oathFailureCount=[b"0"]),
        f"otpdId={uuid.uuid4()},{top}": values(
            objectClass=[b"otpdToken"],
            otpdId=[str(uuid.uuid4()).encode()],
            otpdState=[b"active"],
            otpdLabel=[b"phone"],
            otpdSealedSeed=[sealed[0]],
            otpdCreated=[b"20261124060629Z"],
            oathOTPLength=[b"6"],
            oathHMACAlgorithm=[b"1.2.840.113549.2.7"],
            oathTOTPTimeStepPeriod=[b"30"],
            oathTOTPLastTimeStep=[b"59850166"],
        ),
        f"otpdId=recovery-codes,{top}": values(
            objectClass=[b"otpdRecoveryCodes"],
            otpdId=[b"recovery-codes"],
            otpdState=[b"active"],
            otpdCreated=[b"20261124060629Z"],
            otpdSealedRecoveryCode=sealed[1:11],
        ),
        **{
            f"otpdId={number}{one},{top}": values(
                objectClass=[b"otpdAppPassword"],
                otpdId=[f"{number}{one}".encode()],
                otpdService=[b"imap", b"smtp"],
                otpdSealedDigest=[sealed[11 + one]],
                otpdCreated=[b"20261124060629Z"],
            )
            for one in range(2)
        },
    }


def test_it_stays_within_its_bound_and_drops_who_was_not_seen_for_longest(world: World) -> None:
    world.read()
    for number in range(2000):
        name = f"user{number}"
        world.servers.entries[name] = user(name, number + 10)
        world.read(name)
        world.read()
    assert 100 < len(world.cache) < 1000
    assert world.questions() == 0
    assert world.questions("user1999") == 0
    assert world.questions("user0") == 1
