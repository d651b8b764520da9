"""``otpctl device``."""

import click

from otpd.cli import completion
from otpd.cli.session import Session, json_option, pass_session, user_option
from otpd.cli.table import show_table
from otpd.cli.users import date
from otpd.texts import _


@click.group()
def device() -> None:
    """The addresses from which you are not asked for a code again for a while, where policy allows that."""


@device.command("list")
@user_option
@json_option
@pass_session
def listing(session: Session, user: str | None) -> None:
    """List them.

    \b
    Example:
      otpctl device list
    """
    reply = session.call("device-list", user=user)
    if session.as_json or not reply["devices"]:
        session.show(reply, _("No remembered devices."))
        return
    rows = [
        (one["id"], one["address"], one["group"], date(one["created"]), date(one["expires"]))
        for one in reply["devices"]
    ]
    show_table(("ID", _("ADDRESS"), _("SERVICES"), _("SINCE"), _("UNTIL")), rows)


@device.command()
@user_option
@click.argument("id", required=False, shell_complete=completion.device_ids)
@click.option("--all", "everything", is_flag=True, help="Forget all of them.")
@json_option
@pass_session
def forget(session: Session, user: str | None, id: str | None, everything: bool) -> None:  # noqa: A002, FBT001
    """Ask for a code from there again, at once and on every host.

    \b
    Example:
      otpctl device forget --all       (the laptop was stolen)
    """
    if bool(id) == everything:
        raise click.UsageError(_("name one id of `otpctl device list`, or give --all."))
    reply = session.call("device-forget", user=user, id=id)
    session.show(
        reply, _("Forgotten: {forgotten}. From there, a code is asked for again.", forgotten=reply["forgotten"])
    )
