"""``otpctl recovery-codes``."""

import click

from otpd import recovery
from otpd.cli.secret_page import Page
from otpd.cli.session import Session, json_option, may_show_secret, pass_session, show_secret_option, user_option
from otpd.texts import _


@click.command("recovery-codes")
@user_option
@show_secret_option
@json_option
@pass_session
def recovery_codes(session: Session, user: str | None, show_secret: bool) -> None:  # noqa: FBT001 - click's call
    """Make ten recovery codes, for when your phone is gone. Those you had before become invalid.

    Type one where a code is asked for. Each works once.

    \b
    Example:
      otpctl recovery-codes
    """
    may_show_secret(session, show_secret)
    reply = session.call("recovery-codes", user=user)
    page = Page(tuple(reply["recovery_codes"]), after=recovery.how_to_keep_them()[:1])
    session.show_secret(reply, page, _("Made ten recovery codes. Those that were made before are invalid."))
