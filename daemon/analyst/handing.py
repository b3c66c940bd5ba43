# SPDX-License-Identifier: AGPL-3.0-or-later
"""Hands stills and analysis to the recorder, the only writer, and waits until they are durable."""

from __future__ import annotations

import os
from pathlib import Path

from daemon import wire
from daemon.errors import FirewitnessError, PeerGone
from daemon.ingest.concluding import Outcome
from daemon.memory import sealed
from daemon.messages import Ack, Analysed, AnalystHello, Message, RecorderState, StillTaken, ToWorkerFromRecorder

PATIENCE_S = 60.0


def hand_over(recorder: Path, camera: str, outcome: Outcome) -> None:
    """Raises FirewitnessError when the recorder does not take all of it in time."""
    try:
        channel: wire.Channel[Ack | RecorderState] = wire.Channel(wire.connect(recorder), ToWorkerFromRecorder)
    except PeerGone as error:
        raise FirewitnessError(f"the recorder cannot be reached: {error}") from error
    channel.settimeout(PATIENCE_S)
    try:
        channel.send(AnalystHello(camera=camera))
        _await_disk(channel)
        for evidence, jpeg in outcome.stills:
            _send(channel, StillTaken(evidence=evidence), jpeg)
        _send(channel, Analysed(analysis=outcome.analysis), None)
        _await({*(evidence.id for evidence, _ in outcome.stills), outcome.analysis.id}, channel)
    except (PeerGone, TimeoutError) as error:
        raise FirewitnessError("the recorder did not take the analysis") from error
    finally:
        channel.close()


def _send(channel: wire.Channel[Ack | RecorderState], message: Message, jpeg: bytes | None) -> None:
    descriptors = [] if jpeg is None else [sealed("still", jpeg)]
    try:
        channel.send(message, descriptors)
    finally:
        for each in descriptors:
            os.close(each)


def _await_disk(channel: wire.Channel[Ack | RecorderState]) -> None:
    received = channel.receive()
    if received is None or not isinstance(received[0], RecorderState) or received[0].disk != "ok":
        raise FirewitnessError("the recorder cannot store anything just now: see firewitness status")


def _await(ids: set[str], channel: wire.Channel[Ack | RecorderState]) -> None:
    while ids:
        received = channel.receive()
        if received is not None and isinstance(received[0], Ack):
            ids -= set(received[0].ids)
