"""What is kept of the directory is true, or is not used: where a server notifies of changes, and where none does."""

import itertools
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from otpd.adapters.ldap.cache import Cache
from otpd.adapters.ldap.connections import Connections
from otpd.adapters.ldap.directory import LdapDirectory
from otpd.adapters.ldap.watch import BELIEVED_SECONDS, Watch
from otpd.directory import Directory
from otpd.errors import DirectoryUnavailable
from otpd.values import TimeStep, UserName

from .proxy import Proxy, between
from .samples import CLOCK, app_password, soon, token
from .servers import BASE, Server

TRIES = 50


def eventually(condition: Callable[[], bool], seconds: float = 10) -> float:
    """How long it takes until ``condition`` is true."""
    started = time.monotonic()
    while not condition():
        assert time.monotonic() < started + seconds
        time.sleep(0.001)
    return time.monotonic() - started


@dataclass
class Site:
    """A server, what otpctl on some host writes with, and the cache of another host behind a proxy."""

    server: Server
    there: Directory
    here: Directory
    cache: Cache
    proxy: Proxy

    def user(self, name: str) -> UserName:
        """A user with a token and an app password, who is kept."""
        user = UserName(name)
        self.there.ensure_user(user, soon())
        self.there.add_token(user, token(), soon())
        self.there.add_app_password(user, app_password(), soon())
        self.here.user(user, soon())
        return user

    def operations(self, what: Callable[[], object]) -> int:
        """How many requests ``what`` sends on connections that are open."""
        before = self.proxy.requests
        what()
        return self.proxy.requests - before

    def works(self) -> bool:
        """Whether what was read a moment ago is kept."""
        self.here.user(UserName("probe"), soon())
        return len(self.cache) > 0


@contextmanager
def site(server: Server, folder: Path) -> Iterator[Site]:
    server.directory().ensure_user(UserName("probe"), soon())
    with between(str(folder / "s"), str(server.path)) as proxy:
        reached = server.servers(uris=(proxy.uri,), provider=proxy.uri)
        cache = Cache(CLOCK, 2**26)
        watch = Watch(Connections(reached, CLOCK), BASE, cache, CLOCK)
        watch.start()
        here = LdapDirectory(Connections(reached, CLOCK), BASE, cache)
        made = Site(server, server.directory(), here, cache, proxy)
        eventually(made.works)
        yield made
        watch.stop()


@pytest.fixture(params=["openldap_2_5", "openldap_2_6"])
def notifying(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Site]:
    server: Server = request.getfixturevalue(request.param)
    with site(server, tmp_path) as made:
        yield made


@pytest.fixture
def silent(directory_server_389: Server, tmp_path: Path) -> Iterator[Site]:
    with site(directory_server_389, tmp_path) as made:
        yield made


def test_a_code_costs_one_operation_and_an_app_password_none(notifying: Site) -> None:
    user = notifying.user("cost")
    for step in range(10, 20):
        found = notifying.here.user(user, soon())
        assert found

        def login(step: int = step) -> None:
            known = notifying.here.user(user, soon())
            assert known
            assert notifying.here.spend_step(user, known.tokens[0], TimeStep(step), soon())

        assert notifying.operations(login) == 1
        eventually(lambda step=step: notifying.here.user(user, soon()).tokens[0].last_step == step)
        assert notifying.operations(lambda: notifying.here.app_password(user, app_password().id, soon())) == 0


def revocations(made: Site, users: list[UserName]) -> list[float]:
    """How long each takes until it is in force here: an app password and a token of each user."""
    took = []
    for user in users:
        made.here.user(user, soon())
        assert made.there.remove_app_password(user, app_password().id, soon())
        took.append(eventually(lambda user=user: made.here.app_password(user, app_password().id, soon())[1] is None))
        made.here.user(user, soon())
        assert made.there.set_token_state(user, token(), "disabled", soon())
        took.append(eventually(lambda user=user: not made.here.user(user, soon()).usable_tokens))
    return took


def report(made: Site, took: list[float]) -> None:
    print(f"{made.server.name}: {len(took)} times, p50 {statistics.median(took):.4f} s, longest {max(took):.4f} s")


def test_a_revocation_is_in_force_within_a_second(notifying: Site) -> None:
    took = revocations(notifying, [notifying.user(f"revoked{number}") for number in range(TRIES)])
    report(notifying, took)
    assert max(took) < 1


def test_a_revocation_is_in_force_within_a_second_without_notifications(silent: Site) -> None:
    """At most 0.8 seconds after the read, and what the read takes."""
    users = [silent.user(f"revoked{number}") for number in range(TRIES)]
    with ThreadPoolExecutor(10) as pool:
        took = list(itertools.chain(*pool.map(lambda user: revocations(silent, [user]), users)))
    report(silent, took)
    assert max(took) < 1.5, "a second, on a machine that has time"


def test_a_server_that_hangs_is_not_believed_for_long(notifying: Site) -> None:
    user = notifying.user("hangs")
    with notifying.server.hanging():
        assert eventually(lambda: unavailable(notifying.here, user)) < BELIEVED_SECONDS + 0.5
    eventually(notifying.works)


@pytest.mark.parametrize("fault", ["swallow replies", "swallow requests"])
def test_a_connection_that_died_is_not_believed_for_long(notifying: Site, fault: str) -> None:
    user = notifying.user("dead")
    notifying.proxy.fault = fault  # type: ignore[assignment]  # one of them
    assert eventually(lambda: unavailable(notifying.here, user)) < BELIEVED_SECONDS + 0.5
    notifying.proxy.fault = ""
    eventually(notifying.works)


def unavailable(directory: Directory, user: UserName) -> bool:
    try:
        directory.user(user, soon(0.1))
    except DirectoryUnavailable:
        return True
    return False


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
def test_a_restart_empties_it_at_once(notifying: Site, how: signal.Signals) -> None:
    notifying.user("restart")
    notifying.server.stop(how)
    assert eventually(lambda: len(notifying.cache) == 0) < 0.5
    notifying.server.start()
    eventually(notifying.works)


def test_who_has_no_base_vouches_for_nothing(openldap_2_5: Server) -> None:
    """A provider that was emptied, or whose ACL lets otpd's account in no more."""
    server, user = openldap_2_5, UserName("probe")
    server.directory().ensure_user(user, soon())
    cache = Cache(CLOCK, 2**26)
    watch = Watch(Connections(server.servers(), CLOCK), f"ou=gone,{BASE}", cache, CLOCK)
    watch.start()
    here = LdapDirectory(Connections(server.servers(), CLOCK), BASE, cache)
    until = time.monotonic() + 2
    while time.monotonic() < until:
        here.user(user, soon())
        assert len(cache) == 0
        time.sleep(0.05)
    watch.stop()


def test_the_clock_goes_on_while_the_host_sleeps() -> None:
    """What is kept is good for seconds, not for a night: in a time namespace, another host has slept for so long."""
    slept = 100_000
    ask = "from otpd.clock import SystemClock; print(SystemClock().monotonic())"
    command = ["unshare", "--time", "--boottime", str(slept), "--fork", sys.executable, "-c", ask]
    there = float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    assert abs(there - CLOCK.monotonic() - slept) < slept / 2
