"""The users of this host, from NSS."""

import pwd

from otpd.values import UserName


class NssAccounts:
    """:class:`otpd.identity.Accounts` through getpwnam and getpwuid."""

    def canonical_name(self, name: str) -> UserName | None:
        """The name as NSS spells it: sssd may know ALICE as alice, and both are one user."""
        entry = _by_name(name)
        return UserName(entry.pw_name) if entry else None

    def uid(self, name: UserName) -> int | None:
        """The uid of a user."""
        entry = _by_name(name)
        return entry.pw_uid if entry else None

    def name_of(self, uid: int) -> UserName | None:
        """The name of a uid."""
        try:
            return UserName(pwd.getpwuid(uid).pw_name)
        except KeyError:
            return None


def _by_name(name: str) -> pwd.struct_passwd | None:
    try:
        return pwd.getpwnam(name)
    except (KeyError, ValueError):  # ValueError: a NUL in the name
        return None
