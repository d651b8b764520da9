"""One fleet for all tests of this folder."""

from collections.abc import Iterator

import pytest

from .fleet import Fleet, running_fleet


@pytest.fixture(scope="session")
def fleet() -> Iterator[Fleet]:
    with running_fleet() as running:
        yield running
