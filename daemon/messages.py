# SPDX-License-Identifier: AGPL-3.0-or-later
"""Every message between two processes, by seam; docs/seams.md tells who sends what when, and what follows.

All are frozen msgspec structs, told apart by their tag (the class name). Pictures are never inside: they come in
memory whose descriptor travels with the message.
"""

from __future__ import annotations

from typing import Any

import msgspec

from daemon.domain import Box, Clip, Detection, Evidence, Incident, ModelInfo, Run
from daemon.origin.record import Analysis


class Message(msgspec.Struct, frozen=True, tag=True, kw_only=True):
    """What all messages have in common."""


# ------------------------------------------------------------ worker ⇄ recorder


class RecorderHello(Message, frozen=True):
    """Worker → recorder, first of all: whose messages follow. `worker` is new for every process."""

    camera: str
    worker: str


class AnalystHello(Message, frozen=True):
    """Analyst → recorder, first of all: stills and analyses of that camera's incidents follow, and nothing else."""

    camera: str


class ImporterHello(Message, frozen=True):
    """Importer → recorder, first of all: a recording from elsewhere follows, under a name that no camera has, and what was seen in it."""

    camera: str


class RunBegan(Message, frozen=True):
    """Worker → recorder: a run, before anything of it. Acknowledged by `run.id`."""

    run: Run


class StillTaken(Message, frozen=True):
    """Worker → recorder, with one sealed memfd: the JPEG as it is to be stored. Acknowledged by `evidence.id`."""

    evidence: Evidence


class IncidentChanged(Message, frozen=True):
    """Worker → recorder: a transition. Acknowledged by `id` (of this message, a UUIDv7)."""

    id: str
    at_ns: int
    incident: Incident


class Analysed(Message, frozen=True):
    """Worker → recorder: what one going back found; after its stills. Acknowledged by `analysis.id`."""

    analysis: Analysis


class ClipFragment(Message, frozen=True):
    """Worker → recorder, with one sealed memfd: the next bytes of a clip, from `from_byte` on. Acknowledged by `id`.

    The first one makes the clip. A clip lives on one connection: when that ends, so does the clip.
    """

    id: str
    clip: Clip
    from_byte: int
    incidents: tuple[str, ...]
    """Those of its camera that the clip serves so far."""
    frames: int
    first_pts: int
    last_pts: int
    first_at_ns: int
    last_at_ns: int
    sibling_of: tuple[str, ...] = ()
    """The incidents of other cameras of its site that it serves so far."""


class ClipEnded(Message, frozen=True):
    """Worker → recorder: nothing more comes of this clip, because of `closed` (a ClipClosed). Acknowledged by `id`."""

    id: str
    clip: str
    closed: str


class Watermark(Message, frozen=True):
    """Worker → recorder, once a second, also while there is nothing to watch. Not acknowledged.

    `watched_at_ns` and the rest tell of the last frame that was watched: analysed, healthy, and storable.
    `condition` is "ok" or the gap reason that the worker knows of now; `since_at_ns` when that condition began
    where it is earlier than the last watched frame (frozen, no_picture: 10 s before they were found).
    """

    at_ns: int
    condition: str
    detail: str = ""
    run: str | None = None
    pts: int | None = None
    watched_at_ns: int | None = None
    watched_mono_ns: int | None = None
    frames_watched: int = 0
    """Since this worker started; only ever grows."""
    in_row: int = 0
    """Watched frames in a row that kept 2 × detect.max_interval; 3 end a gap."""
    interval_s: float | None = None
    """Longest interval between watched frames since the last watermark."""
    since_at_ns: int | None = None


class StillsDropped(Message, frozen=True):
    """Worker → recorder: what the cap of unacknowledged bytes made it let go. Becomes a gap; not acknowledged."""

    count: int
    from_at_ns: int
    to_at_ns: int


class Ack(Message, frozen=True):
    """Recorder → worker: these are durable (file, ledger line and row). Ids as the messages above say."""

    ids: tuple[str, ...]


class RecorderState(Message, frozen=True):
    """Recorder → worker, at hello and at every change: whether it can store. The worker keeps, and sends again."""

    disk: str


ToRecorder = (
    RecorderHello
    | AnalystHello
    | ImporterHello
    | RunBegan
    | StillTaken
    | IncidentChanged
    | Analysed
    | ClipFragment
    | ClipEnded
    | Watermark
    | StillsDropped
)
ToWorkerFromRecorder = Ack | RecorderState


# ------------------------------------------------- worker ⇄ detector, live channel


class WorkerHello(Message, frozen=True):
    """Worker → detector: `worker` is new for every process; what an earlier one announced is void."""

    worker: str


class DetectorHello(Message, frozen=True):
    """Detector → worker: at its start, and in answer to anything meant for another detector or from nobody known.

    From here on all three buffers are the worker's again. Sent only once the model is warm. The same detector says it
    again after a model change: what it answers from then on is the new model's.
    """

    detector: str
    model: ModelInfo


class FrameWaiting(Message, frozen=True):
    """Worker → detector: a frame lies in `buffer`: BGR24, rows without padding, width × height × 3 bytes.

    Boxes come back in pixels of original_width × original_height. A newer one withdraws an older one that was
    not taken yet. Ignored unless worker and detector name the two that said hello.
    """

    worker: str
    detector: str
    buffer: int
    width_px: int
    height_px: int
    original_width_px: int
    original_height_px: int
    run: str
    pts: int
    input_px: int = 0
    """Longer side of the network's input for this frame; 0: as `detect.input_px`."""


class FrameDone(Message, frozen=True):
    """Detector → worker: `buffer` is the worker's again. outcome: analysed, replaced or failed."""

    worker: str
    detector: str
    buffer: int
    run: str
    pts: int
    outcome: str
    detections: tuple[Detection, ...] = ()
    """At or above detect.floor, strongest first, at most 200."""
    hints: tuple[Box, ...] = ()
    """Where fire may be, too weakly for detect.floor, strongest first, at most 16: only a reason to look there."""


ToDetectorLive = WorkerHello | FrameWaiting
ToWorkerFromDetector = DetectorHello | FrameDone


# ------------------------------------------------------ anyone ⇄ detector, work channel


class WorkRequest(Message, frozen=True):
    """Anyone → detector, with one sealed memfd: BGR24, width × height × 3 bytes.

    `kind`: post, going_back, analyse or patrol. The deadline is on CLOCK_MONOTONIC, which all processes share.
    """

    id: str
    kind: str
    deadline_mono_ns: int
    width_px: int
    height_px: int
    floor: float


class WorkAnswer(Message, frozen=True):
    """Detector → who asked. `outcome`: analysed, overloaded, not_ready or failed; `detail` for the log."""

    id: str
    outcome: str
    detections: tuple[Detection, ...] = ()
    model: ModelInfo | None = None
    inference_ms: float = 0.0
    detail: str = ""


# ---------------------------------------------------------------- supervisor ⇄ children


class Attach(Message, frozen=True):
    """Supervisor → detector, with two descriptors: the live channel's end and its memfd of three buffers."""

    camera: str


class UseModel(Message, frozen=True):
    """Supervisor → detector: load these weights beside those in use, and go over to them once they are warm.

    Answered with `Answer(id)`, whose error says why they are not used; then all goes on as before.
    """

    id: str
    weights: str
    sha256: str


class Detach(Message, frozen=True):
    """Supervisor → detector: the camera is gone."""

    camera: str


class WorkerBeat(Message, frozen=True):
    """Worker → supervisor, once a second from its own loop: silence is what "stuck" means."""

    state: str
    since_mono_ns: int
    condition: str
    detail: str = ""
    packet_mono_ns: int | None = None
    """Arrival of this connection's last packet."""
    watched_at_ns: int | None = None
    width_px: int = 0
    height_px: int = 0
    codec: str = ""
    ring_bytes: int = 0
    ring_s: float = 0.0
    ring_available: bool = True
    unacked_bytes: int = 0
    frames_watched: int = 0
    frames_replaced: int = 0
    reconnects: int = 0
    incident: str = ""
    """State of the most advanced open incident, or empty."""
    confirmed: tuple[str, ...] = ()
    """The incidents that are confirmed and open."""
    frames_analysed: int = 0
    interval_s: float | None = None
    """Longest interval between analysed frames since the last beat."""
    stills_dropped: int = 0
    camera_clock_offset_s: float | None = None
    """Camera's clock (RTCP sender report) minus this host's, of the last frame; None where it sends none."""
    sub_state: str = ""
    """WorkerState of the sub-stream; empty without detect_url."""
    sub_condition: str = ""
    capture: str = ""
    """The incident of the capture that is under way, or empty."""


class DetectorBeat(Message, frozen=True):
    """Detector → supervisor, once a second: loading, ready or failed (then `detail` is the sentence for the log)."""

    state: str
    model: ModelInfo | None = None
    detail: str = ""
    live_images: int = 0
    work_images: int = 0
    work_pending: int = 0
    batch_ms: float = 0.0
    """Median of the last batches."""


class RecorderBeat(Message, frozen=True):
    """Recorder → supervisor, once a second."""

    disk: str
    """A DiskState; "starting" while the store is being opened."""
    detail: str = ""
    oldest_item_s: float = 0.0
    stored: int = 0
    stored_bytes: int = 0
    ledger_seq: int = 0
    ledger_head: str = ""
    free_bytes: int = 0
    reserve_bytes: int = 0
    """Nothing is written below it."""
    clock: str = "ok"
    """ok, or why the trusted clock stands still."""
    open_gaps: dict[str, str] = {}
    """Camera → reason."""
    evidence_stills: int | None = None
    """None while no store is open: nobody has counted."""
    evidence_bytes: int | None = None
    oldest_evidence_at_ns: int | None = None
    retention: str = "ok"
    """ok, or what of storage.retention cannot be kept for want of space."""
    retention_forecast_s: float | None = None
    """For how long evidence can be kept, by what was stored of late; None while less than an hour is known of."""
    purged: dict[str, int] = {}
    """PurgeReason → stills since the recorder started."""
    interrupted: int = 0
    """Confirmed incidents that ended since the recorder started because their worker was gone: nobody may have gone back for them."""


class Command(Message, frozen=True):
    """Whoever may → supervisor → who carries it out; answered by id. docs/seams.md lists the names."""

    id: str
    name: str
    arguments: dict[str, Any] = {}


class Answer(Message, frozen=True):
    """The answer to a command: `error` empty when it was carried out."""

    id: str
    result: dict[str, Any] = {}
    error: str = ""


class Stop(Message, frozen=True):
    """Supervisor → child: finish what is at hand and end."""


class Capture(Message, frozen=True):
    """Supervisor → worker: keep the ring's pictures from `before_s` before now until `after_s` after it as a manual incident.

    The incident's id is the supervisor's, so that whoever asked is told it at once; `every_s` is between two stills.
    """

    incident: str
    reason: str
    before_s: float
    after_s: float
    every_s: float


class SiteBurns(Message, frozen=True):
    """Supervisor → worker, at each change: the incidents on other cameras of its site for which it is to keep its pictures now."""

    incidents: tuple[str, ...]


class CamerasChanged(Message, frozen=True):
    """Supervisor → recorder after a reload: all configured cameras, and the digest of the settings that hold now."""

    enabled: dict[str, bool]
    sha256: str


ToWorker = Capture | SiteBurns | Stop
ToDetector = Attach | Detach | UseModel | Stop
FromDetectorControl = DetectorBeat | Answer
ToRecorderControl = Command | CamerasChanged | Stop
FromRecorderControl = RecorderBeat | Answer
