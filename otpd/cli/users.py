"""``otpctl status``."""

from datetime import UTC, datetime
from typing import Any, Final

import click

from otpd.cli.session import Session, another, json_option, pass_session, user_option
from otpd.printable import printable
from otpd.texts import _, mark, plural


@click.command()
@user_option
@json_option
@pass_session
def status(session: Session, user: str | None) -> None:
    """Show whether a second factor is set up, and with which tokens.

    \b
    Example:
      otpctl status
    """
    reply = session.call("status", user=user)
    session.show(reply, "\n".join(sentences(reply, user)))


def sentences(reply: dict[str, Any], user: str | None) -> list[str]:
    """A user's status, for people."""
    name = another(user)
    if reply.get("away"):
        return _away(reply["offline"])
    lines = [_factor(reply["enrolled"], bool(reply["recovery_codes"]), name)]
    for token in reply["tokens"]:
        label, state, since = printable(token["label"]) or _("token"), state_of(token), date(token["created"])
        since = _("{state}, since {since}, id {id}", state=state, since=since, id=token["id"])
        lines.append(f"  {label} ({since})")
        lines.append("    " + _("{codes}; last used: {use}", codes=_codes(token), use=last_used(token)))
        if token["clock"]:
            lines.append("    " + _("Its clock is {off}, which is allowed for.", off=token["clock"]))
    if reply["disabled"]:
        lines.append(_("It is disabled: every login that needs it is refused. An administrator can enable it."))
    if reply["failures"]:
        wait = (
            _("The next is looked at in {seconds} s.", seconds=reply["wait_seconds"]) if reply["wait_seconds"] else ""
        )
        lines.append(" ".join(filter(None, (_("Wrong codes in a row: {count}.", count=reply["failures"]), wait))))
    if reply["enrolled"] or reply["recovery_codes"]:
        lines.append(_recovery_codes(reply["recovery_codes"], name))
    lines += [
        "  " + _(_GRANTS[grant["purpose"]], id=grant["id"], until=moment(grant["expires"])) for grant in reply["grants"]
    ]
    lines.append(_app_passwords(reply["app_passwords"], name))
    return lines + _counts(reply.get("offline", {}))


def _factor(enrolled: bool, may_recover: bool, name: str) -> str:  # noqa: FBT001 - fields of the reply
    if enrolled:
        return _("{name} has a second factor.", name=name) if name else _("You have a second factor.")
    if name:
        return _("{name} has no second factor yet. Make a ticket: otpctl user ticket {name}", name=name)
    if may_recover:
        return _("You have no token any more. Set one up, with a recovery code as proof: otpctl enroll")
    return _("You have no second factor yet. Set one up: otpctl enroll")


def _recovery_codes(count: int, name: str) -> str:
    if name:
        return _("Recovery codes that {name} has left: {count}", name=name, count=count)
    return _("Recovery codes that you have left: {count}. New ones: otpctl recovery-codes", count=count)


def _app_passwords(count: int, name: str) -> str:
    if name:
        return _("App passwords of {name}: {count}", name=name, count=count)
    return _("App passwords: {count}. See: otpctl app-password --help", count=count)


def state_of(token: dict[str, Any]) -> str:
    """A token's state in a word, for people."""
    return _(_STATES[token["state"]])


def _away(offline: dict[str, Any]) -> list[str]:
    """While the directory is away."""
    accept = _(" and ").join(_(_PROOFS[proof]) for proof in offline["accept"])
    until, since = moment(offline["until"]), moment(offline["away_since"])
    lines = [_("The directory does not answer since {since}. Nothing can be changed or shown.", since=since)]
    lines.append(
        _("Until {until} this host accepts {accept} of users whom it knows.", until=until, accept=accept)
        if accept
        else _("This host accepts nothing by itself.")
    )
    return lines + _counts(offline)


def _counts(offline: dict[str, Any]) -> list[str]:
    if "fault" in offline:
        return [
            _("What this host remembers for when the directory is away cannot be read: {fault}", fault=offline["fault"])
        ]
    if "users" not in offline:
        return []
    users, unsettled = offline["users"], offline["unsettled"]
    return [
        _(
            "For when it is away, this host knows {users} users; of {unsettled}, the directory lacks something.",
            users=users,
            unsettled=unsettled,
        )
    ]


def moment(seconds: int) -> str:
    """A minute, in UTC, for people."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M UTC")


def _codes(token: dict[str, Any]) -> str:
    """What kind of codes a token gives."""
    period = token["period_seconds"]
    often = _("counted") if period is None else _("one every {period} s", period=period)
    digits = plural("{count} digit", "{count} digits", token["digits"])
    return f"{token['kind'].upper()}, {token['algorithm'].upper()}, {digits}, {often}"


def last_used(token: dict[str, Any]) -> str:
    """When and where a token was last used, in UTC, for people."""
    use = token["last_used"]
    if not use:
        return _("never")
    at = datetime.fromtimestamp(use["at"], UTC).strftime("%Y-%m-%d %H:%M")
    return _("{at} on {host} for {service}", at=at, host=use["host"] or "?", service=use["service"] or "?")


_GRANTS: Final = {
    "enrolment": mark("an enrolment ticket {id}, good until {until}"),
    "bypass": mark("a bypass code {id}, good until {until}"),
}
_STATES: Final = {"active": mark("active"), "disabled": mark("disabled"), "suspended": mark("suspended")}
_PROOFS: Final = {"code": mark("codes"), "app-password": mark("app-passwords")}


def date(seconds: int) -> str:
    """A day, in UTC, for people."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d")
