"""What all attempts of a process share under the offline rule: the memory, and whether the directory answers.

Whoever misses an answer says so, and from then on nobody asks in vain: :mod:`otpd.adapters.offline.keeper` alone finds
out when the directory is back. No method but :meth:`Host.recall` and :meth:`Host.claim` raises: online logins go on
whatever becomes of the memory.
"""

import logging
import threading
from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from otpd import audit
from otpd.adapters.ldap.connections import Role
from otpd.adapters.ldap.reader import Entries
from otpd.adapters.offline.memory import Memory, Remembered, Spent
from otpd.clock import Clock, Deadline, to_datetime
from otpd.errors import DirectoryUnavailable, OtpdError, StoreError
from otpd.offline import Contact, HostTime, OfflineProof, OfflineRule
from otpd.values import UserName

LOG: Final = logging.getLogger("otpd.offline")
ROLES: Final[Mapping[OfflineProof, Role]] = {"code": "write", "app-password": "read"}
"""Which servers are asked for what a proof needs."""
PROOFS: Final[Mapping[Role, OfflineProof]] = {role: proof for proof, role in ROLES.items()}

KEEP_SECONDS: Final = 300.0
"""How old what is written of the last contact may be: that much may be missing from the limit after a crash."""
_WRITE_SECONDS: Final = 5.0


class Host:
    """The state of this host, for many threads."""

    def __init__(self, rule: OfflineRule, memory: Memory, clock: Clock) -> None:
        self.rule = rule
        self.memory = memory
        self.clock = clock
        self.wake = threading.Event()
        """Set when the keeper has something to do."""
        self.suspected = False
        """Whether a write was not answered: the keeper looks whether reads are."""
        self.decided = int(bool(memory.unsettled(Deadline.after(clock, _WRITE_SECONDS))))
        """How many codes were accepted while the directory was away, or a number that says that there were some."""
        self.settled = 0
        """What :attr:`decided` was when the directory last knew of all of them."""
        self._lock = threading.Lock()
        self._contact = memory.contact(Deadline.after(clock, _WRITE_SECONDS))
        self._kept_at = self._contact.at
        self._time = HostTime(max(self._contact.latest, clock.wall()), clock.monotonic())
        if self._contact.away:
            self._tell_away(self._contact, "it was away before the restart")

    def now(self) -> float:
        """Seconds since the Unix epoch, as they count against the limit."""
        return self._time.at(self.clock.wall(), self.clock.monotonic())

    def away(self, proof: OfflineProof) -> bool:
        """Whether nobody answers for what ``proof`` needs."""
        return proof in self._contact.away

    def contact_age(self) -> float:
        """Seconds since the provider last answered."""
        return self.now() - self._contact.at

    def lost(self, proof: OfflineProof, error: OtpdError) -> None:
        """The servers did not answer."""
        with self._lock:
            before = self._contact
            self._contact = before.lost(proof, self.now())
        if self._contact is not before:
            if not before.away:
                self._tell_away(self._contact, str(error))
            self.keep()
        self.wake.set()

    def answered(self, proof: OfflineProof) -> None:
        """The servers did, to a login; where that proof was away, the keeper finds out whether all is well again."""
        if proof == "code":
            with self._lock:
                self._heard()
        if self._is_late():
            self.keep()

    def back(self, proof: OfflineProof) -> None:
        """The keeper has found that the servers answer."""
        with self._lock:
            before = self._contact
            if proof == "code":
                self._heard()
            self._contact = self._contact.back(proof)
        if before.away and not self._contact.away:
            audit.record("directory back", level=logging.WARNING)
        if before.away != self._contact.away or self._is_late():
            self.keep()

    def keep(self) -> None:
        """Write the contact down, and how late it is."""
        with self._lock:
            contact = replace(self._contact, latest=max(self._contact.latest, self.now()))
            self._contact, self._kept_at = contact, contact.at
        try:
            self.memory.keep_contact(contact, self._soon())
        except StoreError as error:
            LOG.error("%s", error)  # noqa: TRY400 - its text says it all

    def keep_sometimes(self) -> None:
        """While the directory is away: a host that is restarted must know how long it was."""
        if self.now() - self._contact.latest > KEEP_SECONDS / 5:
            self.keep()

    def suspect(self) -> None:
        """A write was not answered."""
        self.suspected = True
        self.wake.set()

    def remember(self, name: UserName, proof: OfflineProof, found: Entries, deadline: Deadline) -> bool:
        """Keep what was read; whether there is something of the user that the directory lacks."""
        try:
            # A disk that hangs must not keep what needs no record of it from going on.
            share = Deadline.after(self.clock, deadline.remaining_seconds() / 2)
            return self.memory.remember(name, proof, found, share)
        except StoreError as error:
            LOG.error("what was read is not remembered: %s", error)  # noqa: TRY400
            return False

    def recall(self, name: UserName, proof: OfflineProof | None, deadline: Deadline) -> Remembered:
        """What this host remembers of a user; raises :class:`DirectoryUnavailable` where it may not go by that."""
        if proof is None or proof not in self.rule.accept:
            raise DirectoryUnavailable(f"the directory is away, and [offline] does not accept {proof or 'this proof'}")
        ends = self.rule.ends(self._contact)
        if self.now() >= ends:
            since = _shown(self._contact.at) if self._contact.at else "ever"
            raise DirectoryUnavailable(f"the directory is away, longer than [offline] allows: no answer since {since}")
        if self.memory.doubtful:
            raise DirectoryUnavailable("the directory is away, and this host could not write down what was used")
        try:
            remembered = self.memory.recall(name, proof, deadline)
        except StoreError as error:
            raise DirectoryUnavailable(f"the directory is away, and {error}") from None
        if remembered is None:
            raise DirectoryUnavailable("the directory is away, and this host remembers nothing of the user")
        return remembered

    def claim(self, spent: Spent, deadline: Deadline, *, offline: bool) -> bool:
        """Take a time step for this caller alone, on this host."""
        try:
            claimed = self.memory.claim(spent, deadline, offline=offline)
        except StoreError as error:
            # While the directory may lack a code that was accepted here, this is all that knows of it.
            if offline or deadline.expired() or self.decided != self.settled:
                raise DirectoryUnavailable(f"a code cannot be written down as used: {error}") from None
            LOG.error("a used code is not remembered: %s", error)  # noqa: TRY400
            return True
        if offline:
            with self._lock:
                self.decided += 1
            self.wake.set()
        return claimed

    def set_failures(self, name: UserName, known: int, move: tuple[int, int], at: float, deadline: Deadline) -> bool:
        """Move the failure count while the directory is away."""
        try:
            moved = self.memory.set_failures(name, known, move, at, deadline)
        except StoreError as error:
            raise DirectoryUnavailable(f"a failure cannot be counted: {error}") from None
        self.wake.set()
        return moved

    def _is_late(self) -> bool:
        """Whether what is written of the contact is too old, or of a time that the clock was wrong about."""
        return abs(self._contact.at - self._kept_at) > KEEP_SECONDS

    def _heard(self) -> None:
        wall = self.clock.wall()
        self._contact = self._contact.answered(wall)
        self._time = HostTime(wall, self.clock.monotonic())

    def _tell_away(self, contact: Contact, reason: str) -> None:
        accept = " and ".join(self.rule.accept)
        ends = _shown(self.rule.ends(contact)) if contact.at else "never"
        detail = f"{accept} of users known to this host until {ends}" if contact.at else "nothing is accepted"
        audit.record("directory away", level=logging.WARNING, reason=reason, detail=detail)

    def _soon(self) -> Deadline:
        return Deadline.after(self.clock, _WRITE_SECONDS)


def _shown(seconds: float) -> str:
    return to_datetime(seconds).strftime("%Y-%m-%d %H:%M:%S UTC")
