"""``otpctl status``."""

from datetime import UTC, datetime
from typing import Any, Final

import click

from otpd.cli.session import Session, json_option, own_or, pass_session, user_option


@click.command()
@user_option
@json_option
@pass_session
def status(session: Session, user: str | None) -> None:
    """Show whether a second factor is set up, and with which devices.

    \b
    Example:
      otpctl status
    """
    reply = session.call("status", user=user)
    session.show(reply, "\n".join(sentences(reply, user)))


def sentences(reply: dict[str, Any], user: str | None) -> list[str]:
    """A user's status, for people."""
    whose = own_or(user)
    if reply.get("away"):
        return _away(reply["offline"])
    lines = [
        f"{whose} a second factor." if reply["enrolled"] else f"{whose} no second factor yet. Set one up: otpctl enroll"
    ]
    for token in reply["tokens"]:
        created = date(token["created"])
        lines.append(f"  {token['label'] or 'token'} ({token['state']}, since {created}, id {token['id']})")
        lines.append(f"    {_codes(token)}; last used: {last_used(token)}")
        if token["clock"]:
            lines.append(f"    Its clock is {token['clock']}, which is allowed for.")
    if reply["disabled"]:
        lines.append("It is disabled: every login that needs it is refused. An administrator can enable it.")
    if reply["failures"]:
        wait = f" The next is looked at in {reply['wait_seconds']} s." if reply["wait_seconds"] else ""
        lines.append(f"Wrong codes in a row: {reply['failures']}.{wait}")
    if reply["enrolled"] or reply["recovery_codes"]:
        lines.append(f"{whose} {reply['recovery_codes'] or 'no'} recovery codes left. New ones: otpctl recovery-codes")
    lines += [
        f"  {_GRANTS[grant['purpose']]} {grant['id']}, good until {moment(grant['expires'])}"
        for grant in reply["grants"]
    ]
    count = reply["app_passwords"]
    lines.append(f"{whose} {count or 'no'} app password{'' if count == 1 else 's'}. See: otpctl app-password --help")
    return lines + _counts(reply.get("offline", {}))


def _away(offline: dict[str, Any]) -> list[str]:
    """While the directory is away."""
    accept = " and ".join(f"{proof}s" for proof in offline["accept"])
    until = moment(offline["until"])
    lines = [f"The directory does not answer since {moment(offline['away_since'])}. Nothing can be changed or shown."]
    lines.append(
        f"Until {until} this host accepts {accept} of users whom it knows."
        if accept
        else "This host accepts nothing by itself."
    )
    return lines + _counts(offline)


def _counts(offline: dict[str, Any]) -> list[str]:
    if "fault" in offline:
        return [f"What this host remembers for when the directory is away cannot be read: {offline['fault']}"]
    if "users" not in offline:
        return []
    users, unsettled = offline["users"], offline["unsettled"]
    return [f"For when it is away, this host knows {users} users; of {unsettled}, the directory lacks something."]


def moment(seconds: int) -> str:
    """A minute, in UTC, for people."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M UTC")


def _codes(token: dict[str, Any]) -> str:
    """What kind of codes a device gives."""
    period = token["period_seconds"]
    often = "counted" if period is None else f"one every {period} s"
    return f"{token['kind'].upper()}, {token['algorithm'].upper()}, {token['digits']} digits, {often}"


def last_used(token: dict[str, Any]) -> str:
    """When and where a device was last used, in UTC, for people."""
    use = token["last_used"]
    if not use:
        return "never"
    at = datetime.fromtimestamp(use["at"], UTC).strftime("%Y-%m-%d %H:%M")
    return f"{at} on {use['host'] or '?'} for {use['service'] or '?'}"


_GRANTS: Final = {"enrolment": "an enrolment ticket", "bypass": "a bypass code"}


def date(seconds: int) -> str:
    """A day, in UTC, for people."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d")
