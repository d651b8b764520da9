"""``otpctl keys``."""

import os
from pathlib import Path
from typing import NoReturn

import click

from otpd import ring_text
from otpd.adapters.key_file import edit_key_ring, make_key_ring, read_key_ring
from otpd.cli.rings import Rings
from otpd.cli.rotation import Rotation
from otpd.cli.session import PATH, Exit, Session, daemon_uid, json_option, pass_session
from otpd.cli.table import show_table
from otpd.errors import ConfigError
from otpd.ring_text import Change
from otpd.seal import KeyRing
from otpd.texts import _

RESTART = "systemctl restart otpd"

file_option = click.option("--file", "path", type=PATH, default="/etc/otpd/keyring", show_default=True)


@click.group()
def keys() -> None:
    """The key ring that seals every secret in the directory.

    A new key takes over in steps, and logins go on all the time:

    \b
      otpctl keys add          then bring the file to every host, and restart otpd there
      otpctl keys rotate       the new key seals; then the same again
      otpctl keys rotate       what the old key sealed is sealed anew
      otpctl keys retire k1    then the same a last time
    """


@keys.command()
@file_option
@json_option
@pass_session
def init(session: Session, path: Path) -> None:
    """Make a key ring with one key, readable by its owner alone.

    Every host that shares the directory needs the same file. Without it, no secret in the directory can be opened: keep
    a copy in a safe place.

    \b
    Example:
      otpctl keys init
    """
    try:
        make_key_ring(path, ring_text.with_new_key(""))
    except FileExistsError:
        session.fail("exists", _("{path} exists already; it is left as it is", path=path), Exit.CANNOT_CREATE)
    except OSError as error:
        session.fail("cannot-create", f"{path}: {error.strerror}", Exit.CANNOT_CREATE)
    session.show(
        {"file": str(path)}, _("Made {path}. Keep a copy in a safe place, and give it to every host.", path=path)
    )


@keys.command()
@file_option
@json_option
@pass_session
def add(session: Session, path: Path) -> None:
    """Add a fresh key, which opens what it sealed, and does not seal yet.

    Do it on one host, and bring the file to the others: each run makes another key.

    \b
    Example:
      otpctl keys add
    """
    _require_root(session)
    ring = _edit(session, path, ring_text.with_new_key)
    added = ring_text.newest(ring.ids)
    session.show(
        {"file": str(path), "key": added, "fingerprint": ring.fingerprint(added)},
        _(
            "Added the key {added} to {path}. Bring the file to every host that shares the directory, and "
            "restart otpd\nthere ({restart}). Then, on one of them: otpctl keys rotate",
            added=added,
            path=path,
            restart=RESTART,
        ),
    )


@keys.command("list")
@file_option
@json_option
@pass_session
def listing(session: Session, path: Path) -> None:
    """List the keys: in the file, in otpd as it runs on this host, and how many secrets each one seals.

    A fingerprint says nothing about its key. It is the same on every host that has the same one.

    \b
    Example:
      otpctl keys list
    """
    _require_root(session)
    rings = Rings.ask(session, _read(session, path))
    described, strays = rings.described(session), session.call("key-strays")
    if session.as_json:
        session.show({"file": str(path), "keys": described, "strays": strays["values"]}, "")
        return
    rows = [
        (one["id"], one["fingerprint"], _(one["file"]), _(one["otpd"]), f"{one['values']}{'+' if one['more'] else ''}")
        for one in described
    ]
    show_table((_("KEY"), _("FINGERPRINT"), _("IN THE FILE"), _("IN OTPD"), _("SEALS")), rows)
    if strays["values"]:
        click.echo(
            _("{values} secrets are sealed with no key that otpd has. Its log names them.", values=strays["values"])
        )


@keys.command()
@file_option
@json_option
@pass_session
def rotate(session: Session, path: Path) -> None:
    """Let the newest key seal, and seal anew with it what other keys sealed.

    Logins go on meanwhile. It can be interrupted at any moment, and goes on from there when it is run again. What does
    not open is reported and left as it is.

    \b
    Example:
      otpctl keys rotate
    """
    _require_root(session)
    ring = _read(session, path)
    newest = ring_text.newest(ring.ids)
    lacking = Rings.ask(session, ring).lacking(newest)
    if lacking:
        _restart_first(
            session, _("the key {key} of {path} is not yet in {where}", key=newest, path=path, where=lacking)
        )
    if ring.current != newest:
        ring = _edit(session, path, lambda text: ring_text.with_current(text, newest))
    old = Rings.ask(session, ring).sealing_otherwise()
    if old:
        _restart_first(session, _not_yet(newest, path, old))
    Rotation(session, newest, ring.ids).run()


@keys.command()
@click.argument("id")
@file_option
@json_option
@pass_session
def retire(session: Session, id: str, path: Path) -> None:  # noqa: A002 - it is the argument's name
    """Remove a key that seals nothing any more.

    \b
    Example:
      otpctl keys retire k1
    """
    _require_root(session)
    ring = _read(session, path)
    if id not in ring.ids:
        session.fail(
            "no-such-key", _("{path} holds no key {id}. See: otpctl keys list", path=path, id=id), Exit.REFUSED
        )
    if id == ring.current:
        session.fail(
            "current-key", _("{id} is the current key. Another takes over with: otpctl keys add", id=id), Exit.REFUSED
        )
    old = Rings.ask(session, ring).sealing_otherwise()
    if old:
        _restart_first(session, _not_yet(ring.current, path, old))
    used = session.call("key-usage", key=id)
    if used["values"]:
        count = _("{count} or more", count=used["values"]) if used["more"] else used["values"]
        text = _("{key} still seals {count} secrets. Run: otpctl keys rotate", key=id, count=count)
        session.fail("key-in-use", text, Exit.REFUSED)
    _edit(session, path, lambda text: ring_text.without_key(text, id))
    session.show(
        {"file": str(path), "key": id},
        _(
            "Removed the key {id} from {path}. Bring the file to every host, and restart otpd there: "
            "{restart}\nCopies of the directory that are older than the rotation open with this key alone: keep "
            "it with them.",
            id=id,
            path=path,
            restart=RESTART,
        ),
    )


def _require_root(session: Session) -> None:
    if os.geteuid() != 0:
        session.fail("not-permitted", _("only root may look after the key ring"), Exit.NOT_PERMITTED)


def _read(session: Session, path: Path) -> KeyRing:
    try:
        return read_key_ring(path, owner=daemon_uid())
    except ConfigError as error:
        session.fail("config", "\n".join(error.faults), Exit.CONFIG)


def _edit(session: Session, path: Path, change: Change) -> KeyRing:
    try:
        return edit_key_ring(path, change, daemon_uid())
    except ConfigError as error:
        session.fail("config", "\n".join(error.faults), Exit.CONFIG)


def _not_yet(key: str, path: Path, where: str) -> str:
    return _("{key} is the current key in {path}, and not yet in {where}", key=key, path=path, where=where)


def _restart_first(session: Session, why: str) -> NoReturn:
    session.fail(
        "restart-needed",
        _(
            "{why}. Bring the file to every host, restart otpd there ({restart}), and run this again.",
            why=why,
            restart=RESTART,
        ),
        Exit.RESTART,
    )
