"""Reading what only otpd may read: the key ring, and the password it binds with. A credential or a file."""

import os
import stat
from pathlib import Path

from otpd.errors import ConfigError
from otpd.seal import KeyRing
from otpd.secret import Secret


def read_key_ring(path: Path, *, trusted: bool) -> KeyRing:
    """The keys in ``path``; raises :class:`ConfigError` as :func:`read_secret` does, and for a ring with faults."""
    try:
        text = read_secret(path, trusted=trusted).reveal().decode("ascii")
    except UnicodeDecodeError:
        raise ConfigError([f"{path}: is not a key ring"]) from None
    return KeyRing.from_text(text, str(path))


def read_secret(path: Path, *, trusted: bool) -> Secret:
    """The content of ``path``, without a newline at its end.

    Raises :class:`ConfigError` where it is missing, or readable by others than its owner. ``trusted`` is a file that
    systemd made for this process, whose mode is systemd's business.
    """
    try:
        with path.open("rb") as file:
            status = os.fstat(file.fileno())
            content = file.read()
    except FileNotFoundError:
        raise ConfigError([f"{path}: there is no such file; a key ring is made with: otpctl keys init"]) from None
    except OSError as error:
        raise ConfigError([f"{path}: cannot be read: {error.strerror}"]) from None
    if not trusted and (status.st_mode & (stat.S_IRWXG | stat.S_IRWXO) or status.st_uid not in (0, os.geteuid())):
        raise ConfigError([f"{path}: must be readable by its owner alone, root or otpd; run: chmod 600 {path}"])
    return Secret(content.removesuffix(b"\n"))
