"""Accounts against the directory: who has a second factor, and who has not."""

import grp
import pwd
import re
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from otpd.cli.progress import progress
from otpd.cli.session import Exit, Session
from otpd.texts import _, mark

_LOGIN_DEFS: Final = Path("/etc/login.defs")
_NOBODY: Final = 65534


@dataclass(frozen=True)
class Person:
    """One account. ``account`` is false where the directory knows a name that NSS does not."""

    name: str
    account: bool = True
    disabled: bool = False
    failures: int = 0
    tokens: int = 0
    usable_tokens: int = 0
    has_recovery_codes: bool = False
    app_passwords: int = 0

    @property
    def enrolled(self) -> bool:
        """Whether there is a token."""
        return self.tokens > 0

    @property
    def state(self) -> str:
        """In a word, to be translated."""
        if not self.account:
            return mark("account is gone")
        if self.disabled:
            return mark("disabled")
        if not self.enrolled:
            return mark("none")
        return mark("active") if self.usable_tokens else mark("all tokens disabled")

    def as_json(self) -> dict[str, Any]:
        """As an object for programs."""
        return {**asdict(self), "enrolled": self.enrolled}


def people(session: Session, groups: Iterable[str] = ()) -> list[Person]:
    """All accounts, or the members of ``groups``, with what the directory knows of them, by name."""
    known: dict[str, dict[str, Any]] = {}
    after: str | None = None
    more = True
    with progress(_("reading users"), quiet=session.as_json) as advance:
        while more:
            reply = session.call("user-list", after=after)
            known |= {one["name"]: one for one in reply["users"]}
            more = reply["more"]
            after = reply["users"][-1]["name"] if more else None
            advance(len(reply["users"]))
    groups = tuple(groups)
    names = {name for group in groups for name in members(session, group)} if groups else accounts() | set(known)
    listed = {entry.pw_name for entry in pwd.getpwall()}  # to ask for each by name takes long where they are many
    return [
        Person(**{**known.get(name, {"name": name}), "account": name in listed or _exists(name)})
        for name in sorted(names)
    ]


def chosen(one: Person, enrolled: bool | None, no_recovery_codes: bool) -> bool:  # noqa: FBT001 - options' values
    """Whether the filters let it through."""
    if enrolled is not None and one.enrolled != enrolled:
        return False
    return not no_recovery_codes or (one.enrolled and not one.has_recovery_codes)


def accounts() -> set[str]:
    """The people among the accounts that NSS lists; a remote service may list none, but for the members of a group."""
    least = _least_uid()
    return {entry.pw_name for entry in pwd.getpwall() if least <= entry.pw_uid != _NOBODY}


def members(session: Session, group: str) -> set[str]:
    """The members of a group, and those whose own group it is; ends the program where there is none."""
    try:
        entry = grp.getgrnam(group)
    except KeyError:
        session.fail("no-such-group", _("There is no group {group}.", group=group), Exit.REFUSED)
    return set(entry.gr_mem) | {one.pw_name for one in pwd.getpwall() if one.pw_gid == entry.gr_gid}


def _exists(name: str) -> bool:
    with suppress(KeyError):
        pwd.getpwnam(name)
        return True
    return False


def _least_uid() -> int:
    with suppress(OSError):
        found = re.search(r"^UID_MIN\s+(\d+)", _LOGIN_DEFS.read_text(errors="replace"), re.MULTILINE)
        if found:
            return int(found[1])
    return 1000
