"""``otpctl directory export`` and ``otpctl directory import``."""

import os
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO

import click

from otpd.backup import Reader, Writer
from otpd.cli.host import HostDirectory, as_daemon, key_ring_option, sync
from otpd.cli.progress import progress
from otpd.cli.session import PATH, Exit, Session, json_option, pass_session
from otpd.clock import SystemClock, to_datetime
from otpd.entry import Entry
from otpd.errors import BackupError
from otpd.printable import printable
from otpd.texts import _, mark
from otpd.transfer.exporting import Exported
from otpd.transfer.exporting import export as export_all
from otpd.transfer.importing import LEFT_ALONE, Import, Outcome

_STANDARD_OUTPUT = Path("-")


@click.command()
@click.argument("file", type=PATH)
@key_ring_option
@json_option
@pass_session
def export(session: Session, file: Path, key_ring: Path | None) -> None:
    """Write everything that the directory knows into FILE, sealed with the key ring; for root.

    FILE must not exist; - is standard output. Logins go on meanwhile. The key ring is not in it: keep a copy of that in
    another place, since without it nobody can read the backup.

    \b
    Example:
      otpctl directory export /var/backups/otpd.backup
    """
    host = HostDirectory.of(session, session.config_path, key_ring)
    with _new_file(session, file) as stream:
        writer = Writer(stream, host.keys, to_datetime(SystemClock().wall()))
        with as_daemon(session), progress(_("exporting"), quiet=session.as_json) as advance:
            found = export_all(host.bulk(), writer, host.keys, advance)
    result = {
        "file": str(file),
        "id": writer.id,
        "entries": dict(found.entries),
        "not_opening": found.not_opening,
        "faults": _named(found.faults),
        "left_out": found.left_out,
    }
    for dn in found.left_out:
        session.warn(_("left out, since it is none of otpd's entries: {dn}", dn=printable(dn)))
    if file == _STANDARD_OUTPUT:
        click.echo(_("Exported {entries}.", entries=_counted(found.entries)), err=True)
    else:
        session.show(result, _("Exported {entries} to {file}.", entries=_counted(found.entries), file=file))
    if found.not_opening:
        _tell_faults(found)
        session.warn(_("the backup holds them as they are; otpctl directory import will refuse it"))
        sys.exit(Exit.DOES_NOT_OPEN)


@click.command("import")
@click.argument("file", type=PATH)
@click.option("--dry-run", is_flag=True, help="Say what would be done, and change nothing.")
@click.option("--overwrite", is_flag=True, help="Change entries that differ, too.")
@click.option("--keep-damaged", is_flag=True, help="Take secrets that do not open as they are.")
@key_ring_option
@json_option
@pass_session
def import_(
    session: Session,
    file: Path,
    *,
    dry_run: bool,
    overwrite: bool,
    keep_damaged: bool,
    key_ring: Path | None,
) -> None:
    """Bring what FILE holds into the directory that otpd.toml names; for root.

    FILE is read to its end first, and nothing is changed unless all of it is sound and every secret opens. What is
    missing is added. What differs is listed and left alone, or changed with --overwrite, which never makes valid again
    what was spent, disabled or made anew since. Run it again after a crash, and it goes on.

    \b
    Example:
      otpctl directory import /var/backups/otpd.backup --dry-run
      otpctl directory import /var/backups/otpd.backup
    """
    host = HostDirectory.of(session, session.config_path, key_ring)
    with _readable(session, file) as stream, _backup_errors(session, file):
        run = Import(Reader(stream, host.keys), host.bulk(), host.keys, overwrite=overwrite, dry_run=dry_run)
        with progress(_("reading"), quiet=session.as_json) as advance:
            found = run.look(advance)
        if found.not_opening and not keep_damaged:
            _tell_faults(found)
            session.fail(
                "does-not-open",
                _(
                    "{not_opening} secrets in {file} do not open with this host's key ring. Nothing was changed.",
                    not_opening=found.not_opening,
                    file=file,
                ),
                Exit.DOES_NOT_OPEN,
            )
        with (
            as_daemon(session),
            progress(_("importing"), found.entries.total(), quiet=session.as_json) as advance,
        ):
            listed = _Listed(session)

            def tell(outcome: Outcome, entry: Entry) -> None:
                advance(1)
                listed.note(outcome, entry)

            run.run(tell)
    _conclude(session, run, listed)


class _Listed:
    """Says what is left alone, as it comes, and keeps the first of it for programs."""

    def __init__(self, session: Session) -> None:
        self.entries: list[dict[str, str]] = []
        self._quiet = session.as_json

    def note(self, outcome: Outcome, entry: Entry) -> None:
        if outcome not in LEFT_ALONE:
            return
        if not self._quiet:
            Session.warn(f"{_(_WHY[outcome])}: {_called(entry.user, entry.id)}")
        if len(self.entries) < _MAX_LISTED:
            self.entries.append({"user": entry.user, "id": entry.id, "why": outcome.value})


_MAX_LISTED = 100
_WHY: Mapping[Outcome, str] = {
    Outcome.DIFFERS: mark("differs, and was left as it is"),
    Outcome.OTHER_NAME: mark("left out, since the directory spells the user's name differently"),
    Outcome.ORPHAN: mark("left out, since there is no entry of its user"),
}


def _conclude(session: Session, run: Import, listed: _Listed) -> None:
    counts = {outcome.value: run.outcomes[outcome] for outcome in Outcome}
    result: dict[str, Any] = {"dry_run": run.dry_run, **counts, "left_alone": listed.entries}
    would = _("Would be: ") if run.dry_run else ""
    session.show(
        result,
        _(
            "{would}{added} added, {equal} equal, {newer} newer here, {changed} changed, {count} left alone.",
            would=would,
            added=counts["added"],
            equal=counts["equal"],
            newer=counts["newer"],
            changed=counts["changed"],
            count=sum(counts[one] for one in LEFT_ALONE),
        ),
    )
    if any(counts[one] for one in LEFT_ALONE):
        sys.exit(Exit.REFUSED)


@contextmanager
def _new_file(session: Session, file: Path) -> Iterator[BinaryIO]:
    """A file for its owner alone, that has its name only once it is whole and on disk; or standard output."""
    if file == _STANDARD_OUTPUT:
        if sys.stdout.isatty():
            raise click.UsageError(_("this would write a backup to the terminal; name a file, or use a pipe."))
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
        return
    if os.path.lexists(file):
        session.fail("exists", _("{file} exists already; it is left as it is", file=file), Exit.CANNOT_CREATE)
    try:
        descriptor, made = tempfile.mkstemp(prefix=f".{file.name}.", dir=file.parent)
        try:
            with os.fdopen(descriptor, "wb") as stream:
                yield stream
                stream.flush()
                os.fsync(descriptor)
            os.link(made, file)  # unlike a rename, it never replaces what somebody else has put there meanwhile
            sync(file.parent)
        finally:
            with suppress(FileNotFoundError):
                Path(made).unlink()
    except FileExistsError:
        session.fail("exists", _("{file} exists already; it is left as it is", file=file), Exit.CANNOT_CREATE)
    except OSError as error:
        session.fail("cannot-create", f"{file}: {error.strerror}", Exit.CANNOT_CREATE)


@contextmanager
def _readable(session: Session, file: Path) -> Iterator[BinaryIO]:
    try:
        with file.open("rb") as stream:
            yield stream
    except OSError as error:
        session.fail(
            "backup", _("{file}: cannot be read: {strerror}", file=file, strerror=error.strerror), Exit.DOES_NOT_OPEN
        )


@contextmanager
def _backup_errors(session: Session, file: Path) -> Iterator[None]:
    try:
        yield
    except BackupError as error:
        session.fail("backup", _("{file}: {error}. Nothing was changed.", file=file, error=error), Exit.DOES_NOT_OPEN)


def _tell_faults(found: Exported) -> None:
    for user, entry_id in found.faults:
        Session.warn(_("does not open: {entry}", entry=_called(user, entry_id)))
    Session.warn(_("{not_opening} secrets do not open with this key ring", not_opening=found.not_opening))


def _called(user: str, entry_id: str) -> str:
    return printable(_("{id} of {user}", id=entry_id, user=user) if entry_id else user)


def _named(faults: list[tuple[str, str]]) -> list[dict[str, str]]:
    return [{"user": user, "id": entry_id} for user, entry_id in faults]


def _counted(entries: Counter[str]) -> str:
    return ", ".join(f"{count} {_(name)}" for name, count in sorted(entries.items())) or _("nothing")
