"""``otpctl keys``."""

from pathlib import Path

import click

from otpd import ring_text
from otpd.adapters.key_file import make_key_ring
from otpd.cli.session import PATH, Exit, Session, json_option, pass_session


@click.group()
def keys() -> None:
    """The key ring that seals every secret in the directory."""


@keys.command()
@click.option("--file", "path", type=PATH, default="/etc/otpd/keyring", show_default=True)
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
        session.fail("exists", f"{path} exists already; it is left as it is", Exit.CANNOT_CREATE)
    except OSError as error:
        session.fail("cannot-create", f"{path}: {error.strerror}", Exit.CANNOT_CREATE)
    session.show({"file": str(path)}, f"Made {path}. Keep a copy in a safe place, and give it to every host.")
