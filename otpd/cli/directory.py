"""``otpctl directory``."""

import os
import sys
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path

import attrs
import click

from otpd.adapters import config
from otpd.adapters.ldap.indexes import look_at_indexes
from otpd.adapters.ldap.servers import servers_of
from otpd.adapters.slapd import BASE_DN, Account, initialise
from otpd.cli import backup, migrate
from otpd.cli.session import DAEMON_USER, PATH, Exit, Session, json_option, pass_session
from otpd.clock import SystemClock
from otpd.errors import ConfigError, DirectoryError
from otpd.inspection import Finding
from otpd.secret import Secret
from otpd.texts import _

_SCHEMAS = (Path("/etc/otpd/schema/otpd.ldif"), Path(__file__).parents[2] / "conf" / "otpd.ldif")


@click.group()
def directory() -> None:
    """The directory that keeps tokens and app passwords."""


directory.add_command(backup.export)
directory.add_command(backup.import_)
directory.add_command(migrate.migrate)


@directory.command()
@click.option("--admin-dn", metavar="DN", help="Who may read the servers' configuration; asks for the password.")
@json_option
@pass_session
def check(session: Session, admin_dn: str | None) -> None:
    """Look at every server of the directory, as otpd itself uses it; for root.

    An entry is added and removed again to see what a login will need. Indexes are in a server's own configuration: root
    may read that of the embedded directory, and elsewhere its administrator, whose password --admin-dn asks for. Ends
    with 1 where something is wrong.

    \b
    Example:
      otpctl directory check
      otpctl directory check --admin-dn cn=admin,cn=config
    """
    password = _admin_password(session) if admin_dn and os.geteuid() == 0 else None
    reply = session.call("directory-check")  # refuses everybody but root
    answering = [finding["server"] for finding in reply["findings"] if finding["what"] == "bind"]
    indexes = [asdict(finding) for finding in _indexes(session, answering, admin_dn, password)]
    findings = reply["findings"] + indexes
    well = not any(finding["fault"] for finding in findings)
    session.show(reply | {"well": well, "findings": findings}, "\n".join(_line(finding) for finding in findings))
    if not well:
        sys.exit(Exit.REFUSED)


def _admin_password(session: Session) -> Secret:
    password = session.ask(_("The administrator's password: "))
    if not password:  # with a DN and none, a server lets anybody in as nobody (RFC 4513 section 5.1.2)
        raise click.UsageError(_("--admin-dn takes a password."))
    return Secret(password.encode())


def _indexes(session: Session, uris: list[str], admin_dn: str | None, password: Secret | None) -> Iterator[Finding]:
    try:
        table = config.load(session.config_path).directory
        servers = servers_of(attrs.evolve(table, bind_dn="", bind_password_file=""))
    except ConfigError as error:
        session.fail("config", "\n".join(error.faults), Exit.CONFIG)
    administrator = replace(servers, bind_dn=admin_dn or "", bind_password=password)
    return look_at_indexes(uris, administrator, table.base_dn, SystemClock())


def _line(finding: dict[str, str]) -> str:
    where = f"{finding['server']}: {_(finding['what'])}"
    if finding["fault"]:
        return f" FAULT {where}: {finding['fault']}\n       {_(finding['remedy'])}"
    if finding["unseen"]:
        return f"  --   {where}: {_('not seen')}: {finding['unseen']}"
    return f"  ok   {where}" + (f" ({finding['note']})" if finding["note"] else "")


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
        session.fail("not-permitted", _("only root can give the directory to its own user"), Exit.NOT_PERMITTED)
    schema = next((path for path in _SCHEMAS if path.exists()), _SCHEMAS[0])
    try:
        initialise(state_dir, Account.of(owner), Account.of(client), schema)
    except DirectoryError as error:
        session.fail("cannot-create", str(error), Exit.CANNOT_CREATE)
    result = {"state_dir": str(state_dir), "base_dn": BASE_DN}
    session.show(result, _("Made {state_dir}. Start it: systemctl enable --now otpd-directory", state_dir=state_dir))
