"""Reading the key ring from a credential or a file."""

import os
import stat
from pathlib import Path

from otpd.errors import ConfigError
from otpd.seal import KeyRing


def read_key_ring(path: Path, *, trusted: bool) -> KeyRing:
    """The keys in ``path``; raises :class:`ConfigError` where it is missing, or readable by others than its owner.

    ``trusted`` is a file that systemd made for this process, whose mode is systemd's business.
    """
    try:
        with path.open("rb") as file:
            status = os.fstat(file.fileno())
            text = file.read().decode("ascii")
    except FileNotFoundError:
        raise ConfigError([f"{path}: there is no key ring; make one with: otpctl keys init"]) from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError([f"{path}: cannot be read: {type(error).__name__}"]) from None
    if not trusted and (status.st_mode & (stat.S_IRWXG | stat.S_IRWXO) or status.st_uid not in (0, os.geteuid())):
        raise ConfigError([f"{path}: must be readable by its owner alone, root or otpd; run: chmod 600 {path}"])
    return KeyRing.from_text(text, str(path))
