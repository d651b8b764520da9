"""Judging guesses, and counting them in the directory, so that those on many hosts add up.

The happy path writes nothing but what it spends. Once there are failures, a guess is counted before it is looked at and
taken back when it was right, so that guesses made at the same time cannot outrun the count.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from otpd import throttle
from otpd.clock import Clock, Deadline
from otpd.directory import Directory, User
from otpd.errors import DirectoryError
from otpd.factor import Outcome, Reason

_RACES: Final = 20

Spend = Callable[[], Outcome | None]
"""Spends what a right guess names: the outcome for this caller alone, or None where it was spent before."""


@dataclass(frozen=True)
class Guesses:
    """The failure count of one user, as it was read."""

    directory: Directory
    clock: Clock
    user: User
    deadline: Deadline

    def judge(self, find: Callable[[], Sequence[Spend]], *, wrong: Reason, used: Reason) -> Outcome:
        """Let ``find`` look for what the guess names, unless the user must wait, and spend the first that can be.

        ``wrong`` is the reason when it names nothing, ``used`` when all that it names was spent before.
        """
        count = self._reserve()
        if count is None:
            return Outcome(Reason.THROTTLED)
        found = find()
        if not found:
            if not count:
                self._count()
            return Outcome(wrong)
        for spend in found:
            outcome = spend()
            if outcome:
                self._put(count, 0, self.clock.wall())
                return outcome
        # It was no guess, but a code that its owner typed twice: take back what was counted.
        self._put(count, self.user.failures, self.user.last_failure or 0.0)
        return Outcome(used)

    def _reserve(self) -> int | None:
        """The count as it stands now: one more in advance where failures came before.

        None where the user must wait, or where guesses of others got in between.
        """
        now = self.clock.wall()
        if not throttle.allowed(self.user.failures, self.user.last_failure, now):
            return None
        if self.user.failures == 0:
            return 0
        counted = self.user.failures + 1
        return counted if self._set(self.user.failures, counted, now) else None

    def _count(self) -> None:
        """One more failure; before anybody is told."""
        known = self.user.failures
        for _ in range(_RACES):
            if self._set(known, known + 1, self.clock.wall()):
                return
            current = self.directory.user(self.user.name, self.deadline)
            if current is None:
                return
            known = current.failures
        raise DirectoryError("a failure could not be counted: the count never stood still")

    def _put(self, count: int, new: int, at: float) -> None:
        """Undo a reservation; where somebody else guessed meanwhile, their count stands."""
        if count:
            self._set(count, new, at)

    def _set(self, old: int, new: int, at: float) -> bool:
        return self.directory.set_failures(self.user.name, old, new, at, self.deadline)
