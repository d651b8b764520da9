"""Who is at the other end of a Unix socket, by the kernel's word: unix(7), SO_PEERCRED."""

import socket
import struct
from typing import Final

_UCRED: Final = struct.Struct("3i")  # pid, uid, gid


def peer_uid(link: socket.socket) -> int:
    """The uid of the process that connected, or that called listen(2)."""
    _, uid, _ = _UCRED.unpack(link.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size))
    return int(uid)
