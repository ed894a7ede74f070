"""Make a network bridge for the tests with the kernel's ioctls (linux/sockios.h).

A daemon that is told to use no bridge deletes docker0, which belongs to the machine's own engine.
"""

from __future__ import annotations

import fcntl
import secrets
import socket
import struct

_ADD, _DELETE = 0x89A0, 0x89A1
_GET_FLAGS, _SET_FLAGS = 0x8913, 0x8914
_UP = 1


class Bridge:
    """Network bridge with a name that nothing else has."""

    def __init__(self) -> None:
        self.name = f"sb{secrets.token_hex(5)}"
        _ioctl(_ADD, self._field())

    def remove(self) -> None:
        """Take the bridge down and delete it."""
        answer = _ioctl(_GET_FLAGS, self._field() + bytes(16))
        (flags,) = struct.unpack("h", answer[16:18])
        _ioctl(_SET_FLAGS, self._field() + struct.pack("h", flags & ~_UP) + bytes(14))
        _ioctl(_DELETE, self._field())

    def _field(self) -> bytes:
        return self.name.encode().ljust(16, b"\0")


def _ioctl(request: int, argument: bytes) -> bytes:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as handle:
        return fcntl.ioctl(handle, request, argument)
