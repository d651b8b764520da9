"""Make an embedded directory with many users: ``bench/load --users 1000000 STATE_DIR KEY_RING``."""

import argparse
import multiprocessing
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from bench import people
from otpd.adapters.key_file import read_key_ring
from otpd.adapters.slapd import Account, initialise
from otpd.cli.progress import progress
from otpd.seal import KeyRing

SCHEMA: Final = Path(__file__).parents[1] / "conf" / "otpd.ldif"
_CHUNK: Final = 500
_FEWER_KEYS: Final = {"olcIndexSubstrIfMaxLen": 3, "olcIndexSubstrAnyLen": 1000}
_SEALERS: Final = os.cpu_count() or 1


class LoadError(Exception):
    """The directory could not be filled."""


def load(state: Path, users: int, key_ring: Path, *, quick: bool = False) -> float:
    """Make ``state`` as ``otpctl directory init`` does, with ``users`` users sealed with ``key_ring``; the seconds.

    Secrets are sealed by a process for each processor, and slapadd writes. ``quick`` leaves out the keys of the index
    inside of sealed values, for measurements of logins, which do not use them. Raises :class:`LoadError`.
    """
    owner = Account.of("otpd-directory")
    initialise(state, owner, Account.of("otpd"), SCHEMA)
    if quick:
        _configure(state, [f"add: {name}\n{name}: {value}\n-\n" for name, value in _FEWER_KEYS.items()])
    began = time.monotonic()
    # -q leaves out checks that the server makes of clients; -w leaves the state that notifications begin from.
    command = ["/usr/sbin/slapadd", "-q", "-w", "-F", str(state / "slapd.d"), "-n", "1"]
    with subprocess.Popen(command, stdin=subprocess.PIPE) as slapadd:
        assert slapadd.stdin
        with progress("loading users", users) as advance:
            for first, ldif in _sealed(users, key_ring):
                slapadd.stdin.write(ldif)
                advance(min(_CHUNK, users + 1 - first))
    if slapadd.returncode:
        raise LoadError(f"slapadd ended with {slapadd.returncode}; it has said why")
    if quick:
        _configure(state, [f"delete: {name}\n-\n" for name in _FEWER_KEYS])
        for path in (state / "slapd.d").rglob("*"):
            os.chown(path, owner.uid, owner.gid)
    for path in (state / "data", *(state / "data").iterdir()):
        os.chown(path, owner.uid, owner.gid)
    return time.monotonic() - began


def _configure(state: Path, changes: Sequence[str]) -> None:
    """Change the configuration of a slapd that does not run."""
    command = ["/usr/sbin/slapmodify", "-F", str(state / "slapd.d"), "-n", "0"]
    subprocess.run(command, input=f"dn: cn=config\nchangetype: modify\n{''.join(changes)}\n", text=True, check=True)


def size_of(state: Path) -> int:
    """What the database takes on disk, in bytes: its file is sparse."""
    return (state / "data" / "data.mdb").stat().st_blocks * 512


def _sealed(users: int, key_ring: Path) -> Iterator[tuple[int, bytes]]:
    """The first number of each chunk, and its LDIF; no more of it than slapadd is about to need."""
    keys, created = read_key_ring(key_ring, owner=Account.of("otpd").uid), float(int(time.time()))
    numbers = range(1, users + 1, _CHUNK)
    with multiprocessing.Pool(_SEALERS, _begin, (keys, created, users)) as pool:
        for batch in (numbers[start : start + _SEALERS * 2] for start in range(0, len(numbers), _SEALERS * 2)):
            yield from zip(batch, pool.map(_chunk, batch, chunksize=1), strict=True)


_given: tuple[KeyRing, float, int]


def _begin(keys: KeyRing, created: float, users: int) -> None:
    global _given  # noqa: PLW0603 - what a process of a pool starts with
    _given = (keys, created, users)


def _chunk(first: int) -> bytes:
    keys, created, users = _given
    numbers = range(first, min(first + _CHUNK, users + 1))
    return "".join(people.ldif_of(number, keys, created) for number in numbers).encode()


def main() -> None:
    """The command bench/load."""
    parser = argparse.ArgumentParser(prog="bench/load", description="Make an embedded directory with many users.")
    parser.add_argument("--users", type=int, default=1_000_000, metavar="N", help="(default: %(default)s)")
    parser.add_argument("--quick", action="store_true", help="only for measuring logins: fewer keys in the index")
    parser.add_argument("state", type=Path, metavar="STATE_DIR", help="must not exist; slapd.d and data are made there")
    parser.add_argument("key_ring", type=Path, metavar="KEY_RING", help="as otpctl keys init --file made it")
    arguments = parser.parse_args()
    try:
        seconds = load(arguments.state, arguments.users, arguments.key_ring, quick=arguments.quick)
    except LoadError as error:
        sys.exit(f"bench/load: {error}")
    size = size_of(arguments.state) / 2**20
    print(f"{arguments.users} users in {seconds:.0f} s, {size:.0f} MiB")


if __name__ == "__main__":
    main()
