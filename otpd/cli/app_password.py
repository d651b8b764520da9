"""``otpctl app-password``."""

from typing import Any, Final

import click

from otpd.cli import completion
from otpd.cli.secret_page import Page
from otpd.cli.session import Session, json_option, may_show_secret, pass_session, show_secret_option, user_option
from otpd.cli.table import show_table
from otpd.cli.users import date
from otpd.texts import _, mark


@click.group("app-password")
def app_password() -> None:
    """Passwords for programs that cannot ask you for a code, such as mail clients."""


@app_password.command()
@user_option
@click.option(
    "--service",
    "services",
    multiple=True,
    required=True,
    metavar="NAME",
    help="Where it works; repeatable.",
    shell_complete=completion.services,
)
@click.option("--label", help="What you call the program, for example: mail on the laptop.")
@click.option("--days", type=click.IntRange(1, 3650), help="After how many days it ends; never, without this.")
@click.option(
    "--from", "networks", multiple=True, metavar="NETWORK", help="From which addresses alone it works; repeatable."
)
@show_secret_option
@json_option
@pass_session
def create(  # noqa: PLR0913, PLR0917 - click's call
    session: Session,
    user: str | None,
    services: tuple[str, ...],
    label: str | None,
    days: int | None,
    networks: tuple[str, ...],
    show_secret: bool,  # noqa: FBT001
) -> None:
    """Make one, and show it: this once, never again.

    \b
    Example:
      otpctl app-password create --service imap --service smtp --label "mail on the laptop"
      otpctl app-password create --service imap --days 30 --from 192.0.2.0/24
    """
    may_show_secret(session, show_secret)
    reply = session.call(
        "app-password-create",
        user=user,
        services=" ".join(services),
        label=label,
        days=str(days) if days else None,
        networks=" ".join(networks) or None,
    )
    said = _(
        "Type it where the program asks for your password; case, spaces and hyphens do not matter. "
        "It is shown this once."
    )
    made = _("Made an app password. Revoke it with: otpctl app-password revoke {id}", id=reply["id"])
    session.show_secret(reply, Page((reply["password"],), after=(said,)), made)


@app_password.command("list")
@user_option
@json_option
@pass_session
def listing(session: Session, user: str | None) -> None:
    """List them, without the passwords themselves.

    \b
    Example:
      otpctl app-password list
    """
    reply = session.call("app-password-list", user=user)
    if session.as_json or not reply["app_passwords"]:
        session.show(reply, _("No app passwords. Make one: otpctl app-password create --service NAME"))
        return
    show_table(("ID", *map(_, _HEADINGS)), [_cells(one) for one in reply["app_passwords"]])


_HEADINGS: Final = (
    mark("LABEL"),
    mark("SERVICES"),
    mark("FROM"),
    mark("CREATED"),
    mark("EXPIRES"),
    mark("LAST USED"),
)


def _cells(one: dict[str, Any]) -> tuple[str, ...]:
    ends = date(one["expires"]) if one["expires"] else _("never")
    use = one["last_use"]
    place = " ".join(filter(None, (use["address"], use["host"]))) if use else ""
    return (
        one["id"],
        one["label"],
        ", ".join(one["services"]),
        ", ".join(one["networks"]) or _("anywhere"),
        date(one["created"]),
        _("expired") if one["expired"] else ends,
        f"{date(use['at'])} {place}" if use else _("never"),
    )


@app_password.command()
@user_option
@click.argument("id", shell_complete=completion.app_password_ids)
@click.argument("label")
@json_option
@pass_session
def rename(session: Session, user: str | None, id: str, label: str) -> None:  # noqa: A002 - it is the argument's name
    """Call one something else.

    \b
    Example:
      otpctl app-password rename 7kq2m9xt "old laptop"
    """
    reply = session.call("app-password-rename", user=user, id=id, label=label)
    session.show(reply, _("Renamed: {label}", label=reply["label"]))


@app_password.command()
@user_option
@click.argument("id", shell_complete=completion.app_password_ids)
@json_option
@pass_session
def revoke(session: Session, user: str | None, id: str) -> None:  # noqa: A002 - it is the argument's name
    """Make one invalid, at once and everywhere.

    \b
    Example:
      otpctl app-password revoke 7kq2m9xt
    """
    reply = session.call("app-password-revoke", user=user, id=id)
    session.show(reply, _("Revoked: {id} opens nothing any more.", id=reply["id"]))


@app_password.command("revoke-all")
@user_option
@json_option
@pass_session
def revoke_all(session: Session, user: str | None) -> None:
    """Make all of them invalid, at once and everywhere.

    \b
    Example:
      otpctl app-password revoke-all
    """
    reply = session.call("app-password-revoke-all", user=user)
    session.show(reply, _("Revoked: {names}. They open nothing any more.", names=", ".join(reply["ids"])))
