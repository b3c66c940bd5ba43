# SPDX-License-Identifier: AGPL-3.0-or-later
"""What a host needs for these settings besides its disk: memory, GPU memory, network and cores, each figure with its basis.

What was measured stands in docs/capacity.md with its machine and day; nothing here measures anything.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from daemon.detect.tiling import patrol_tiles
from daemon.settings import LARGEST_BODIES, LARGEST_PICTURES, CameraSettings, Settings

How = Literal["measured", "seen", "configured", "assumed"]
"""measured: by us, once, elsewhere; seen: here, of late; configured: a cap in the settings; assumed: by nobody yet."""

MAIN_BITS_S, SUB_BITS_S = 3_000_000.0, 500_000.0
WORKER_BYTES, BURNING_BYTES = 21_000_000, 31_000_000
SERVICES_BYTES: dict[str, int] = {
    "detector": 330_000_000, "recorder": 78_000_000, "web": 100_000_000, "supervisor": 39_000_000, "forkserver": 37_000_000,
}  # fmt: skip
GPU_BYTES = 2_000_000_000
# CPU-seconds a minute
MAIN_CPU, SUB_CPU, BURNING_CPU, RECORDER_CPU = 0.78, 1.00, 11.0, 0.09
BYTES_A_PIXEL = 3
CLOSER = 3.4 * 0.46  # detections of a picture that burns, and what a closer look at one takes, of 16:9 at 640 px
SQUARE = 640 / 384  # pixels of a square at the detector's input, to those of 16:9
# Of ring_bytes, at most, beside the ring (docs/ingest.md, Caps): not taken yet; held on for a capture; for going back
QUEUE_SHARE, CAPTURE_SHARE, GOING_BACK_SHARE = 0.25, 1.0, 2.0


@dataclass(frozen=True, slots=True)
class Basis:
    """Where a figure is from."""

    how: How
    where: str


@dataclass(frozen=True, slots=True)
class Figure:
    """One line of the answer, in the unit that the name of its part says."""

    what: str
    value: float
    basis: Basis


@dataclass(frozen=True, slots=True)
class Stream:
    """What one camera sends, in bits a second."""

    main: float
    sub: float
    basis: Basis


CAPACITY = "docs/capacity.md"


def streams(settings: Settings, seen_bits_s: Mapping[str, float]) -> dict[str, Stream]:
    """Of the enabled cameras; `seen_bits_s` is of those whose main stream a running daemon holds."""
    found = {}
    assumed, sub_too = "3 Mbit/s", "a sub-stream assumed as 0.5 Mbit/s"
    for name, camera in enabled(settings).items():
        sub = SUB_BITS_S if camera.detect_url else 0.0
        if name in seen_bits_s:
            found[name] = Stream(seen_bits_s[name], sub, Basis("seen", f"its ring; {sub_too}" if sub else "its ring"))
        else:
            found[name] = Stream(MAIN_BITS_S, sub, Basis("assumed", f"{assumed}; {sub_too}" if sub else assumed))
    return found


def enabled(settings: Settings) -> dict[str, CameraSettings]:
    return {name: camera for name, camera in settings.cameras.items() if camera.enabled}


def network_bits_s(sent: Mapping[str, Stream]) -> list[Figure]:
    return [Figure(f"camera {name}", each.main + each.sub, each.basis) for name, each in sent.items()]


def memory_bytes(settings: Settings, sent: Mapping[str, Stream]) -> list[Figure]:
    """In quiet times."""
    ingest, count = settings.ingest, len(sent)
    rings = sum(min(ingest.ring_bytes, each.main / 8 * ingest.ring_seconds) for each in sent.values())
    return [
        Figure(f"workers ({count}), decoders included", count * WORKER_BYTES, Basis("measured", CAPACITY)),
        Figure("rings", rings, Basis("configured", "bit rate × ingest.ring_seconds, at most ingest.ring_bytes")),
        *(Figure(name, size, Basis("measured", CAPACITY)) for name, size in SERVICES_BYTES.items()),
    ]


def memory_at_most_bytes(settings: Settings, sent: Mapping[str, Stream]) -> list[Figure]:
    """When everything burns, no disk takes anything and uploads come in, all at once."""
    ingest, api, count = settings.ingest, settings.api, len(sent)
    return [
        Figure(f"workers ({count}), all decoding", count * BURNING_BYTES, Basis("measured", "docs/ingest.md")),
        Figure(
            "rings and what waits beside them", count * ingest.ring_bytes * (1 + QUEUE_SHARE),
            Basis("configured", "ingest.ring_bytes"),
        ),
        Figure(
            "packets held on for captures and going back", count * ingest.ring_bytes * (CAPTURE_SHARE + GOING_BACK_SHARE),
            Basis("configured", "ingest.ring_bytes"),
        ),
        Figure("unacknowledged stills", count * ingest.unacked_bytes, Basis("configured", "ingest.unacked_bytes")),
        Figure(
            "uploads as pixels", LARGEST_PICTURES * api.max_pixels * BYTES_A_PIXEL,
            Basis("configured", f"{LARGEST_PICTURES} × api.max_pixels"),
        ),
        Figure(
            "uploads as they came", LARGEST_BODIES * 2 * api.max_upload,
            Basis("configured", f"{LARGEST_BODIES} × 2 × api.max_upload"),
        ),
        *(Figure(name, size, Basis("measured", CAPACITY)) for name, size in SERVICES_BYTES.items()),
    ]  # fmt: skip


def gpu_memory_bytes(settings: Settings) -> list[Figure]:
    """Nothing where the CPU infers."""
    if settings.detect.device == "cpu":
        return []
    what = f"the model, a batch of {settings.detect.batch} at {settings.detect.input_px} px, CUDA itself"
    return [Figure(what, GPU_BYTES, Basis("assumed", "never measured; none where there is no GPU"))]


def cores(settings: Settings) -> list[Figure]:
    """Cores kept busy while all is quiet; inference as on a CPU."""
    detect, cameras = settings.detect, enabled(settings).values()
    subs = sum(camera.detect_url is not None for camera in cameras)
    mains = len(cameras) - subs
    looks_s = {
        "main": mains / detect.max_interval * inference_cpu_s(detect.input_px),
        "sub": subs / detect.interval * inference_cpu_s(detect.sub_stream_px or detect.input_px),
    }
    measured = Basis("measured", "benchmarks/README.md and docs/capacity.md")
    tiles = len(patrol_tiles(detect.patrol, detect.input_px)) * len(cameras)
    searched_s = tiles / detect.patrol * inference_cpu_s(detect.input_px) * SQUARE if tiles else 0.0
    return [
        Figure(f"workers without a sub-stream ({mains})", mains * MAIN_CPU / 60, measured),
        Figure(f"workers with one ({subs})", subs * SUB_CPU / 60, measured),
        Figure("inference, on this CPU instead of a GPU", sum(looks_s.values()), measured),
        Figure(
            f"the patrol, {tiles} tiles every {detect.patrol:g} s" if tiles else "the patrol", searched_s,
            Basis("assumed", "1080p; a square tile as so much more than 16:9 as it is larger"),
        ),
        Figure("recorder, web, supervisor", len(cameras) * RECORDER_CPU / 60, measured),
    ]  # fmt: skip


def cores_burning(settings: Settings) -> list[Figure]:
    """What one burning camera takes beside: all is decoded, and looked at more often."""
    detect = settings.detect
    look = detect.active_fps * inference_cpu_s(detect.input_px)
    closer = [
        Figure(
            "closer looks, at 3.4 of its detections", CLOSER * detect.active_fps * inference_cpu_s(640),
            Basis("measured", "docs/accuracy.md"),
        ),
    ]  # fmt: skip
    return [
        Figure("its worker", BURNING_CPU / 60, Basis("measured", "docs/ingest.md, the upper end")),
        Figure("inference", look, Basis("measured", "benchmarks/README.md")),
        *(closer if detect.closer_look else []),
    ]


def inference_cpu_s(input_px: int) -> float:
    """Of one picture in a detector that is not busy: 0.033 at 640, 0.010 at 320, and by its area between and beyond."""
    return 0.0025 + 0.0305 * (input_px / 640) ** 2


def total(figures: list[Figure]) -> float:
    return sum(each.value for each in figures)
