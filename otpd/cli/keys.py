"""``otpctl keys``."""

import os
from pathlib import Path

import click

from otpd.cli.session import PATH, Exit, Session, json_option, pass_session
from otpd.seal import new_key_line


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
        path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    except FileExistsError:
        session.fail("exists", f"{path} exists already; it is left as it is", Exit.CANNOT_CREATE)
    except OSError as error:
        session.fail("cannot-create", f"{path}: {error.strerror}", Exit.CANNOT_CREATE)
    with os.fdopen(descriptor, "wb") as file:
        file.write(new_key_line("k1").reveal())
        file.flush()
        os.fsync(file.fileno())
    session.show({"file": str(path)}, f"Made {path}. Keep a copy in a safe place, and give it to every host.")
