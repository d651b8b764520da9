"""What a process that holds secrets does to itself first."""

import ctypes
import os
import pwd
import resource
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

_PR_SET_DUMPABLE: Final = 4


def keep_secrets_out_of_cores() -> None:
    """No core, and no ptrace by another process of the same user (prctl(2), PR_SET_DUMPABLE)."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)


def limit_memory(limit_bytes: int) -> None:
    """Let an allocation beyond ``limit_bytes`` fail, which ends the process: libzmq aborts, and systemd starts it anew.

    libzmq holds any number of frames until a message's last one arrives, so a local user could fill the memory.
    """
    resource.setrlimit(resource.RLIMIT_DATA, (limit_bytes, limit_bytes))


def host_name() -> str:
    """What this host calls itself."""
    return socket.gethostname()


def boot_id() -> str:
    """The kernel's id of this boot."""
    return Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip()


@contextmanager
def acting_as(user: str) -> Iterator[None]:
    """Be ``user`` towards files and sockets (effective uid, gid and groups) until the block ends; for root.

    Whoever is connected to over a local socket sees this user. The process cannot be signalled or traced by that user:
    its real uid stays root's. Raises KeyError where NSS knows no such user.
    """
    account, groups, group = pwd.getpwnam(user), os.getgroups(), os.getegid()
    os.setgroups(os.getgrouplist(user, account.pw_gid))
    os.setegid(account.pw_gid)
    os.seteuid(account.pw_uid)
    keep_secrets_out_of_cores()  # the kernel forgets PR_SET_DUMPABLE when the uid changes
    try:
        yield
    finally:
        os.seteuid(os.getuid())
        os.setegid(group)
        os.setgroups(groups)
        keep_secrets_out_of_cores()
