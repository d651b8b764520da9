"""Finds out whether the directory answers, and brings to it what was decided without it.

Bringing is safe to do again, from the start, after a crash at any moment: a time step only moves up, and the record of
it goes when the directory shows it; what a failure count is about to be moved to is written down first.
"""

import logging
import random
import threading
from dataclasses import dataclass, replace
from typing import Final

from otpd import audit
from otpd.adapters.ldap.directory import LdapDirectory
from otpd.adapters.offline.host import ROLES, Host
from otpd.adapters.offline.memory import Failures, Memory, Spent
from otpd.clock import Deadline
from otpd.directory import Token, User
from otpd.errors import DirectoryError, DirectoryUnavailable, OtpdError
from otpd.offline import OfflineProof
from otpd.values import UserName

LOG: Final = logging.getLogger("otpd.offline")
_TRIES: Final = 20
_FIRST_PAUSE_SECONDS: Final = 0.5
_MAX_PAUSE_SECONDS: Final = 4.0
_PAUSE_SECONDS: Final = 60.0
"""How often the provider is asked when there is nothing else to do: the limit counts from its last answer."""


def settle(directory: LdapDirectory, memory: Memory, name: UserName, deadline: Deadline) -> None:
    """Bring to the directory what it lacks of one user; raises :class:`DirectoryError` and :class:`StoreError`."""
    for spent in memory.unsettled_steps(name, deadline):
        _settle_step(directory, memory, spent, deadline)
    failures = memory.failures(name, deadline)
    if failures:
        _settle_failures(directory, memory, failures, deadline)


def _settle_step(directory: LdapDirectory, memory: Memory, spent: Spent, deadline: Deadline) -> None:
    """The highest step wins: the directory's is moved up, and never down."""
    for _ in range(_TRIES):
        token = _token(directory.user(spent.user, deadline), spent)
        if token is None or token.last_step >= spent.step:
            memory.settle_step(spent, deadline)
            audit.record("brought to the directory", user=spent.user, token=spent.token)
            return
        directory.raise_step(spent.user, token, spent.step, deadline)
    raise DirectoryError("a used code could not be brought to the directory: its token never stood still")


def _settle_failures(directory: LdapDirectory, memory: Memory, failures: Failures, deadline: Deadline) -> None:
    for _ in range(_TRIES):
        user = directory.user(failures.user, deadline)
        done = user is None or failures.unknown == 0 or user.failures == failures.new
        if done or user is None:
            memory.replace_failures(failures, None, deadline)
            return
        moving = replace(failures, old=user.failures, new=user.failures + failures.unknown)
        # It is written down first: who finds the count there after a crash must not add to it again.
        if moving != failures and not memory.replace_failures(failures, moving, deadline):
            return
        failures = moving
        at = max(failures.last, user.last_failure or 0.0)
        directory.set_failures(user.name, user.failures, user.failures + failures.unknown, at, deadline)
    raise DirectoryError("failures could not be brought to the directory: the count never stood still")


def _token(user: User | None, spent: Spent) -> Token | None:
    return next((token for token in user.tokens if spent.is_of(token)), None) if user else None


@dataclass
class Keeper:
    """The thread that does it; ``seconds`` is how long an answer may take."""

    host: Host
    directory: LdapDirectory
    seconds: float
    _misses: int = 0

    def start(self) -> None:
        """Begin; it ends with the process."""
        threading.Thread(target=self._run, name="offline", daemon=True).start()

    def _run(self) -> None:
        while True:
            self.host.wake.clear()
            try:
                self.turn()
            except Exception as error:  # noqa: BLE001 - it must go on, or nobody would find out that the directory is back
                self._misses += 1
                words = str(error) if isinstance(error, OtpdError) else type(error).__name__
                LOG.error("what was decided offline is not in the directory yet: %s", words)  # noqa: TRY400
            self._pause()

    def turn(self) -> None:
        """Ask those that were away, and the provider; then settle what there is."""
        missed = [proof for proof in ROLES if self._is_due(proof) and not self._answers(proof)]
        self._misses = self._misses + 1 if missed else 0
        if not self.host.away("code"):
            self._settle_all()

    def _is_due(self, proof: OfflineProof) -> bool:
        if self.host.away(proof):
            self.host.keep_sometimes()
            return True
        return proof == "code" and (self.host.suspected or self.host.contact_age() > _PAUSE_SECONDS / 2)

    def _answers(self, proof: OfflineProof) -> bool:
        try:
            self.directory.ping(ROLES[proof], self._soon())
        except DirectoryError as error:
            self.host.lost(proof, error)
            return False
        self.host.suspected = False
        self.host.back(proof)
        return True

    def _settle_all(self) -> None:
        failed: dict[UserName, OtpdError] = {}
        decided = self.host.decided
        while True:
            found = self.host.memory.unsettled(self._soon(), len(failed))
            names = [name for name in found if name not in failed]
            if not names:
                break
            for name in names:
                try:
                    settle(self.directory, self.host.memory, name, self._soon())
                except DirectoryUnavailable:
                    raise
                except DirectoryError as error:
                    failed[name] = error  # an entry that does not parse, say: the others do not wait for it
        for fault in failed.values():
            raise fault
        self.host.settled = decided

    def _pause(self) -> None:
        if not self._misses:
            self.host.wake.wait(_PAUSE_SECONDS)
            return
        seconds = min(_MAX_PAUSE_SECONDS, _FIRST_PAUSE_SECONDS * 2 ** min(self._misses - 1, 10))
        # Jitter: the hosts of a fleet must not come back all at once.
        threading.Event().wait(seconds * random.uniform(0.5, 1.0))  # noqa: S311 - no secret

    def _soon(self) -> Deadline:
        return Deadline.after(self.host.clock, self.seconds)
