"""``otpctl directory migrate``."""

import os
import stat
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import click

from otpd.adapters.slapd_config import SlapdConfig
from otpd.cli.host import SYSTEMD, HostDirectory, as_daemon, refuse_what_otpd_cannot_read, sync
from otpd.cli.progress import progress
from otpd.cli.session import PATH, Exit, Session, json_option, pass_session
from otpd.clock import SystemClock
from otpd.errors import DirectoryError
from otpd.printable import printable
from otpd.texts import _
from otpd.transfer.journal import BusyError, Journal
from otpd.transfer.migration import Migration

_STATE: Final = "/var/lib/otpd-migration"
_RESTART: Final = ("systemctl", "restart", "otpd")
_OLD_SUFFIX: Final = ".embedded"


@click.command()
@click.option("--to", "new", type=PATH, metavar="FILE", help="An otpd.toml that names the site's servers.")
@click.option("--abort", is_flag=True, help="Let the embedded directory take writes again.")
@click.option("--state-dir", type=PATH, default=_STATE, show_default=True)
@json_option
@pass_session
def migrate(session: Session, new: Path | None, *, abort: bool, state_dir: Path) -> None:
    """Go over from the embedded directory to the site's servers; for root.

    Logins go on while most is copied. Then nothing can be written for a moment, the rest is copied, all of it is read
    back and every secret opened; and FILE becomes the configuration. Run it again after a crash, and it goes on.

    \b
    Example:
      otpctl directory migrate --to /etc/otpd/site.toml
    """
    if abort == bool(new):
        raise click.UsageError(_("name the new configuration with --to FILE, or use --abort."))
    source = HostDirectory.of(session, session.config_path, None)
    try:
        with Journal(state_dir) as journal:
            if abort:
                _abort(session, source, journal)
            elif new:
                target = HostDirectory.of(session, new, None)
                refuse_what_otpd_cannot_read(session, new)
                _Run(session, source, target, new, journal).run()
    except BusyError:
        session.fail("busy", _("another migration is under way on this host"), Exit.RESTART)
    except OSError as error:
        session.fail("cannot-create", f"{error.filename or state_dir}: {error.strerror}", Exit.CANNOT_CREATE)


@dataclass
class _Run:
    """A migration from ``source`` to ``target``, after which ``new`` is the configuration."""

    session: Session
    source: HostDirectory
    target: HostDirectory
    new: Path
    journal: Journal

    def run(self) -> None:
        session, config = self.session, self.session.config_path.resolve()
        text = self.new.read_bytes()
        if config.read_bytes() == text:
            self.journal.remove()
            restarted = _restart(session)
            session.show(
                {"config": str(config), "restarted": restarted},
                _("{config} is {new} already.", config=config, new=self.new),
            )
            return
        slapd = _embedded(session, self.source)
        target = f"{self.target.servers.provider} {self.target.base_dn}"
        if not self.journal.belongs_to(target):
            session.fail(
                "other-target",
                _("a migration to another server was begun before. Go on with it, or use another --state-dir."),
                Exit.REFUSED,
            )
        migration = Migration(self.source.bulk(), self.target.bulk(), self.journal, self.target.keys)
        with as_daemon(session), self._progress(_("copying")) as advance:
            copied = migration.copy(advance)
        self._refuse_foreign(migration)
        self._say(_("Copied {copied} entries. The embedded directory takes no writes from here on.", copied=copied))
        with _read_only(slapd):
            again, removed, verified = self._finish(migration)
            old = _install(config, text)
        copied += again
        self._say(
            _(
                "Copied {again} more, removed {removed}, and read back {verified} entries: every secret opens.",
                again=again,
                removed=removed,
                verified=verified,
            )
        )
        self._say(_("Installed {new} as {config}; the old one is {old}.", new=self.new, config=config, old=old))
        sync(config.parent)
        restarted = _restart(session)
        self.journal.remove()
        result = {"copied": copied, "removed": removed, "verified": verified, "config": str(config)}
        session.show(
            {**result, "old_config": str(old), "restarted": restarted},
            _("Restarted otpd.") if restarted else _("Restart otpd now: {command}", command=" ".join(_RESTART)),
        )

    def _finish(self, migration: Migration) -> tuple[int, int, int]:
        """The second pass, with nobody writing; entries that were written, removed, and read back."""
        session = self.session
        with as_daemon(session):
            with self._progress(_("copying what changed")) as advance:
                copied = migration.copy(advance)
            removed = migration.remove_vanished()
            with self._progress(_("reading back"), self.journal.count()) as advance:
                verified = migration.verify(advance)
        self._refuse_foreign(migration)
        for name in migration.not_opening:
            session.warn(_("does not open: {entry}", entry=printable(name)))
        if migration.not_opening:
            session.fail(
                "does-not-open",
                _(
                    "{not_opening} entries do not open with the keys of {new}. Nothing was switched.",
                    not_opening=len(migration.not_opening),
                    new=self.new,
                ),
                Exit.DOES_NOT_OPEN,
            )
        if not migration.complete(verified):
            session.fail(
                "directory",
                _(
                    "the target has {verified} entries, not {count}. Nothing was switched; run it again.",
                    verified=verified,
                    count=self.journal.count(),
                ),
                Exit.REFUSED,
            )
        return copied, removed, verified

    def _refuse_foreign(self, migration: Migration) -> None:
        for dn in migration.left_out:
            self.session.warn(_("in the embedded directory, and none of otpd's entries: {dn}", dn=printable(dn)))
        for name in migration.foreign:
            self.session.warn(_("not from here: {name}", name=printable(name)))
        if migration.foreign:
            self.session.fail(
                "foreign-entries",
                _(
                    "below {base_dn} there are entries that this migration did not put there, or that somebody "
                    "changed. Nothing was switched. Remove them, or name an empty base_dn; then run this again.",
                    base_dn=self.target.base_dn,
                ),
                Exit.REFUSED,
            )

    def _progress(self, what: str, total: int | None = None):  # type: ignore[no-untyped-def]  # noqa: ANN202
        return progress(what, total, quiet=self.session.as_json)

    def _say(self, text: str) -> None:
        if not self.session.as_json:
            click.echo(text)


def _abort(session: Session, source: HostDirectory, journal: Journal) -> None:
    """Where the configuration is the new one already, its directory is not embedded, and this refuses."""
    slapd = _embedded(session, source)
    try:
        slapd.set_read_only(False)
    except DirectoryError as error:
        session.fail("unavailable", str(error), Exit.UNAVAILABLE)
    left = journal.count()
    session.show(
        {"writable": True, "left_in_target": left},
        _(
            "The embedded directory takes writes again. The target holds {left} entries from here; a migration "
            "that is run again takes them over.\nTo give it up, delete what is below the target's base entry, "
            "and the --state-dir.",
            left=left,
        ),
    )


def _embedded(session: Session, source: HostDirectory) -> SlapdConfig:
    uri = source.servers.provider
    slapd = SlapdConfig(uri, source.base_dn, SystemClock())
    try:
        embedded = uri.startswith("ldapi:") and not source.servers.bind_dn and slapd.is_ours()
    except DirectoryError as error:
        session.fail("unavailable", str(error), Exit.UNAVAILABLE)
    if not embedded:
        session.fail(
            "not-embedded",
            _(
                "{config_path} names no embedded directory of this host. From other servers, use otpctl "
                "directory export and import. After a migration, nothing is taken back: codes were spent at the "
                "new servers.",
                config_path=session.config_path,
            ),
            Exit.REFUSED,
        )
    return slapd


@contextmanager
def _read_only(slapd: SlapdConfig) -> Iterator[None]:
    """No writes while the block runs, and after it; if it fails, they are taken again: nothing was switched."""
    try:
        slapd.set_read_only(True)
        yield
    except BaseException:
        with suppress(DirectoryError):
            slapd.set_read_only(False)
        Session.warn(_("the embedded directory takes writes again"))
        raise


def _install(config: Path, text: bytes) -> Path:
    """Make ``text`` the configuration, in one moment, which is the last thing done; where the old one is now."""
    old = config.with_name(config.name + _OLD_SUFFIX)
    status = config.stat()
    descriptor, made = tempfile.mkstemp(prefix=f".{config.name}.", dir=config.parent)
    try:
        with os.fdopen(descriptor, "wb") as file:
            os.fchown(descriptor, status.st_uid, status.st_gid)
            os.fchmod(descriptor, stat.S_IMODE(status.st_mode))
            file.write(text)
            file.flush()
            os.fsync(descriptor)
        old.unlink(missing_ok=True)
        os.link(config, old)
        Path(made).rename(config)
    except BaseException:
        Path(made).unlink(missing_ok=True)
        raise
    return old


def _restart(session: Session) -> bool:
    """Whether otpd was started anew, with the configuration that holds now."""
    if not SYSTEMD.exists():
        return False
    if subprocess.run(_RESTART, check=False, stdin=subprocess.DEVNULL).returncode:  # noqa: S603 - our own words
        session.fail(
            "restart-needed", _("otpd did not restart. Run: {command}", command=" ".join(_RESTART)), Exit.RESTART
        )
    return True
