# SPDX-License-Identifier: AGPL-3.0-or-later
"""Hands what was found, or a recording from elsewhere, to the recorder, the only writer, and waits until it is durable."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from daemon import wire
from daemon.domain import IMPORTED, Clip, Evidence, Incident, Run
from daemon.errors import FirewitnessError, PeerGone
from daemon.ids import new_id
from daemon.ingest.concluding import Outcome
from daemon.memory import sealed
from daemon.messages import (
    Ack,
    Analysed,
    AnalystHello,
    ClipEnded,
    ClipFragment,
    ImporterHello,
    IncidentChanged,
    Message,
    RecorderState,
    RunBegan,
    StillTaken,
    ToWorkerFromRecorder,
)

PATIENCE_S = 60.0
PIECE_BYTES = 8_000_000
_REFUSES = "the recorder cannot store anything just now: see firewitness status"


class Recorder:
    """A connection on which everything is waited for."""

    def __init__(self, channel: wire.Channel[Ack | RecorderState]) -> None:
        self._channel = channel

    def give(self, outcome: Outcome) -> None:
        """Stills and analysis."""
        self._give_stills(outcome.stills)
        self._send(Analysed(analysis=outcome.analysis), outcome.analysis.id)

    def give_file(
        self, file: BinaryIO, sha256: str, clip: Clip, incident: str, times: Sequence[tuple[int, int]]
    ) -> None:
        """A recording as the clip of an incident. Raises FirewitnessError where it is another file than was hashed."""
        digest, at = hashlib.sha256(), 0
        file.seek(0)
        while piece := file.read(PIECE_BYTES):
            digest.update(piece)
            part = ClipFragment(
                id=new_id(), clip=clip, from_byte=at, incidents=(incident,), frames=0 if at else len(times),
                first_pts=min(pts for _, pts in times), last_pts=max(pts for _, pts in times),
                first_at_ns=times[0][0], last_at_ns=times[-1][0],
            )  # fmt: skip
            self._send(part, part.id, piece)
            at += len(piece)
        if digest.hexdigest() != sha256:
            raise FirewitnessError("the file was changed while it was read; nothing of it is kept")
        ended = ClipEnded(id=new_id(), clip=clip.id, closed=IMPORTED)
        self._send(ended, ended.id)

    def give_run(self, run: Run) -> None:
        self._send(RunBegan(run=run), run.id)

    def give_incident(self, incident: Incident, at_ns: int, stills: Sequence[tuple[Evidence, bytes]]) -> None:
        """With the stills that confirmed it, if it was."""
        changed = IncidentChanged(id=new_id(), at_ns=at_ns, incident=incident)
        self._send(changed, changed.id)
        self._give_stills(stills)

    def _give_stills(self, stills: Sequence[tuple[Evidence, bytes]]) -> None:
        for evidence, jpeg in stills:
            self._send(StillTaken(evidence=evidence), evidence.id, jpeg)

    def _send(self, message: Message, id_: str, content: bytes | None = None) -> None:
        descriptors = [] if content is None else [sealed("still", content)]
        try:
            self._channel.send(message, descriptors)
        finally:
            for each in descriptors:
                os.close(each)
        while True:
            received = self._channel.receive()
            if received is None:
                continue
            if isinstance(received[0], RecorderState):
                _check(received[0])
            elif id_ in received[0].ids:
                return


@contextmanager
def connected(recorder: Path, hello: AnalystHello | ImporterHello) -> Iterator[Recorder]:
    """Raises FirewitnessError when the recorder cannot be reached, or does not take something in time."""
    try:
        channel: wire.Channel[Ack | RecorderState] = wire.Channel(wire.connect(recorder), ToWorkerFromRecorder)
    except PeerGone as error:
        raise FirewitnessError(f"the recorder cannot be reached: {error}") from error
    channel.settimeout(PATIENCE_S)
    try:
        channel.send(hello)
        received = channel.receive()
        if received is None or not isinstance(received[0], RecorderState):
            raise FirewitnessError(_REFUSES)
        _check(received[0])
        yield Recorder(channel)
    except (PeerGone, TimeoutError) as error:
        raise FirewitnessError("the recorder did not take all of it") from error
    finally:
        channel.close()


def hand_over(recorder: Path, camera: str, outcome: Outcome) -> None:
    """Raises FirewitnessError when the recorder does not take all of it in time."""
    with connected(recorder, AnalystHello(camera=camera)) as to:
        to.give(outcome)


def _check(state: RecorderState) -> None:
    if state.disk != "ok":
        raise FirewitnessError(_REFUSES)
