"""``otpctl enroll``."""

import json
import sys

import click

from otpd import qr, symbols
from otpd.cli.session import Session, json_option, may_show_secret, pass_session, show_secret_option, user_option


@click.command()
@user_option
@click.option("--label", default="", help="What you call the device, for example: phone.")
@show_secret_option
@json_option
@pass_session
def enroll(session: Session, user: str | None, label: str, show_secret: bool) -> None:  # noqa: FBT001 - click's call
    """Set up an authenticator app: show a QR code, then activate it with a code.

    Nothing changes until a right code is given. You prove that it is you first: with a current code, or with your
    account password when you have none yet.

    \b
    Example:
      otpctl enroll --label phone
      otpctl enroll --user alice       (root, with alice beside you)
    """
    may_show_secret(session, show_secret)
    begun = session.call("enrol-begin", user=user, label=label or None)
    if session.as_json:
        shown = {name: begun[name] for name in ("user", "secret", "uri")}
        click.echo(json.dumps(shown, ensure_ascii=False))
    else:
        secret = symbols.in_groups(begun["secret"], 4, " ")
        click.echo(qr.to_text(begun["uri"], colours=sys.stdout.isatty()))
        click.echo(f"\nScan this with your authenticator app, or type the secret: {secret}\n")
    sys.stdout.flush()
    while True:
        code = session.ask("Code that the app shows now: ")
        done, reply = session.try_call("enrol-confirm", user=user, ticket=begun["ticket"], code=code)
        if done:
            break
        if reply.get("reason") != "wrong-code" or not session.interactive:
            session.refuse(reply)
        click.echo(reply["message"], err=True)
    session.show(reply, "Activated. From now on, logins that ask for a code ask for this one. This code is used up.")
