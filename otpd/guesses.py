"""Counting guesses in the directory, so that those on many hosts add up.

The happy path writes nothing. Once there are failures, a guess is counted before it is looked at and taken back when it
was right, so that guesses made at the same time cannot outrun the count.
"""

from dataclasses import dataclass
from typing import Final

from otpd import throttle
from otpd.clock import Clock, Deadline
from otpd.directory import Directory, User
from otpd.errors import DirectoryError

_RACES: Final = 20


@dataclass(frozen=True)
class Guesses:
    """The failure count of users."""

    directory: Directory
    clock: Clock

    def reserve(self, user: User, deadline: Deadline) -> int | None:
        """Count a guess of ``user`` in advance where failures came before.

        The count as it stands now, or None where the user must wait, or where guesses of others got in between.
        """
        now = self.clock.wall()
        if not throttle.allowed(user.failures, user.last_failure, now):
            return None
        if user.failures == 0:
            return 0
        counted = user.failures + 1
        return counted if self.directory.set_failures(user.name, user.failures, counted, now, deadline) else None

    def wrong(self, user: User, count: int, deadline: Deadline) -> None:
        """The guess was wrong; it must be counted before anybody is told, unless :meth:`reserve` did."""
        if count:
            return
        known = user.failures
        for _ in range(_RACES):
            if self.directory.set_failures(user.name, known, known + 1, self.clock.wall(), deadline):
                return
            current = self.directory.user(user.name, deadline, fresh=True)
            if current is None:
                return
            known = current.failures
        raise DirectoryError("a failure could not be counted: the count never stood still")

    def not_a_guess(self, user: User, count: int, deadline: Deadline) -> None:
        """It turned out not to be a guess: take back what :meth:`reserve` counted."""
        if count:
            self.directory.set_failures(user.name, count, user.failures, user.last_failure or 0.0, deadline)

    def right(self, user: User, count: int, deadline: Deadline) -> None:
        """The guess was right: the count starts at zero again, unless somebody else guessed meanwhile."""
        if count:
            self.directory.set_failures(user.name, count, 0, self.clock.wall(), deadline)
