# SPDX-License-Identifier: AGPL-3.0-or-later
"""One message at a time between two processes: MessagePack over a Unix SOCK_SEQPACKET, descriptors beside it.

SEQPACKET keeps message borders and attaches descriptors to exactly one message, so there is no framing to get
wrong; no lock or queue is shared, so that a kill -9 of one side cannot stop the other (design, Processes).
"""

from __future__ import annotations

import array
import os
import socket
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Generic, TypeVar

import msgspec

from daemon.errors import FirewitnessError, MessageError, PeerGone

MAX_MESSAGE_BYTES = 128 * 1024  # below the kernel's default SO_SNDBUF of 208 kB
MAX_DESCRIPTORS = 4
_ROOM_FOR_DESCRIPTORS = socket.CMSG_SPACE(MAX_DESCRIPTORS * array.array("i").itemsize)
_SUN_PATH = 107  # bytes of a Unix socket's path (unix(7))

Received = TypeVar("Received")


class Channel(Generic[Received]):
    """One end of a connection; `receives` is the msgspec type (a tagged union) of what comes in.

    Not blocking unless made so; one thread reads, one thread writes.
    """

    def __init__(self, sock: socket.socket, receives: Any) -> None:
        self._socket = sock
        self._encode = msgspec.msgpack.Encoder().encode
        self._decode = msgspec.msgpack.Decoder(receives).decode
        sock.setblocking(False)

    def fileno(self) -> int:
        return self._socket.fileno()

    def settimeout(self, seconds: float | None) -> None:
        """Makes send and receive wait that long (None: for ever); TimeoutError when it has passed."""
        self._socket.settimeout(seconds)

    def send(self, message: msgspec.Struct, descriptors: Sequence[int] = ()) -> bool:
        """Sends all or nothing; False when the peer's buffer is full just now. The descriptors stay the caller's.

        Raises PeerGone.
        """
        data = self._encode(message)
        if len(data) > MAX_MESSAGE_BYTES:
            raise MessageError(f"a message of {len(data)} bytes; allowed are {MAX_MESSAGE_BYTES}")
        extra = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", descriptors))] if descriptors else []
        try:
            self._socket.sendmsg([data], extra, socket.MSG_NOSIGNAL)
        except BlockingIOError:
            return False
        except TimeoutError:
            raise
        except OSError as error:
            raise PeerGone(str(error)) from error
        return True

    def receive(self) -> tuple[Received, list[int]] | None:
        """The next message and its descriptors, which are now the caller's to close; None: nothing is waiting.

        Raises PeerGone at the end, MessageError for what is no message of this channel.
        """
        try:
            data, extra, flags, _ = self._socket.recvmsg(
                MAX_MESSAGE_BYTES, _ROOM_FOR_DESCRIPTORS, socket.MSG_CMSG_CLOEXEC
            )
        except BlockingIOError:
            return None
        except TimeoutError:
            raise
        except OSError as error:
            raise PeerGone(str(error)) from error
        descriptors = _descriptors(extra)
        if not data:
            _close_all(descriptors)
            raise PeerGone("closed")
        try:
            if flags & (socket.MSG_TRUNC | socket.MSG_CTRUNC):
                raise MessageError("a message that was cut")
            return self._decode(data), descriptors
        except msgspec.MsgspecError as error:
            _close_all(descriptors)
            raise MessageError(str(error)) from error
        except MessageError:
            _close_all(descriptors)
            raise

    def peer_uid(self) -> int:
        """The uid of the process that connected (SO_PEERCRED)."""
        form = struct.Struct("3i")
        answer = self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, form.size)
        return int(form.unpack(answer)[1])

    def close(self) -> None:
        self._socket.close()


def pair() -> tuple[socket.socket, socket.socket]:
    """Two connected ends."""
    return socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)


def listen(path: Path) -> socket.socket:
    """A listening socket at `path`, for this uid alone; replaces what a killed process left there."""
    check_path(path)
    path.unlink(missing_ok=True)
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    before = os.umask(0o177)
    try:
        listening.bind(str(path))
    finally:
        os.umask(before)
    listening.listen(128)
    return listening


def connect(path: Path) -> socket.socket:
    """A connection to the socket at `path`; raises PeerGone when nobody listens there."""
    check_path(path)
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    try:
        connection.connect(str(path))
    except OSError as error:
        connection.close()
        raise PeerGone(f"{path}: {error.strerror}") from error
    return connection


def check_path(path: Path) -> None:
    """Raises FirewitnessError when a socket cannot have this path: Unix sockets' paths are short (unix(7))."""
    if len(os.fsencode(path)) > _SUN_PATH:
        raise FirewitnessError(
            f"{path}: a socket's path may have {_SUN_PATH} bytes; set storage.runtime_dir to a shorter one"
        )


def _descriptors(extra: Sequence[tuple[int, int, bytes]]) -> list[int]:
    found = array.array("i")
    for level, kind, data in extra:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            found.frombytes(data[: len(data) - len(data) % found.itemsize])
    return list(found)


def _close_all(descriptors: Sequence[int]) -> None:
    for descriptor in descriptors:
        os.close(descriptor)
