"""``otpctl user``: what an administrator does for one user, or sees of all."""

from typing import Any, Final

import click

from otpd.cli.coverage import Person, chosen, people
from otpd.cli.secret_page import Page
from otpd.cli.session import Session, json_option, may_show_secret, pass_session, show_secret_option, where_it_stays
from otpd.cli.table import show_table
from otpd.cli.users import moment, sentences
from otpd.printable import printable
from otpd.texts import _, mark, plural

name_argument = click.argument("name")


@click.group()
def user() -> None:
    """Look after users: see, unlock, disable, reset, help out. For root."""


@user.command("list")
@click.option("--group", "groups", multiple=True, metavar="GROUP", help="Members of this group; repeatable.")
@click.option("--enrolled/--not-enrolled", default=None, help="Those alone who have a second factor, or who have none.")
@click.option("--no-recovery-codes", is_flag=True, help="Those alone who enrolled, and have no recovery code left.")
@json_option
@pass_session
def listing(session: Session, groups: tuple[str, ...], enrolled: bool | None, no_recovery_codes: bool) -> None:  # noqa: FBT001 - click's call
    """List the accounts of this host and what otpd knows of them.

    Accounts are those that NSS lists, from the least uid of people (UID_MIN in login.defs), the members of --group, and
    whoever is in the directory.

    \b
    Example:
      otpctl user list --group staff --not-enrolled
    """
    shown = [one for one in people(session, groups) if chosen(one, enrolled, no_recovery_codes)]
    if session.as_json:
        session.show({"users": [one.as_json() for one in shown]}, "")
        return
    show_table([*map(_, _HEADINGS)], [_cells(one) for one in shown])
    click.echo(plural("{count} user", "{count} users", len(shown)), err=True)


_HEADINGS: Final = (
    mark("USER"),
    mark("SECOND FACTOR"),
    mark("TOKENS"),
    mark("RECOVERY CODES"),
    mark("APP PASSWORDS"),
    mark("FAILURES"),
)


def _cells(one: Person) -> tuple[str, ...]:
    recovery = "-" if not one.enrolled else _("yes") if one.has_recovery_codes else _("none")
    return (one.name, _(one.state), str(one.tokens), recovery, str(one.app_passwords), str(one.failures))


@user.command()
@name_argument
@json_option
@pass_session
def show(session: Session, name: str) -> None:
    """Show all that otpd knows of a user, but no secret.

    \b
    Example:
      otpctl user show alice
    """
    reply = session.call("status", user=name)
    passwords = session.call("app-password-list", user=name)["app_passwords"]
    lines = sentences(reply, name)
    lines += [
        f"  {printable(one['label']) or one['id']}: {', '.join(one['services'])} ({one['id']})" for one in passwords
    ]
    session.show({**reply, "app_passwords": passwords}, "\n".join(lines))


@user.command()
@name_argument
@json_option
@pass_session
def disable(session: Session, name: str) -> None:
    """Refuse every code and app password of a user, at once.

    \b
    Example:
      otpctl user disable alice      (her phone was stolen)
    """
    reply = session.call("disable", user=name)
    text = _(
        "Disabled: every login of {name} that needs a second factor is refused. Undo: otpctl user enable {name}",
        name=name,
    )
    session.show(reply, text)


@user.command()
@name_argument
@json_option
@pass_session
def enable(session: Session, name: str) -> None:
    """Take back ``disable``.

    \b
    Example:
      otpctl user enable alice
    """
    reply = session.call("enable", user=name)
    session.show(reply, _("Enabled: the codes and app passwords of {name} are accepted again.", name=name))


@user.command()
@name_argument
@json_option
@pass_session
def unlock(session: Session, name: str) -> None:
    """Forget wrong codes, so that the next code is looked at at once.

    \b
    Example:
      otpctl user unlock alice
    """
    reply = session.call("unlock", user=name)
    session.show(
        reply,
        _("Unlocked: wrong codes of {name} that are forgotten: {failures}.", name=name, failures=reply["failures"]),
    )


@user.command()
@name_argument
@click.option(
    "--ticket/--no-ticket",
    "with_ticket",
    default=None,
    help="Make an enrolment ticket, good for 24 hours, too. [default: at a terminal]",
)
@show_secret_option
@json_option
@pass_session
def reset(session: Session, name: str, with_ticket: bool | None, show_secret: bool) -> None:  # noqa: FBT001 - click's call
    """Forget every token, recovery code, app password and ticket of a user, and make a ticket to enrol anew with.

    The user is then as before the first enrolment. An enrolment that was begun before cannot be finished. Who is
    disabled stays so.

    \b
    Example:
      otpctl user reset alice               (everything of hers was stolen)
      otpctl user reset bob --no-ticket     (he is not to come back)
    """
    if with_ticket:
        may_show_secret(session, show_secret)
    reply = session.call("reset", user=name)
    text = _("Reset: {name} has no second factor and no app passwords any more.", name=name)
    if reply["disabled"]:
        text += "\n" + _(
            "Every login that needs a second factor is still refused. Undo: otpctl user enable {name}", name=name
        )
    # What a program keeps in its log must not let anybody enrol, unless it asked for that.
    unasked = show_secret or not (session.as_json or where_it_stays(session))
    wanted = unasked if with_ticket is None else with_ticket
    made, ticket = session.try_call("ticket", user=name, hours="24") if wanted else (False, {})
    if made:
        session.show_secret({**reply, "ticket": ticket}, _ticket_page(ticket), text)
        return
    session.show(reply, text)
    # One who is disabled, or whose account is gone, has no use for a ticket, and gets none unless it was asked for.
    if with_ticket or ticket.get("reason") not in (None, "disabled", "no-such-user"):
        session.refuse(ticket)


@user.command()
@name_argument
@click.option("--hours", type=click.IntRange(1, 720), default=24, show_default=True, help="How long it is good for.")
@show_secret_option
@json_option
@pass_session
def ticket(session: Session, name: str, hours: int, show_secret: bool) -> None:  # noqa: FBT001 - click's call
    """Make a ticket to hand over, with which a user enrols once.

    It takes the place of the account password, or of a code. A new one makes the one before invalid.

    \b
    Example:
      otpctl user ticket alice --hours 48
    """
    may_show_secret(session, show_secret)
    made = session.call("ticket", user=name, hours=str(hours))
    until = moment(made["expires"])
    text = _("Made an enrolment ticket for {name}, good until {until}.", name=name, until=until)
    session.show_secret(made, _ticket_page(made), text)


def _ticket_page(made: dict[str, Any]) -> Page:
    told = _(
        "With this ticket {name} enrols once, until {until}: "
        "otpctl enroll --ticket, or at a login that offers to enrol. It is shown this once.",
        name=made["user"],
        until=moment(made["expires"]),
    )
    return Page((made["secret"],), after=(told,))


@user.command()
@name_argument
@click.option("--host", "hosts", multiple=True, required=True, metavar="HOST", help="Where it is good; repeatable.")
@click.option("--minutes", type=click.IntRange(1, 1440), default=15, show_default=True, help="How long it is good for.")
@show_secret_option
@json_option
@pass_session
def bypass(session: Session, name: str, hosts: tuple[str, ...], minutes: int, show_secret: bool) -> None:  # noqa: FBT001
    """Make a code that lets a user in once without the second factor, in an emergency.

    It is typed where a code is asked for. Making and using it is logged as a warning, and the user is told.

    \b
    Example:
      otpctl user bypass alice --host web1 --minutes 15
    """
    may_show_secret(session, show_secret)
    made = session.call("bypass", user=name, hosts=" ".join(hosts), minutes=str(minutes))
    where, until = ", ".join(made["hosts"]), moment(made["expires"])
    told = _(
        "This code lets {name} in once on {hosts}, until {until}. "
        "It is typed where a code is asked for. It is shown this once.",
        name=name,
        hosts=where,
        until=until,
    )
    text = _("Made a bypass code for {name}, good once on {hosts} until {until}.", name=name, hosts=where, until=until)
    session.show_secret(made, Page((made["secret"],), after=(told,)), text)
