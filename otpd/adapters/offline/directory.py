"""The directory under the offline rule: each attempt is judged by the servers, or by what this host remembers.

The first read of an attempt decides, and nothing of the attempt crosses over: what the servers answered is spent on
the servers, so that a write whose answer was lost stays a refusal; and once the host's memory has answered, no server
is asked. In both, a code is first claimed on this host.
"""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from typing import Any, Final

from otpd.adapters.ldap.connections import Connections, Operation, Role
from otpd.adapters.ldap.directory import LdapDirectory
from otpd.adapters.ldap.entries import OF_CODES
from otpd.adapters.ldap.reader import Ask, Entries, Reader
from otpd.adapters.offline.host import PROOFS, Host
from otpd.adapters.offline.keeper import settle
from otpd.adapters.offline.memory import Remembered, Spent
from otpd.clock import Deadline
from otpd.directory import Directory, Token, Use, User
from otpd.errors import DirectoryUnavailable, StoreError
from otpd.offline import OfflineProof
from otpd.values import EntryId, TimeStep, UserName

_ALL: Final[Mapping[OfflineProof, str]] = {
    "code": OF_CODES,
    "app-password": "(|(objectClass=otpdUser)(objectClass=otpdAppPassword))",
}


class OfflineDirectory(LdapDirectory):
    """The directory as it is, until an attempt begins."""

    def __init__(self, connections: Connections, base_dn: str, host: Host, reader: Reader | None = None) -> None:
        super().__init__(connections, base_dn, reader)
        self._host = host

    def attempt(self, proof: OfflineProof | None) -> Directory:  # noqa: D102 - otpd.directory says it
        return _Attempt(self._connections, self._base_dn, self._host, _Decider(self._host, proof, self._reader))


class _Decider:
    """The :class:`Reader` of one attempt.

    ``offline`` is None until the first read. ``remembered`` is what the host's memory said, ``unsettled`` that the
    directory does not know all that this host knows of the user.
    """

    def __init__(self, host: Host, proof: OfflineProof | None, servers: Reader) -> None:
        self.offline: bool | None = None
        self.remembered: Remembered | None = None
        self.unsettled = False
        self._answered = False
        self._host = host
        self._proof = proof
        self._servers = servers

    def read(self, name: UserName, which: str, role: Role, deadline: Deadline, ask: Ask) -> Entries:  # noqa: ARG002
        """All that proofs of this kind need of the user, whatever ``which`` is: half of it is not worth remembering."""
        kind = PROOFS[role]
        if self.offline is None:
            self.offline = self._host.away(kind)
        if self.offline:
            return self._recall(name, deadline)

        def ask_servers(which: str, role: Role, deadline: Deadline) -> Entries:
            answer = ask(which, role, deadline)
            self._host.answered(PROOFS[role])  # what a cache answers is no sign that a server would
            return answer

        try:
            found = self._servers.read(name, _ALL[kind], role, _half(deadline), ask_servers)
        except DirectoryUnavailable as error:
            self._host.lost(kind, error)
            if self._answered:
                raise
            self.offline = True
            return self._recall(name, deadline)
        self._answered = True
        self.unsettled = self._host.remember(name, kind, found, deadline)
        return found

    def written(self, dn: str) -> None:
        """For who keeps what servers said."""
        self._servers.written(dn)

    def _recall(self, name: UserName, deadline: Deadline) -> Entries:
        self.remembered = self._host.recall(name, self._proof, deadline)
        return self.remembered.found


class _Attempt(LdapDirectory):
    """The directory for one attempt."""

    def __init__(self, connections: Connections, base_dn: str, host: Host, decider: _Decider) -> None:
        super().__init__(connections, base_dn, decider)
        self._host = host
        self._decider = decider
        self._servers = LdapDirectory(connections, base_dn)
        self._known_failures = 0
        self._refused: dict[EntryId, TimeStep] = {}
        self._claimed: set[tuple[EntryId, TimeStep]] = set()

    @property
    def offline(self) -> bool:
        return bool(self._decider.offline)

    def user(self, name: UserName, deadline: Deadline) -> User | None:
        user = super().user(name, deadline)
        if self.offline:
            return self._as_it_is_here(user)
        if self._decider.unsettled:
            # What was used while the directory was away must be used there, too, before anything else is judged.
            with suppress(StoreError):  # the log has it, and logins on the servers go on
                settle(self._servers, self._host.memory, name, deadline)
            self._decider.written(self._user_dn(name))
            user = super().user(name, deadline)
        return self._without_refused(user) if user else None

    def spend_step(
        self, name: UserName, token: Token, step: TimeStep, deadline: Deadline, use: Use | None = None
    ) -> bool:
        if step <= token.last_step:
            return False
        # Whoever lost to an earlier step of another host tries again, and has claimed this one before.
        if (token.id, step) not in self._claimed:
            if not self._host.claim(Spent(name, token.id, step, token.created), deadline, offline=self.offline):
                self._refused[token.id] = step
                return False
            self._claimed.add((token.id, step))
        return self.offline or super().spend_step(name, token, step, deadline, use)

    def set_failures(self, name: UserName, old: int, new: int, at: float, deadline: Deadline) -> bool:
        if not self.offline:
            return super().set_failures(name, old, new, at, deadline)
        return self._host.set_failures(name, self._known_failures, (old, new), at, deadline)

    def _without_refused(self, user: User) -> User:
        """What this host has refused counts as spent: a write that was never sent leaves the directory behind it."""
        steps = [max(token.last_step, self._refused.get(token.id, token.last_step)) for token in user.tokens]
        tokens = [replace(token, last_step=step) for token, step in zip(user.tokens, steps, strict=True)]
        return replace(user, tokens=tuple(tokens))

    def _as_it_is_here(self, user: User | None) -> User:
        """``user`` with what this host knows beyond the entries; raises where it knows of nothing to ask for."""
        remembered = self._decider.remembered
        if user is None or remembered is None or not user.enrolled:
            raise DirectoryUnavailable("the directory is away, and this host remembers no second factor of the user")
        self._known_failures = user.failures
        failures = remembered.failures
        return replace(
            user,
            tokens=tuple(_with_known(token, remembered.steps.get(token.id)) for token in user.tokens),
            failures=failures.count if failures else user.failures,
            last_failure=failures.last if failures else user.last_failure,
            sealed_recovery_codes=(),
        )

    def _call(self, role: Role, name: str, deadline: Deadline, operation: Operation) -> Any:  # noqa: ANN401 - ldap3's
        if self.offline:
            raise DirectoryUnavailable(f"{name}: the directory is away")
        try:
            return super()._call(role, name, deadline, operation)
        except DirectoryUnavailable:
            if role == "write" and name != "search":
                self._host.suspect()
            raise


def _with_known(token: Token, spent: Spent | None) -> Token:
    return replace(token, last_step=max(token.last_step, spent.step)) if spent and spent.is_of(token) else token


def _half(deadline: Deadline) -> Deadline:
    """Where servers hang, there must be time left to answer from the memory."""
    return Deadline(deadline.clock, deadline.at - deadline.remaining_seconds() / 2)
