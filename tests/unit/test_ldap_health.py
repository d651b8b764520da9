"""Which server is asked first, and for how long one that failed is asked last."""

from dataclasses import dataclass

import pytest

from otpd.adapters.ldap.health import Health
from otpd.clock import SystemClock

SERVERS = ("a", "b", "c")


@dataclass
class Clock(SystemClock):
    now: float = 100.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def health(clock: Clock) -> Health:
    return Health(clock)


def test_the_configured_order(health: Health) -> None:
    assert health.order(SERVERS) == ["a", "b", "c"]


def test_what_failed_is_asked_last_the_one_that_may_be_back_first(clock: Clock, health: Health) -> None:
    health.failed("b")
    clock.now += 0.01
    for _ in range(5):
        health.failed("a")
    assert health.order(SERVERS) == ["c", "b", "a"]
    health.failed("c")
    assert health.order(SERVERS)[-1] == "a"


@pytest.mark.parametrize(
    ("failures", "least", "most"), [(1, 0.25, 0.5), (2, 0.5, 1), (3, 1, 2), (7, 15, 30), (99, 15, 30)]
)
def test_the_wait_doubles_up_to_half_a_minute(
    clock: Clock, health: Health, failures: int, least: float, most: float
) -> None:
    for _ in range(failures):
        health.failed("a")
    clock.now += least * 0.99
    assert health.order(SERVERS)[0] == "b"
    clock.now = 100 + most * 1.01
    assert health.order(SERVERS)[0] == "a"


def test_one_caller_tries_it_when_its_time_has_come(clock: Clock, health: Health) -> None:
    health.failed("a")
    clock.now += 1
    assert health.order(SERVERS)[0] == "a"
    assert health.order(SERVERS)[0] == "b", "while the other is about it"
    health.answered("a")
    assert health.order(SERVERS)[0] == "a"


def test_an_answer_makes_it_well_at_once(clock: Clock, health: Health) -> None:
    for _ in range(9):
        health.failed("a")
    health.answered("a")
    health.failed("a")
    clock.now += 0.6
    assert health.order(SERVERS)[0] == "a"


def test_a_server_alone_is_asked_whatever_happened(health: Health) -> None:
    health.failed("a")
    assert health.order(("a",)) == ["a"]
