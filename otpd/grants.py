"""Grants: what an administrator hands out, made and known again. Each is good once, until it expires."""

import logging
from collections.abc import Iterable
from typing import Final

from otpd import audit, handout
from otpd.clock import Deadline
from otpd.directory import Grant, GrantPurpose
from otpd.errors import DirectoryError
from otpd.factor import Parts
from otpd.secret import Secret
from otpd.values import EntryId, UserName

GRANT_PURPOSE: Final = "grant digest"
"""What the digest of a grant is sealed for; the purpose of the grant itself is in the digest."""

MAX_PER_USER: Final = 10


def make(
    parts: Parts, user: UserName, purpose: GrantPurpose, seconds: int, hosts: Iterable[str], deadline: Deadline
) -> tuple[Grant, Secret] | None:
    """A new grant, stored, and what the administrator hands out; None where the user has too many.

    There is one enrolment ticket a user: a new one takes the place of the older. What has expired goes.
    """
    now = float(int(parts.clock.wall()))
    parts.directory.ensure_user(user, deadline)
    left = 0
    for other in parts.directory.grants(user, deadline):
        if other.expires <= now or other.purpose == purpose == "enrolment":
            parts.directory.take_grant(user, other.id, deadline)
        else:
            left += 1
    if left >= MAX_PER_USER:
        return None
    text, grant_id, names = handout.generate(), EntryId(handout.new_id()), frozenset(hosts)
    digest = handout.digest(handout.parse(text.reveal()), purpose, now + seconds, names)
    grant = Grant(
        id=grant_id,
        purpose=purpose,
        created=now,
        expires=now + seconds,
        hosts=names,
        sealed_digest=parts.keys.seal(GRANT_PURPOSE, (user, grant_id), digest),
    )
    if not parts.directory.add_grant(user, grant, deadline):
        raise DirectoryError("a grant could not be stored: there is one of its id")
    return grant, text


def find(parts: Parts, user: UserName, purpose: GrantPurpose, typed: Secret, deadline: Deadline) -> Grant | None:
    """The grant that ``typed`` stands for, not yet taken and not expired; raises :class:`~otpd.symbols.Typo`."""
    canonical = handout.parse(typed.reveal())
    now = parts.clock.wall()
    found = None
    for grant in parts.directory.grants(user, deadline):
        if grant.purpose == purpose and now < grant.expires:
            digest = parts.keys.open(GRANT_PURPOSE, (user, grant.id), grant.sealed_digest)
            if digest == handout.digest(canonical, purpose, grant.expires, grant.hosts):
                found = grant
    return found


def record(event: str, user: UserName, grant: Grant, **fields: object) -> None:
    """Log what became of a grant; of a bypass as a warning, for it opens a door that is closed otherwise."""
    level = logging.WARNING if grant.purpose == "bypass" else logging.INFO
    audit.record(event, level=level, user=user, id=grant.id, hosts=" ".join(sorted(grant.hosts)), **fields)
