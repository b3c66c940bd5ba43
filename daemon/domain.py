# SPDX-License-Identifier: AGPL-3.0-or-later
"""The words of the domain as frozen values; it imports nothing of ours and every folder speaks in it.

Units stand in names: `_ns` nanoseconds, `_s` seconds, `_px` pixels, `_bytes`. Times named `*_at_ns` are
UTC nanoseconds since 1970; times named `*_mono_ns` are this host's CLOCK_MONOTONIC, which all processes of
one boot share. Boxes are (x1, y1, x2, y2) in pixels of the picture as stored, x2 and y2 exclusive.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Box = tuple[float, float, float, float]

Label = Literal["fire", "smoke"]
LABELS: tuple[Label, ...] = ("fire", "smoke")

EvidenceKind = Literal[
    "first_suspect",
    "first_confirmed",
    "hit",
    "context",
    "manual",
    "sibling",
    "reference",
    "last_clean",
    "first_visible",
    "clip",
]
REFERENCE: EvidenceKind = "reference"
SIBLING: EvidenceKind = "sibling"
ClipCause = Literal["confirmed", "sibling", "run", "hole", "recorder", "imported"]
"""Why a clip began: an incident was confirmed, on its camera or on another one of the site; a new run; packets in between were
lost; the recorder was away; it is a file that came from elsewhere."""
ClipClosed = Literal["ended", "run", "hole", "incident", "stop", "worker", "recovery", "imported"]
"""Why it ended: its incidents had; a new run; packets were lost; it had key frames only when another incident was
confirmed; the daemon stopped; its worker or the connection to it went away; recovery found it; the imported file is whole."""
IncidentKind = Literal["detected", "manual", "imported"]
"""manual: somebody asked for it (`Incident.reason`); the detector had no part in its states. imported: a recording that came
from elsewhere, and what the detector saw in it; its times are claimed, not measured."""
IMPORTED = "imported"
IncidentState = Literal["suspect", "confirmed", "ended", "interrupted", "unconfirmed"]
OPEN_STATES: tuple[IncidentState, ...] = ("suspect", "confirmed")

AssessmentSays = Literal["fire", "false_alarm", "unclear"]
ASSESSMENTS: tuple[AssessmentSays, ...] = ("fire", "false_alarm", "unclear")
"""What a person makes of an incident. fire: fire or smoke it was."""

GapReason = Literal[
    "unreachable", "refused", "stalled", "no_picture", "frozen", "decode", "detector", "overload",
    "worker", "recorder", "daemon", "disk", "clock", "disabled",
]  # fmt: skip
SILENT: tuple[GapReason, ...] = ("unreachable", "refused", "stalled")
"""The camera sends nothing."""

WorkerState = Literal["connecting", "waiting", "streaming"]
DiskState = Literal["ok", "full", "read_only", "wrong", "gone", "damaged"]
Damage = Literal["no", "yes", "not_known"]
PurgeReason = Literal["age", "space", "drill", "operator"]

DRILL_CAMERA = "drill"
"""The name of the test button's temporary camera; no configured camera can have it."""
MAX_DETECTIONS = 200  # of one record: it has to fit one XMP packet (design, Ledger)


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the verifier made of a detection: how sure it is that the box shows what the detector says."""

    confidence: float
    passed: bool


@dataclass(frozen=True, slots=True)
class Looks:
    """How sure the detector was of a detection in the whole picture, and then close to it (`detect.closer_look`)."""

    whole: float
    close: float
    """0: it saw nothing of the kind there."""


@dataclass(frozen=True, slots=True)
class Detection:
    """One fire or smoke in one picture.

    `zone` names the ignore zone its centre lies in: it marks, it does not hide. So does `verdict`, which is None where
    there is no verifier. `looks` has what `confidence` was made of; None where there was but one look.
    """

    label: str
    confidence: float
    box: Box
    zone: str | None = None
    verdict: Verdict | None = None
    looks: Looks | None = None

    @property
    def rejected(self) -> bool:
        """Whether the verifier says that it is none: it does not count, however sure the detector is."""
        return self.verdict is not None and not self.verdict.passed


@dataclass(frozen=True, slots=True)
class VerifierInfo:
    """Which weights verified, and how."""

    sha256: str
    name: str
    input_px: int
    threshold: float


FlickerSays = Literal["flickers", "open", "waits", "held"]
"""What time says of a suspect: it flickers as flames do; nothing that decides; nothing yet, and its confirmation waits for
it; it only stands or blinks there, and is not confirmed while it does."""


@dataclass(frozen=True, slots=True)
class Flicker:
    """What the frames of some seconds say of a suspect's place (docs/time-as-evidence.md has the figures' meaning)."""

    says: FlickerSays
    reasons: tuple[str, ...] = ()
    frames: int = 0
    seconds: float = 0.0
    stir: float = 0.0
    restless: float = 0.0
    crossings_hz: float = 0.0
    growth: float = 1.0
    as_before: float | None = None
    """Correlation with how the place looked minutes before; None where that is not known."""


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """Which weights looked, and how: goes into every record, so that a finding can be repeated."""

    sha256: str
    name: str
    runtime: str
    input_px: int
    labels: tuple[str, ...] = LABELS
    verifier: VerifierInfo | None = None
    card_sha256: str | None = None
    """Of the model card that lay beside the weights."""


@dataclass(frozen=True, slots=True)
class Run:
    """An unbroken stretch of one camera's stream; all order inside it is by PTS."""

    id: str
    camera: str
    started_at_ns: int
    started_mono_ns: int
    time_base: tuple[int, int]
    codec: str
    width_px: int
    height_px: int
    cause: str
    """Why a new run began: connected, parameters, pts, drift or clock."""


@dataclass(frozen=True, slots=True)
class FrameTime:
    """When a frame was seen; the design, Frame times, says how each figure is made."""

    captured_at_ns: int
    uncertainty_s: float
    """Against UTC: relative uncertainty + the kernel's maxerror."""
    relative_uncertainty_s: float
    """On this host's monotonic clock: orders cameras of one host among each other."""
    clock_synchronised: bool
    settling: bool
    camera_clock_ns: int | None = None
    """The camera's own wall clock of this frame (RTCP sender report); recorded, never used for order."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """The record of one still: all that is needed to repeat the finding. Stored as JSON in the file's XMP."""

    id: str
    camera: str
    kind: str
    run: str
    pts: int
    time_base: tuple[int, int]
    time: FrameTime
    width_px: int
    height_px: int
    detections: tuple[Detection, ...]
    incident: str | None
    model: ModelInfo | None
    """None: nobody has looked at it, so that it has no detections means nothing."""
    thresholds: dict[str, float]
    """Empty where nobody has looked."""
    damage: str
    colour: tuple[str, str]
    """Matrix and range the stream's YUV was taken as, such as ("bt709", "limited")."""
    version: str
    detections_omitted: int = 0
    drill: bool = False
    reduced_from_px: tuple[int, int] | None = None
    """Width and height of the camera's frame where the picture is a smaller one of it. Boxes are in pixels of the picture."""
    times: str = "measured"
    """Or claimed: of a frame of an imported recording."""
    flicker: Flicker | None = None
    """What time said of the incident's place when the frame was analysed; None where it was not asked."""


@dataclass(frozen=True, slots=True)
class Clip:
    """One clip: a stretch of one run's own bitstream. Stored as JSON in the file's beginning."""

    id: str
    camera: str
    run: str
    time_base: tuple[int, int]
    codec: str
    width_px: int
    height_px: int
    first_dts: int
    """The file's time 0: a frame's time in the file is its PTS less this."""
    cause: str
    version: str
    drill: bool = False
    container: str = "mp4"
    """The file's ending; of an imported one what it holds."""


@dataclass(frozen=True, slots=True)
class Incident:
    """One incident as its camera's worker knows it; the recorder adds `previous` and counts."""

    id: str
    camera: str
    state: str
    first_suspect_at_ns: int
    first_confirmed_at_ns: int | None
    ended_at_ns: int | None
    labels: tuple[str, ...]
    max_confidence: float
    place: Box
    """Where it was last seen, in normalised coordinates 0..1, so that a changed resolution keeps it."""
    previous: str | None = None
    kind: str = "detected"
    drill: bool = False
    ignored_zones: tuple[str, ...] = ()
    """Ignore zones that had detections while it ran."""
    reason: str = ""
    """Of a manual one: why somebody asked for it, in their words; of an imported one the file's name; of a detected one what
    time said where it decided, such as "held: steady"."""


@dataclass(frozen=True, slots=True)
class Gap:
    """An interval in which a camera was not watched; open while `to_at_ns` is None."""

    id: str
    camera: str
    reason: str
    from_at_ns: int
    to_at_ns: int | None
    detail: str = ""
