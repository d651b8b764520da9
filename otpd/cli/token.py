"""``otpctl token``."""

import click

from otpd.cli import completion
from otpd.cli.session import Session, json_option, pass_session, user_option
from otpd.cli.table import show_table
from otpd.cli.users import date, last_used, state_of
from otpd.texts import _


@click.group()
def token() -> None:
    """The tokens that give your codes: apps on phones, hardware keys."""


@token.command("list")
@user_option
@json_option
@pass_session
def listing(session: Session, user: str | None) -> None:
    """List them.

    \b
    Example:
      otpctl token list
    """
    reply = session.call("status", user=user)
    shown = {"user": reply["user"], "tokens": reply["tokens"]}
    if session.as_json or not reply["tokens"]:
        session.show(shown, _("No tokens. Set one up: otpctl enroll"))
        return
    rows = [(one["id"], one["label"], state_of(one), date(one["created"]), last_used(one)) for one in reply["tokens"]]
    show_table(("ID", _("LABEL"), _("STATE"), _("SINCE"), _("LAST USED")), rows)


@token.command()
@user_option
@click.argument("id", shell_complete=completion.token_ids)
@click.argument("label")
@json_option
@pass_session
def rename(session: Session, user: str | None, id: str, label: str) -> None:  # noqa: A002 - it is the argument's name
    """Call it something else.

    \b
    Example:
      otpctl token rename 7bc28b59-75a7-53bf-aa74-f3bcd74eed87 "old phone"
    """
    reply = session.call("token-rename", user=user, id=id, label=label)
    session.show(reply, _("Renamed: {label}", label=reply["label"]))


@token.command()
@user_option
@click.argument("id", shell_complete=completion.token_ids)
@json_option
@pass_session
def disable(session: Session, user: str | None, id: str) -> None:  # noqa: A002
    """Refuse its codes until it is enabled.

    \b
    Example:
      otpctl token disable 7bc28b59-75a7-53bf-aa74-f3bcd74eed87
    """
    reply = session.call("token-disable", user=user, id=id)
    session.show(reply, _("Disabled: its codes are refused. Undo: otpctl token enable {id}", id=id))


@token.command()
@user_option
@click.argument("id", shell_complete=completion.token_ids)
@json_option
@pass_session
def enable(session: Session, user: str | None, id: str) -> None:  # noqa: A002
    """Accept its codes again.

    \b
    Example:
      otpctl token enable 7bc28b59-75a7-53bf-aa74-f3bcd74eed87
    """
    reply = session.call("token-enable", user=user, id=id)
    session.show(reply, _("Enabled: its codes are accepted again."))


@token.command()
@user_option
@click.argument("id", shell_complete=completion.token_ids)
@json_option
@pass_session
def remove(session: Session, user: str | None, id: str) -> None:  # noqa: A002
    """Forget it for good: for a phone that is lost or sold.

    \b
    Example:
      otpctl token remove 7bc28b59-75a7-53bf-aa74-f3bcd74eed87
    """
    reply = session.call("token-remove", user=user, id=id)
    session.show(reply, _("Removed: its codes are refused for good."))


@click.command()
@user_option
@json_option
@pass_session
def resync(session: Session, user: str | None) -> None:
    """Bring a token whose clock or counter is off together with otpd again.

    It takes two codes in a row, of a clock that is an hour off at most, or of a counter that is 1000 codes ahead at
    most. Both are used up. A wrong pair counts as a wrong code.

    \b
    Example:
      otpctl resync
    """
    code = session.ask(_("Code that the token shows now: "))
    following = session.ask(_("The code that it shows next: "))
    reply = session.call("resync", user=user, code=code, next=following)
    off, told = reply["clock"], [_("Done."), _("Both codes are used up.")]
    if off:
        told.insert(1, _("Its clock is {off}, which is allowed for from now on.", off=off))
    session.show(reply, " ".join(told))
