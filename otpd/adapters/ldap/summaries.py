"""All users at a glance: what is asked of a walk over every entry, and what its answers come to."""

from collections import Counter, defaultdict
from collections.abc import Iterable
from typing import Final

from otpd.adapters.ldap.entries import MOVING_FACTORS, OBJECT_CLASSES, is_a
from otpd.adapters.ldap.names import user_above
from otpd.adapters.ldap.reader import Entry
from otpd.directory import Summary
from otpd.values import UserName

# What is needed of each entry, and of which entries.
SUMMARY_ATTRIBUTES: Final = ("objectClass", "otpdState", "oathFailureCount")
SUMMARISED: Final = (
    f"(|{''.join(f'(objectClass={name})' for name in ('otpdUser', *MOVING_FACTORS, 'otpdAppPassword'))}"
    "(&(objectClass=otpdRecoveryCodes)(otpdSealedRecoveryCode=*)))"
)


def to_summaries(found: Iterable[tuple[str, Entry]]) -> tuple[Summary, ...]:
    """What the entries of a walk come to, user by user, in the order of names.

    An entry that does not parse spoils the line of its own user alone: who looks at all of them must see the others.
    """
    counts = defaultdict[UserName, Counter[str]](Counter)
    for dn, entry in found:
        kind = next(name for name in OBJECT_CLASSES if is_a(entry, name))
        kind = "token" if kind in MOVING_FACTORS else kind
        name = user_above(dn if kind != "otpdUser" else f"otpdId=,{dn}")
        state = next(iter(entry.get("otpdState", [])), b"active").decode("ascii", "replace")
        counts[name][kind] += 1
        counts[name][f"{kind} {state}"] += 1
        if kind == "otpdUser":
            failures = next(iter(entry.get("oathFailureCount", [])), b"0")
            counts[name]["failures"] = int(failures) if failures.isdigit() else 0
    return tuple(
        Summary(
            name=name,
            disabled=bool(count["otpdUser disabled"]),
            failures=count["failures"],
            tokens=count["token"],
            usable_tokens=0 if count["otpdUser disabled"] else count["token active"],
            has_recovery_codes=bool(count["otpdRecoveryCodes"]),
            app_passwords=count["otpdAppPassword"],
        )
        for name, count in sorted(counts.items())
        if count["otpdUser"]
    )
