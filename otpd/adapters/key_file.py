"""The files that only their owner may read: the key ring, and the password that otpd binds with."""

import errno
import fcntl
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO, Final

from otpd.errors import ConfigError
from otpd.ring_text import Change
from otpd.seal import KeyRing
from otpd.secret import Secret
from otpd.texts import _, mark

_NEW_SUFFIX: Final = ".new"
_NO_RING: Final = mark("{path}: there is no such file; a key ring is made with: otpctl keys init")
_NO_FILE: Final = mark("{path}: there is no such file")


def read_key_ring(path: Path, *, trusted: bool = False, owner: int | None = None) -> KeyRing:
    """The keys in ``path``; raises :class:`ConfigError` as :func:`read_secret` does, and for a ring with faults."""
    with _faults_of(path, _NO_RING):
        return _to_ring(path, _content(path, owner, trusted=trusted))


def read_secret(path: Path, *, trusted: bool = False, owner: int | None = None) -> Secret:
    """The content of ``path``, without a newline at its end.

    Raises :class:`ConfigError` where it is missing, readable by others than its owner, or owned by anybody but root,
    the user that reads, and ``owner``. ``trusted`` is a file that systemd made for this process: a credential, whose
    mode is systemd's business.
    """
    with _faults_of(path, _NO_FILE):
        return _content(path, owner, trusted=trusted)


def make_key_ring(path: Path, text: str) -> None:
    """Write ``text`` to ``path``, which must not exist, for its owner alone; raises :class:`OSError`."""
    path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    with _folder(path) as folder, _created(path.name, folder) as file:
        _write(file, text)
        os.fsync(folder)


def edit_key_ring(path: Path, change: Change, owner: int | None = None) -> KeyRing:
    """Replace the key ring in ``path`` by what ``change`` makes of its text; the ring that is there afterwards.

    At every moment, also after a crash, ``path`` holds the old ring or the new one, whole. Owner and mode stay. Two
    edits at once come one after the other. Raises :class:`ConfigError` as :func:`read_key_ring` does, and for a
    symbolic link, which a rename would replace by a file.
    """
    with _faults_of(path, _NO_RING), _folder(path) as folder:
        fcntl.flock(folder, fcntl.LOCK_EX)
        with os.fdopen(os.open(path.name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=folder), "rb") as old:
            status = _check_access(path, old, owner)
            text = _to_text(path, old.read())
        KeyRing.from_text(text, str(path))
        ring = KeyRing.from_text(changed := change(text), str(path))
        if changed != text:
            _replace(path.name, folder, changed, status)
    return ring


def _content(path: Path, owner: int | None, *, trusted: bool) -> Secret:
    with path.open("rb") as file:
        if not trusted:
            _check_access(path, file, owner)
        return Secret(file.read().removesuffix(b"\n"))


def _replace(name: str, folder: int, text: str, status: os.stat_result) -> None:
    new = name + _NEW_SUFFIX
    with suppress(FileNotFoundError):
        os.unlink(new, dir_fd=folder)  # of an edit that was killed; the lock says that none is under way
    try:
        with _created(new, folder) as file:
            os.fchown(file.fileno(), status.st_uid, status.st_gid)
            os.fchmod(file.fileno(), stat.S_IMODE(status.st_mode))
            _write(file, text)
        os.rename(new, name, src_dir_fd=folder, dst_dir_fd=folder)
    except BaseException:
        with suppress(FileNotFoundError):
            os.unlink(new, dir_fd=folder)
        raise
    os.fsync(folder)


def _created(name: str, folder: int) -> BinaryIO:
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
    return os.fdopen(os.open(name, flags, 0o600, dir_fd=folder), "wb")


def _write(file: BinaryIO, text: str) -> None:
    file.write(text.encode("ascii"))
    file.flush()
    os.fsync(file.fileno())


@contextmanager
def _folder(path: Path) -> Iterator[int]:
    """The open folder of ``path``: every step of a change is made in this one, whatever is renamed meanwhile."""
    descriptor = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


@contextmanager
def _faults_of(path: Path, absent: str) -> Iterator[None]:
    """Turns what the system says of ``path`` into :class:`ConfigError`; ``absent`` is said where there is none."""
    try:
        yield
    except FileNotFoundError:
        raise ConfigError([_(absent, path=path)]) from None
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise ConfigError([_("{path}: is a symbolic link; name the file itself", path=path)]) from None
        raise ConfigError(
            [_("{path}: cannot be read or replaced: {strerror}", path=path, strerror=error.strerror)]
        ) from None


def _check_access(path: Path, file: BinaryIO, owner: int | None) -> os.stat_result:
    status = os.fstat(file.fileno())
    if not stat.S_ISREG(status.st_mode):
        raise ConfigError([_("{path}: is not a file", path=path)])
    if status.st_mode & (stat.S_IRWXG | stat.S_IRWXO) or status.st_uid not in (0, os.geteuid(), owner):
        raise ConfigError(
            [_("{path}: must be readable by its owner alone, root or otpd; run: chmod 600 {path}", path=path)]
        )
    return status


def _to_ring(path: Path, content: Secret) -> KeyRing:
    return KeyRing.from_text(_to_text(path, content.reveal()), str(path))


def _to_text(path: Path, content: bytes) -> str:
    try:
        return content.decode("ascii")
    except UnicodeDecodeError:
        raise ConfigError([_("{path}: is not a key ring", path=path)]) from None
