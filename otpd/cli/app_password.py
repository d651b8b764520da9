"""``otpctl app-password``."""

import click
from rich.table import Table
from rich.text import Text

from otpd.cli import completion
from otpd.cli.session import Session, json_option, may_show_secret, pass_session, show_secret_option, user_option
from otpd.cli.users import date


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
@click.option("--label", default="", help="What you call the program, for example: mail on the laptop.")
@show_secret_option
@json_option
@pass_session
def create(session: Session, user: str | None, services: tuple[str, ...], label: str, show_secret: bool) -> None:  # noqa: FBT001
    """Make one, and show it: this once, never again.

    \b
    Example:
      otpctl app-password create --service imap --service smtp --label "mail on the laptop"
    """
    may_show_secret(session, show_secret)
    reply = session.call("app-password-create", user=user, services=" ".join(services), label=label or None)
    session.show(
        reply,
        f"{reply['password']}\n\nType it where the program asks for your password; case, spaces and hyphens do not"
        f"\nmatter. It is shown this once. Revoke it with: otpctl app-password revoke {reply['id']}",
    )


@app_password.command("list")
@user_option
@json_option
@pass_session
def listing(session: Session, user: str | None) -> None:
    """List them, without the passwords themselves."""
    reply = session.call("app-password-list", user=user)
    if session.as_json or not reply["app_passwords"]:
        session.show(reply, "No app passwords. Make one: otpctl app-password create --service NAME")
        return
    table = Table("ID", "LABEL", "SERVICES", "CREATED", box=None, pad_edge=False)
    for one in reply["app_passwords"]:
        cells = (one["id"], one["label"], ", ".join(one["services"]), date(one["created"]))
        table.add_row(*map(Text, cells))  # Text, since a label may look like rich's markup
    session.console.print(table)


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
    session.show(reply, f"Revoked: {reply['id']} opens nothing any more.")
