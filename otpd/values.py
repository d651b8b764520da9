"""The small words that the rest is written in."""

from typing import NewType

UserName = NewType("UserName", str)
"""A user's name exactly as NSS spells it."""

ServiceName = NewType("ServiceName", str)
"""A PAM service name."""

EntryId = NewType("EntryId", str)
"""The name of an entry below a user's: a UUID for a token, the lookup id for an app password."""

TimeStep = NewType("TimeStep", int)
"""RFC 4226's moving factor: for TOTP, RFC 6238's T, periods since T0 = the Unix epoch; for HOTP, the counter C."""
