"""Several processes that try one thing at the same moment, over and over."""

import multiprocessing
from collections.abc import Callable
from multiprocessing.connection import Connection
from multiprocessing.synchronize import Barrier
from typing import Final

from otpd.adapters.ldap.directory import LdapDirectory

from .servers import Server

RACERS: Final = 8
_SECONDS: Final = 240
_fork = multiprocessing.get_context("fork")

Attempt = Callable[[LdapDirectory, int], bool]
"""What a racer tries in a round; whether it won."""


def winners(server: Server, rounds: int, attempt: Attempt) -> list[int]:
    """How many of :data:`RACERS` processes won, for each round."""
    barrier = _fork.Barrier(RACERS)
    pipes = [_fork.Pipe(duplex=False) for _ in range(RACERS)]
    racers = [
        _fork.Process(target=_run, args=(server, rounds, attempt, barrier, writing), daemon=True)
        for _, writing in pipes
    ]
    for racer in racers:
        racer.start()
    results = [reading.recv() if reading.poll(_SECONDS) else None for reading, _ in pipes]
    for racer in racers:
        racer.join(10)
    assert all(isinstance(result, list) for result in results), results
    return [sum(won) for won in zip(*results, strict=True)]


def _run(server: Server, rounds: int, attempt: Attempt, barrier: Barrier, writing: Connection) -> None:
    try:
        directory, won = server.directory(), []
        for number in range(rounds):
            barrier.wait(_SECONDS)
            won.append(attempt(directory, number))
        writing.send(won)
    except BaseException as error:
        barrier.abort()
        writing.send(repr(error))
        raise
