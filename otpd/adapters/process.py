"""What a process that holds secrets does to itself first."""

import ctypes
import resource
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


def boot_id() -> str:
    """The kernel's id of this boot."""
    return Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip()
