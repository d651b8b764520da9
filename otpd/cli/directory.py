"""``otpctl directory``."""

import os
import sys
from pathlib import Path

import click

from otpd.adapters.slapd import BASE_DN, Account, initialise
from otpd.cli import backup, migrate
from otpd.cli.session import DAEMON_USER, PATH, Exit, Session, json_option, pass_session
from otpd.errors import DirectoryError

_SCHEMAS = (Path("/etc/otpd/schema/otpd.ldif"), Path(__file__).parents[2] / "conf" / "otpd.ldif")


@click.group()
def directory() -> None:
    """The directory that keeps tokens and app passwords."""


directory.add_command(backup.export)
directory.add_command(backup.import_)
directory.add_command(migrate.migrate)


@directory.command()
@json_option
@pass_session
def check(session: Session) -> None:
    """Look at every server of the directory, as otpd itself uses it; for root.

    An entry is added and removed again to see what a login will need. Ends with 1 where something is wrong.

    \b
    Example:
      otpctl directory check
    """
    reply = session.call("directory-check")
    lines = [_line(finding) for finding in reply["findings"]]
    session.show(reply, "\n".join(lines))
    if not reply["well"]:
        sys.exit(Exit.REFUSED)


def _line(finding: dict[str, str]) -> str:
    if not finding["fault"]:
        return f"  ok   {finding['server']}: {finding['what']}"
    return f" FAULT {finding['server']}: {finding['what']}: {finding['fault']}\n       {finding['remedy']}"


@directory.command()
@click.option("--state-dir", type=PATH, default="/var/lib/otpd-directory", show_default=True)
@click.option("--owner", default="otpd-directory", show_default=True, help="The user that slapd will run as.")
@click.option("--client", default=DAEMON_USER, show_default=True, help="The user that otpd runs as.")
@json_option
@pass_session
def init(session: Session, state_dir: Path, owner: str, client: str) -> None:
    """Make the embedded directory: a private slapd, reachable through a local socket by otpd alone.

    \b
    Example:
      otpctl directory init
      systemctl enable --now otpd-directory
    """
    if os.geteuid() != 0:
        session.fail("not-permitted", "only root can give the directory to its own user", Exit.NOT_PERMITTED)
    schema = next((path for path in _SCHEMAS if path.exists()), _SCHEMAS[0])
    try:
        initialise(state_dir, Account.of(owner), Account.of(client), schema)
    except DirectoryError as error:
        session.fail("cannot-create", str(error), Exit.CANNOT_CREATE)
    result = {"state_dir": str(state_dir), "base_dn": BASE_DN}
    session.show(result, f"Made {state_dir}. Start it: systemctl enable --now otpd-directory")
