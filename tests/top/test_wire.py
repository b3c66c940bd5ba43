# SPDX-License-Identifier: AGPL-3.0-or-later
"""Messages between processes: whole or not at all, with their descriptors, and never a hang or a leak."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from daemon import wire
from daemon.errors import FirewitnessError, MessageError, PeerGone
from daemon.memory import map_sealed, map_shared, sealed, shared
from daemon.messages import Ack, Answer, Command, RecorderState, ToWorkerFromRecorder

Pair = tuple[socket.socket, socket.socket]


@pytest.fixture
def ends() -> Iterator[Pair]:
    one, two = wire.pair()
    yield one, two
    one.close()
    two.close()


def open_descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


def test_a_message_arrives_with_its_descriptor(ends: Pair) -> None:
    """The picture that a message names comes with exactly that message."""
    sender, receiver = wire.Channel[Ack](ends[0], Ack), wire.Channel[Ack | RecorderState](ends[1], ToWorkerFromRecorder)
    memory = sealed("test", b"picture")
    assert sender.send(RecorderState(disk="ok"))
    assert sender.send(Ack(ids=("a",)), [memory])
    os.close(memory)
    assert receiver.receive() == (RecorderState(disk="ok"), [])
    received = receiver.receive()
    assert received is not None
    message, (descriptor,) = received
    assert message == Ack(ids=("a",))
    assert map_sealed(descriptor, 100)[:] == b"picture"
    os.close(descriptor)
    assert receiver.receive() is None


def test_the_end_of_a_peer_is_told(ends: Pair) -> None:
    """A closed or killed peer is PeerGone, for reading and for writing."""
    receiver: wire.Channel[Answer] = wire.Channel(ends[1], Answer)
    ends[0].close()
    with pytest.raises(PeerGone):
        receiver.receive()
    with pytest.raises(PeerGone):
        receiver.send(Command(id="1", name="x"))


def test_a_full_peer_is_not_waited_for(ends: Pair) -> None:
    """A peer that does not read costs the sender nothing: send says False."""
    receiver: wire.Channel[Answer] = wire.Channel(ends[1], Answer)
    answer = Answer(id="1", result={"text": "x" * 10_000})
    sent = 0
    while receiver.send(answer):
        sent += 1
        assert sent < 1000
    assert sent > 0


def test_what_is_no_message_is_refused_and_its_descriptors_closed(ends: Pair) -> None:
    """Nobody can fill a process with descriptors by sending rubbish."""
    one, receiver = ends[0], wire.Channel[Ack](ends[1], Ack)
    before = open_descriptors()
    memory = sealed("test", b"x")
    for rubbish in (b"\xc1", b"hello", msgspec.msgpack.encode({"type": "Stop"})):
        socket.send_fds(one, [rubbish], [memory])
        with pytest.raises(MessageError):
            receiver.receive()
    os.close(memory)
    assert open_descriptors() == before


def test_a_message_that_is_too_large_is_never_sent(ends: Pair) -> None:
    """The border of 128 kB is the sender's error, not a cut message at the receiver."""
    receiver: wire.Channel[Answer] = wire.Channel(ends[1], Answer)
    with pytest.raises(MessageError, match="allowed are 131072"):
        receiver.send(Answer(id="1", result={"text": "x" * wire.MAX_MESSAGE_BYTES}))


def test_a_path_that_is_too_long_is_one_sentence(tmp_path: Path) -> None:
    """Unix sockets have short paths; the sentence names the key to change."""
    with pytest.raises(FirewitnessError, match=r"set storage\.runtime_dir to a shorter one"):
        wire.listen(tmp_path / ("x" * 120))


def test_a_listening_socket_is_for_this_user_alone(tmp_path: Path) -> None:
    """Nobody else on the host may even connect; what a killed process left is replaced."""
    path = tmp_path / "s"
    path.write_text("left over")
    listening = wire.listen(path)
    assert path.stat().st_mode & 0o777 == 0o600
    connection = wire.connect(path)
    accepted: wire.Channel[Ack] = wire.Channel(listening.accept()[0], Ack)
    assert accepted.peer_uid() == os.getuid()
    accepted.close()
    connection.close()
    listening.close()
    with pytest.raises(PeerGone):
        wire.connect(path)


def test_memory_that_can_change_is_refused() -> None:
    """A picture whose sender can still write or shrink it is not read."""
    writable = shared("test", 100)
    with pytest.raises(MessageError, match="can still change"):
        map_sealed(writable, 1000)
    os.close(writable)
    read_end, write_end = os.pipe()
    with pytest.raises(MessageError):
        map_sealed(read_end, 1000)
    os.close(read_end)
    os.close(write_end)


def test_sealed_memory_cannot_change_and_has_a_limit() -> None:
    """Nobody can write to it, and a picture larger than allowed is refused before it is mapped."""
    memory = sealed("test", b"x" * 5000)
    with pytest.raises(PermissionError):
        os.write(memory, b"y")
    with pytest.raises(MessageError, match="5000 bytes; allowed are 1 to 4999"):
        map_sealed(memory, 4999)
    os.close(memory)


def test_shared_memory_is_seen_by_both_sides() -> None:
    """What one maps and writes, the other reads; its size is fixed."""
    memory = shared("test", 4096)
    first, second = map_shared(memory), map_shared(memory)
    first[:5] = b"frame"
    assert second[:5] == b"frame"
    with pytest.raises(PermissionError):
        os.ftruncate(memory, 8192)
    os.close(memory)
