"""The bench's loader makes a directory that otpd lets people in by."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from bench import people
from bench.load import size_of
from bench.million import compare, make_accounts, spread
from bench.places import Place

USERS = 50


@pytest.fixture
def places() -> Iterator[tuple[Place, Place]]:
    folder = Path("/var/lib/otpd-bench")
    folder.mkdir(mode=0o755)
    few, many = Place(folder=folder, users=10), Place(folder=folder, users=USERS)
    make_accounts((few, many), 20)
    try:
        for place in (few, many):
            assert place.fill() is not None
            place.start()
        yield few, many
    finally:
        few.stop_all()
        many.stop_all()


def test_everybody_who_was_loaded_can_log_in(places: tuple[Place, Place]) -> None:
    few, many = places
    assert few.fill() is None
    assert size_of(many.state) > size_of(few.state)
    compare(few, many, rounds=2)  # raises where somebody is refused; two rounds show no cost
    many.log_in_to_mail(next(name for name in spread(USERS, 20) if people.has_more(int(name.removeprefix("user")))))


def test_users_who_are_measured_are_all_over_the_directory_and_as_mixed_as_it() -> None:
    names = spread(1_000_000, 400)
    numbers = [int(name.removeprefix("user")) for name in names]
    assert len(set(names)) == 400
    assert numbers == sorted(numbers)
    assert numbers[0] == 1
    assert numbers[-1] > 990_000
    assert sum(map(people.has_more, numbers)) == 40
