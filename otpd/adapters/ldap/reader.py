"""Who is asked for the entries of one user: the servers, or what stands before them.

Every read of one user's entries goes through a :class:`Reader`, and every write of one is told to it.
"""

from collections.abc import Mapping, Sequence
from typing import Protocol

from otpd.adapters.ldap.connections import Role
from otpd.clock import Deadline
from otpd.values import UserName

Entry = Mapping[str, Sequence[bytes]]
Entries = Mapping[str, Entry]
"""Entries of one user, by DN: the user's own and those below it."""


class Ask(Protocol):
    """Asks the servers for the entries of one user."""

    def __call__(self, which: str, role: Role, deadline: Deadline) -> Entries:
        """Those that match the filter ``which``; nothing where there is no such user."""
        ...


class Reader(Protocol):
    """Reads the entries of a user."""

    def read(self, name: UserName, which: str, role: Role, deadline: Deadline, ask: Ask) -> Entries:
        """At least those that match ``which``; others of the user may come with them."""
        ...

    def written(self, dn: str) -> None:
        """The entry ``dn`` may be another than was read: it was written, or perhaps was, or is not as expected.

        A compare-and-set that succeeded is not told, except on the failure count: whoever goes by the old value once
        more loses, and is told then.
        """
        ...


class Servers:
    """The :class:`Reader` that keeps nothing."""

    def read(self, name: UserName, which: str, role: Role, deadline: Deadline, ask: Ask) -> Entries:  # noqa: ARG002, D102
        return ask(which, role, deadline)

    def written(self, dn: str) -> None:
        """Nothing is to be forgotten."""
