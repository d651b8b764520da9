"""What the verbs need that do without otpd: the servers and the keys, as root finds them on this host."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import click

from otpd.adapters import config
from otpd.adapters.key_file import read_key_ring
from otpd.adapters.ldap.bulk import BulkDirectory
from otpd.adapters.ldap.connections import Connections, Servers
from otpd.adapters.ldap.servers import servers_of
from otpd.adapters.process import acting_as
from otpd.cli.session import DAEMON_USER, PATH, Exit, Session, daemon_uid
from otpd.clock import SystemClock
from otpd.errors import ConfigError, DirectoryError, DirectoryUnavailable
from otpd.seal import KeyRing
from otpd.texts import _

SYSTEMD: Final = Path("/run/systemd/system")

key_ring_option = click.option(
    "--key-ring", type=PATH, metavar="FILE", help="The key ring, where it is not the file that otpd.toml names."
)


@dataclass(frozen=True)
class HostDirectory:
    """A directory that this host may use, and the keys of what is in it."""

    servers: Servers
    base_dn: str
    keys: KeyRing

    @classmethod
    def of(cls, session: Session, path: Path, key_ring: Path | None) -> "HostDirectory":
        """As the configuration in ``path`` says; ends the program where it has faults, or for anybody but root."""
        if os.geteuid() != 0:
            session.fail("not-permitted", _("only root may do this: it takes the key ring"), Exit.NOT_PERMITTED)
        try:
            settings = config.load(path)
            owner = daemon_uid()
            keys = read_key_ring(key_ring or Path(settings.keys.file), owner=owner)
            return cls(servers_of(settings.directory, owner), settings.directory.base_dn, keys)
        except ConfigError as error:
            session.fail("config", "\n".join(error.faults), Exit.CONFIG)

    def bulk(self) -> BulkDirectory:
        """The directory as a whole; it is used as otpd's user alone, see :func:`as_daemon`."""
        clock = SystemClock()
        return BulkDirectory(Connections(self.servers, clock), self.base_dn, clock)


def refuse_what_otpd_cannot_read(session: Session, path: Path) -> None:
    """End the program where the configuration in ``path`` names a file that otpd's own user cannot read.

    Root can, and so could do all that is asked of it, and leave a configuration with which otpd does not start. A
    password that otpd.service is given as a credential need not be readable.
    """
    table = config.load(path).directory
    files = [table.ca_file, table.cert_file, table.key_file]
    if "bind-password" not in _credentials():
        files.append(table.bind_password_file)
    with as_daemon(session):
        unreadable = [name for name in files if name and not os.access(name, os.R_OK, effective_ids=True)]
    if unreadable:
        session.fail(
            "config",
            _(
                "otpd cannot read what {path} names. Run: chown {user} {files}; or let otpd.service have the password "
                "as its credential bind-password.",
                path=path,
                user=DAEMON_USER,
                files=" ".join(unreadable),
            ),
            Exit.CONFIG,
        )


def _credentials() -> str:
    """What systemd says of the credentials of otpd.service; nothing where it does not run here."""
    if not SYSTEMD.exists():
        return ""
    ask = ("systemctl", "show", "otpd", "--property=LoadCredential,LoadCredentialEncrypted,SetCredential")
    return subprocess.run(ask, check=False, stdin=subprocess.DEVNULL, capture_output=True, text=True).stdout  # noqa: S603 - our own words


@contextmanager
def as_daemon(session: Session) -> Iterator[None]:
    """Be the user that otpd runs as, whom the directory admits; what the directory refuses ends the program."""
    try:
        with acting_as(DAEMON_USER):
            yield
    except KeyError:
        session.fail("config", _("there is no user {user}; systemd-sysusers makes it", user=DAEMON_USER), Exit.CONFIG)
    except DirectoryUnavailable as error:
        session.fail("unavailable", _("{error}. Run this again when it is back.", error=error), Exit.UNAVAILABLE)
    except DirectoryError as error:
        session.fail("directory", str(error), Exit.REFUSED)


def sync(folder: Path) -> None:
    """Bring what was named or renamed in ``folder`` to the disk."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
