"""``otpctl enroll``."""

import json
import sys
from collections.abc import Callable
from typing import Any, Final

import click

from otpd import otp, qr, recovery, symbols
from otpd.cli.secret_page import Page
from otpd.cli.session import Session, json_option, may_show_secret, pass_session, show_secret_option, user_option
from otpd.texts import _, mark

_ACTIVATED: Final = mark("Activated. From now on, logins that ask for a code ask for this one. This code is used up.")


@click.command()
@user_option
@click.option("--label", default="", help="What you call the token, for example: phone.")
@click.option("--ticket", "with_ticket", is_flag=True, help="Ask for the ticket that your administrator gave you.")
@click.option("--hotp", is_flag=True, help="A token that counts its codes (HOTP), as most hardware keys do.")
@click.option("--import", "imported", is_flag=True, help="Ask for the seed that came with the token, and make none.")
@click.option("--algorithm", type=click.Choice(list(otp.ALGORITHMS)), help="For tokens that know it. [default: sha1]")
@click.option("--digits", type=click.IntRange(otp.MIN_DIGITS, otp.MAX_DIGITS), help="Of a code; as above. [default: 6]")
@click.option(
    "--period",
    type=click.IntRange(otp.MIN_PERIOD_SECONDS, otp.MAX_PERIOD_SECONDS),
    help="How many seconds a code is shown for; as above. [default: 30]",
)
@show_secret_option
@json_option
@pass_session
def enroll(
    session: Session,
    /,
    user: str | None,
    imported: bool,  # noqa: FBT001 - click's call
    show_secret: bool,  # noqa: FBT001
    hotp: bool,  # noqa: FBT001
    with_ticket: bool,  # noqa: FBT001
    **chosen: str | int | None,
) -> None:
    """Set up a token, which gives codes: show a QR code, then activate it with a code.

    Nothing changes until a right code is given. You prove that it is you first: with a current code, with your account
    password when you have none yet, or with an enrolment ticket.

    What every authenticator app understands is the default. Many take a QR code that says something else, and give
    wrong codes; otpd.toml may have other defaults.

    \b
    Example:
      otpctl enroll --label phone
      otpctl enroll --ticket           (it is asked for, and not shown)
      otpctl enroll --user alice       (root, with alice beside you)
      otpctl enroll --algorithm sha256 --digits 8 --period 60
      otpctl enroll --hotp --import    (a hardware key, whose maker gave you its seed)
    """
    may_show_secret(session, show_secret)
    fields = {name: str(value) for name, value in chosen.items() if value}
    kind = "hotp" if hotp else None
    seed = session.ask(_("Seed of the token, in base32, or in hex with hex: before it: ")) if imported else None
    ticket = session.ask(_("Enrolment ticket: ")) if with_ticket else None
    begun = session.call("enrol-begin", user=user, kind=kind, seed=seed, proof=ticket, **fields)
    if session.as_json:
        shown = {name: begun[name] for name in ("user", "kind", "secret", "uri") if name in begun}
        click.echo(json.dumps(shown, ensure_ascii=False))
        sys.stdout.flush()
    with session.asking_below(None if imported else _page(begun)) as ask:
        done, reply = _confirm(session, ask, user, begun["ticket"])
    if not done:
        session.refuse(reply)
    codes = tuple(reply["recovery_codes"])
    if codes:
        page = Page(codes, before=recovery.what_they_are(), after=recovery.how_to_keep_them())
        session.show_secret(reply, page, _(_ACTIVATED))
    else:
        session.show(reply, _(_ACTIVATED))


def _page(begun: dict[str, Any]) -> Page:
    return Page(
        (symbols.in_groups(begun["secret"], 4, " "),),
        before=_("Scan this with your authenticator app, or type the secret:"),
        picture=_picture(begun["uri"]),
    )


def _picture(uri: str) -> str:
    """The QR code as this terminal, or the file, can have it."""
    picture = qr.to_text(uri)
    try:
        picture.encode(sys.stdout.encoding)
    except UnicodeEncodeError:
        return qr.to_ascii(uri)
    return picture


def _confirm(
    session: Session, ask: Callable[[str, str], str], user: str | None, ticket: str
) -> tuple[bool, dict[str, Any]]:
    """Ask until a code is right; two in a row are right for a key that was used a lot before. Done or not, and why."""
    before: str | None = None
    notice = ""
    while True:
        code = ask(_("Code that the app shows now: "), notice)
        done, reply = session.try_call("enrol-confirm", user=user, ticket=ticket, code=code, before=before)
        if done or reply.get("reason") != "wrong-code" or not session.interactive:
            return done, reply
        before, notice = code, reply["message"]
