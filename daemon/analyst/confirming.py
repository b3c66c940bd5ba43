# SPDX-License-Identifier: AGPL-3.0-or-later
"""Looks through a recording until the rules confirm a fire in it, as a worker does while a stream comes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from daemon.analyst.analysing import Detect
from daemon.clock import NS
from daemon.detect.rules import RuleState, Track, observe
from daemon.domain import MAX_DETECTIONS, Detection, Evidence, ModelInfo
from daemon.errors import FirewitnessError
from daemon.ids import new_id
from daemon.ingest.colour import Converter, colour_of
from daemon.ingest.decode import Decoded, Decoder
from daemon.ingest.packet import Packet
from daemon.ingest.plan import WorkerPlan
from daemon.ingest.suspicion import SecondLook
from daemon.storage.still import encode


class Confirmed(NamedTuple):
    """The frame that confirmed it, as evidence, and what was confirmed."""

    evidence: Evidence
    jpeg: bytes
    track: Track
    first_suspect_at_ns: int


class Nothing(NamedTuple):
    """Nothing was confirmed, and so many of the frames are damaged: of them nobody knows."""

    damaged: int


def confirm(packets: Sequence[Packet], plan: WorkerPlan, incident: str, detect: Detect) -> Confirmed | Nothing:
    """The first fire. Raises FirewitnessError where no frame can be decoded."""
    rules = plan.rules
    state, second_look, converter = RuleState(), SecondLook(rules), Converter()
    moments = {at_ns for each in packets if (at_ns := each.run.at_mono_ns(each)) is not None}
    begin_ns = due_ns = min(moments)
    whole = 0
    for decoded in _decoded(packets):
        at_ns = decoded.packet.run.at_mono_ns(decoded.packet)
        if at_ns is None or decoded.damage == "yes":
            continue
        whole += 1
        if at_ns < due_ns:
            continue
        colour = colour_of(decoded.frame, plan.matrix, plan.colour_range)
        small = np.ascontiguousarray(converter.small(decoded.frame, colour, plan.input_px))
        found, model = detect(small)
        size_px = decoded.frame.width, decoded.frame.height
        scale = size_px[0] / small.shape[1], size_px[1] / small.shape[0]
        detections = [_scaled(each, *scale) for each in found]
        now_s = (at_ns - begin_ns) / NS
        seen = observe(state, detections, size_px, now_s, rules)
        state = seen.state
        second_look.analysed(detections, size_px, now_s, suspected=state.active)
        closely = state.active or second_look.active
        due_ns = at_ns + round(NS / plan.active_fps if closely else plan.max_interval_s * NS)
        track = next((each.track for each in seen.events if each.track.state == "confirmed"), None)
        if track is not None:
            evidence = _evidence(decoded, seen.detections, plan, incident, model)
            jpeg = encode(converter.full(decoded.frame, colour), evidence)
            return Confirmed(evidence, jpeg, track, begin_ns + round(track.first_s * NS))
    if not whole:
        raise FirewitnessError("no frame of it can be decoded")
    return Nothing(max(0, len(moments) - whole))


def _decoded(packets: Sequence[Packet]) -> Iterator[Decoded]:
    run = packets[0].run
    decoder = Decoder(run.codec, run.extradata, run.coded_px())
    for each in packets:
        yield from decoder.next(each)
    yield from decoder.rest()


def _evidence(
    decoded: Decoded, detections: Sequence[Detection], plan: WorkerPlan, incident: str, model: ModelInfo
) -> Evidence:
    run = decoded.packet.run.record
    assert run is not None
    colour = colour_of(decoded.frame, plan.matrix, plan.colour_range)
    strongest = sorted(detections, key=lambda each: -each.confidence)[:MAX_DETECTIONS]
    return Evidence(
        id=new_id(),
        camera=plan.camera,
        kind="first_confirmed",
        run=run.id,
        pts=decoded.packet.pts or 0,
        time_base=run.time_base,
        time=decoded.packet.run.time_of(decoded.packet),
        width_px=decoded.frame.width,
        height_px=decoded.frame.height,
        detections=tuple(strongest),
        incident=incident,
        model=model,
        thresholds=plan.thresholds,
        damage=decoded.damage,
        colour=(colour.matrix, colour.range),
        version=plan.version,
        detections_omitted=len(detections) - len(strongest),
        times="claimed",
    )


def _scaled(detection: Detection, across: float, down: float) -> Detection:
    x1, y1, x2, y2 = detection.box
    return replace(detection, box=(x1 * across, y1 * down, x2 * across, y2 * down))
