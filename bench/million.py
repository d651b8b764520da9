"""Compare what logins cost with 10 users and with many: ``bench/million``."""

import argparse
import json
import os
import random
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from fleet.clients import manage
from rig.host import Host

from bench import people
from bench.load import size_of
from bench.places import BenchError, Place
from otpd.otp import parse_seed
from otpd.values import UserName

FEW: Final = 10
_MOST: Final = 1.15
_TRIES: Final = 30
_FIRST_UID: Final = 200_000


def main() -> None:
    """The command bench/million."""
    parser = argparse.ArgumentParser(prog="bench/million", description="Compare logins with 10 users and with many.")
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="where the directories are made")
    parser.add_argument("--users", type=int, default=1_000_000, metavar="N", help="(default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=100, metavar="N", help="of 10 logins each (default: %(default)s)")
    parser.add_argument("--only-logins", action="store_true", help="leave out what is measured with many users alone")
    parser.add_argument(
        "--quick", action="store_true", help="load with fewer keys in the index, which logins do not use"
    )
    arguments = parser.parse_args()
    Host(sys.executable).install()
    arguments.folder.chmod(0o755)
    few, many = (Place(folder=arguments.folder, users=users, quick=arguments.quick) for users in (FEW, arguments.users))
    with _running(few, many, tries=arguments.rounds * FEW):
        fits = compare(few, many, arguments.rounds)
        if not arguments.only_logins:
            measure(few, many, arguments.rounds * FEW)
    sys.exit(not fits)


@contextmanager
def _running(*places: Place, tries: int) -> Iterator[None]:
    try:
        for place in places:
            seconds = place.fill()
            if seconds is not None:
                print(f"{place.users} users loaded in {seconds:.0f} s, {size_of(place.state) / 2**20:.1f} MiB")
        make_accounts(places, tries)
        for place in places:
            began = time.monotonic()
            place.start()
            print(f"{place.users} users: up in {time.monotonic() - began:.1f} s")
        yield
    finally:
        for place in places:
            place.stop_all()


def spread(users: int, count: int) -> list[UserName]:
    """``count`` users from all over the directory, every tenth of whom has all that a user can have; all, of few."""
    if users <= count:
        return [people.name_of(number) for number in range(1, users + 1)]
    tens = users // 10
    return [people.name_of(10 * (index * tens // count) + 1 + index % 10) for index in range(count)]


def make_accounts(places: Sequence[Place], tries: int) -> None:
    """The accounts that are used, in /etc/passwd, which is read from its beginning: those of both are all over it."""
    wanted = {name for place in places for name in spread(place.users, tries)}
    names = sorted(wanted)
    random.Random(1).shuffle(names)  # noqa: S311 - the same order each time
    lines = [f"{name}:x:{_FIRST_UID + index}:100::/:/bin/sh\n" for index, name in enumerate(names)]
    with Path("/etc/passwd").open("a") as accounts:
        accounts.writelines(lines)


def compare(few: Place, many: Place, rounds: int) -> bool:
    """Log in here and there by turns, ``rounds`` times ten users; whether the costs are near enough."""
    places = (few, many)
    first: dict[int, list[float]] = {place.users: [] for place in places}
    again: dict[int, list[float]] = {place.users: [] for place in places}
    all_few, all_many = spread(few.users, FEW), spread(many.users, rounds * FEW)
    for number in range(rounds):
        names = {few.users: all_few, many.users: all_many[number * FEW : (number + 1) * FEW]}
        for measured in (first, again):
            for place in places:
                if place is few or measured is again:
                    place.forget_steps(names[place.users])
                if measured is first:
                    place.empty_cache()
            for index in range(FEW):
                for place in places if (number + index) % 2 else places[::-1]:
                    measured[place.users].append(place.log_in(names[place.users][index]))
    results = [
        _compared("first login, not in the cache", first, few, many),
        _compared("login, in the cache", again, few, many),
    ]
    return all(ratio <= _MOST for ratio in results)


def _compared(what: str, measured: dict[int, list[float]], few: Place, many: Place) -> float:
    for place in (few, many):
        _tell(f"{what}, {place.users} users", measured[place.users])
    ratio = statistics.median(measured[many.users]) / statistics.median(measured[few.users])
    print(f"{what}: {ratio:.3f} times the cost (at most {_MOST})")
    return ratio


def _tell(what: str, seconds: Sequence[float]) -> None:
    low, middle, high = (value * 1000 for value in statistics.quantiles(seconds, n=4))
    print(f"{what}: median {middle:.2f} ms, quartiles {low:.2f} and {high:.2f} ms, {len(seconds)} tries", flush=True)


def measure(few: Place, many: Place, tries: int) -> None:
    """What else a directory with many users is asked, beside the same with few where that is quick."""
    for place in (few, many):
        names = _some(place, tries)
        turns = [names[index % len(names)] for index in range(_TRIES)]
        _tell(f"otpctl status, {place.users} users", [_timed(_otpctl(place, "status", "--user", one)) for one in turns])
        _tell(f"enrolment of one more device, {place.users} users", [_timed(_enroll(place, one)) for one in names])
        _tell(f"otpctl keys list, {place.users} users", [_timed(_list_keys(place)) for _ in range(5)])
    mail = {place.users: [name for name in spread(place.users, tries) if _has_password(name)] for place in (few, many)}
    for place in (few, many):
        times = []
        for index in range(_TRIES):
            place.empty_cache()
            times.append(place.log_in_to_mail(mail[place.users][index % len(mail[place.users])]))
        _tell(f"app password, user not in the cache, {place.users} users", times)
    for place in (few, many):
        _export(place)


def _some(place: Place, tries: int) -> list[UserName]:
    """Of the users with accounts, as many as there are tries of what is slow."""
    return spread(place.users, tries)[:_TRIES]


def _has_password(name: UserName) -> bool:
    return people.has_more(int(name.removeprefix("user")))


def _timed(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def _otpctl(place: Place, *arguments: str) -> Callable[[], str]:
    command = ["otpctl", "--config", str(place.config), *arguments]
    return lambda: subprocess.run(command, check=True, capture_output=True, text=True).stdout


def _list_keys(place: Place) -> Callable[[], str]:
    return _otpctl(place, "keys", "list", "--file", str(place.run / "keyring"), "--json")


def _enroll(place: Place, name: UserName) -> Callable[[], None]:
    def enroll() -> None:
        begun = _managed(place, "enrol-begin", user=name)
        seed = parse_seed(begun["secret"])
        assert seed
        _managed(place, "enrol-confirm", user=name, ticket=begun["ticket"], code=people.code_with(seed, time.time()))

    return enroll


def _managed(place: Place, verb: str, **body: Any) -> dict[str, Any]:  # noqa: ANN401 - strings, handed through
    status, reply = manage(place.run / "control.sock", verb, **body)
    if status != "ok":
        raise BenchError(f"{verb}: {json.dumps(reply)}")
    return reply


def _export(place: Place) -> None:
    file, began = place.folder / f"{place.users}.backup", time.monotonic()
    file.unlink(missing_ok=True)
    command = ["otpctl", "--config", str(place.config), "directory", "export", str(file)]
    process = subprocess.Popen(command)
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    size = file.stat().st_size / 2**20 if file.exists() else 0
    file.unlink(missing_ok=True)
    print(
        f"otpctl directory export, {place.users} users: {time.monotonic() - began:.1f} s, {size:.1f} MiB, "
        f"at most {used.ru_maxrss / 1024:.0f} MiB of memory, exit code {process.returncode}"
    )


if __name__ == "__main__":
    main()
