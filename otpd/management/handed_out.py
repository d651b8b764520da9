"""What an administrator hands out: enrolment tickets, and bypass codes for an emergency."""

from typing import Any, Final

from otpd import grants
from otpd.directory import Grant, GrantPurpose
from otpd.errors import ProtocolError
from otpd.management.verb import Call, Context, Refused
from otpd.texts import _

MAX_TICKET_HOURS: Final = 30 * 24
MAX_BYPASS_MINUTES: Final = 24 * 60
MAX_HOSTS: Final = 8


def ticket(context: Context, call: Call) -> dict[str, Any] | Refused:
    """A ticket to enrol with, in the place of the one that there may be."""
    seconds = _number(call, "hours", MAX_TICKET_HOURS) * 3600
    return _make(context, call, "enrolment", seconds, ())


def bypass(context: Context, call: Call) -> dict[str, Any] | Refused:
    """A code that opens the door of the named hosts once."""
    hosts = tuple(name.lower() for name in call.fields["hosts"].split())
    if not 0 < len(hosts) <= MAX_HOSTS or not all(name.isascii() for name in hosts):
        return Refused("bad-hosts", _("Name 1 to {most} hosts, each as `hostname` prints it there.", most=MAX_HOSTS))
    return _make(context, call, "bypass", _number(call, "minutes", MAX_BYPASS_MINUTES) * 60, hosts)


def shown(grant: Grant) -> dict[str, Any]:
    """A grant, without what opens a door."""
    return {
        "id": grant.id,
        "purpose": grant.purpose,
        "created": int(grant.created),
        "expires": int(grant.expires),
        "hosts": sorted(grant.hosts),
    }


def _make(
    context: Context, call: Call, purpose: GrantPurpose, seconds: int, hosts: tuple[str, ...]
) -> dict[str, Any] | Refused:
    user = context.parts.directory.user(call.user, call.deadline)
    if user and user.state == "disabled":
        return Refused("disabled", _("The second factor is disabled. Enable it first: otpctl user enable"))
    made = grants.make(context.parts, call.user, purpose, seconds, hosts, call.deadline)
    if made is None:
        return Refused("too-many", _("The user has too many of them. They expire; otpctl user reset removes them."))
    grant, text = made
    event = "bypass made" if purpose == "bypass" else "enrolment ticket made"
    grants.record(event, call.user, grant, peer=call.peer)
    return {"user": call.user, **shown(grant), "secret": text.reveal().decode()}


def _number(call: Call, name: str, most: int) -> int:
    text = call.fields[name]
    if not (text.isascii() and text.isdigit() and 0 < int(text) <= most):
        raise ProtocolError(f"{name}: expected a number from 1 to {most}")
    return int(text)
