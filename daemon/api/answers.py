# SPDX-License-Identifier: AGPL-3.0-or-later
"""What the API's answers look like, for /api/openapi.json; tests hold true answers against these models.

They describe and do not filter: an answer may have more, since fields are added and never taken away.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field, RootModel

from daemon.domain import (
    AssessmentSays,
    ClipCause,
    ClipClosed,
    EvidenceKind,
    GapReason,
    IncidentKind,
    IncidentState,
    Label,
)

Time = Annotated[str, Field(json_schema_extra={"format": "date-time"})]
Uuid = Annotated[str, Field(json_schema_extra={"format": "uuid"})]
Share = Annotated[float, Field(ge=0, le=1)]


class Problem(BaseModel):
    """RFC 9457; `detail` is one sentence for a person."""

    type: str
    title: str
    status: int
    detail: str


class Looked(BaseModel):
    """How sure the detector is in the whole picture, and where it is shown the place alone."""

    whole: Share
    close: Share


class Detected(BaseModel):
    label: Label
    confidence: Share
    box: Annotated[list[float], Field(min_length=4, max_length=4)]
    looks: Looked | None = None
    """What `confidence` was made of; absent where there is but one look (detect.closer_look)."""
    verified: Share | None = None
    """The verifier's confidence; absent where there is none."""


class Result(BaseModel):
    """What was found in an uploaded picture, in pixels of it as stored."""

    detections: list[Detected]
    rejected: list[Detected] | None = None
    """Of the verifier; absent where there is none."""
    width: int
    height: int
    orientation: Annotated[int, Field(ge=1, le=8)]
    model: str
    elapsed_ms: float


class Envelope(BaseModel):
    """Every answer of /fire_detector; the codes are in docs/error-codes.md."""

    req_id: str | int | float | bool | None
    err_no: int
    err_msg: str
    result: Result | None


class CameraNow(BaseModel):
    name: str
    state: str
    condition: str
    detail: str
    watched_at: Time | None
    first_seen_at: Time | None
    incident: IncidentState | None
    width: int | None
    height: int | None
    codec: str | None
    drill: bool
    camera_clock_offset_s: float | None


class DaemonNow(BaseModel):
    ready: bool
    why: list[str]


class Cameras(BaseModel):
    items: list[CameraNow]
    daemon: DaemonNow


class InClip(BaseModel):
    """Where a clip shows a still's frame."""

    id: Uuid
    video: str
    pts: str
    at_s: float


class FrameInClip(InClip):
    frame: Annotated[int, Field(ge=0)] | None


class Evidence(BaseModel):
    id: Uuid
    camera: str
    captured_at: Time
    uncertainty_s: float | None
    relative_uncertainty_s: float | None
    sha256: str
    bytes: int
    width: int | None
    height: int | None
    reduced_from: Annotated[list[int], Field(min_length=2, max_length=2)] | None
    kind: EvidenceKind
    drill: bool
    times: Literal["measured", "claimed"]
    analysed: bool | None
    detections: list[dict[str, Any]]
    incident: Uuid | None
    image: str
    clip: InClip | None


class EvidenceOne(Evidence):
    clip: FrameInClip | None
    path: str
    missing: bool
    run_seq: int | None
    ledger_seq: int
    record: dict[str, Any]


class GrowingClip(BaseModel):
    """One that is still being written."""

    id: Uuid
    camera: str
    kind: EvidenceKind
    bytes: int
    incidents: list[Uuid]
    sibling_of: list[Uuid]
    run: Uuid
    to_at: Time
    closed: None


class Clip(BaseModel):
    id: Uuid
    camera: str
    captured_at: Time
    to_at: Time
    sha256: str
    bytes: int
    width: int
    height: int
    kind: EvidenceKind
    drill: bool
    incident: Uuid | None
    incidents: list[Uuid]
    sibling_of: list[Uuid]
    missing: bool
    video: str
    frames: int
    first_pts: str
    last_pts: str
    time_base: list[int]
    codec: str
    cause: ClipCause
    closed: ClipClosed
    run: Uuid
    times: Literal["measured", "claimed"]


class ClipOne(Clip):
    path: str
    run_seq: int | None
    ledger_seq: int
    record: dict[str, Any]


class ClipItems(BaseModel):
    items: list[Clip | GrowingClip]


class StillOrClip(RootModel[EvidenceOne | ClipOne]):
    """One evidence: a still, or a clip, which is of kind `clip` or `sibling`."""


class EvidenceItems(BaseModel):
    items: list[Evidence | Clip]
    next: str | None


class Incident(BaseModel):
    id: Uuid
    camera: str
    kind: IncidentKind
    drill: bool
    state: IncidentState
    first_suspect_at: Time
    first_confirmed_at: Time | None
    ended_at: Time | None
    labels: list[str]
    max_confidence: float
    evidence_count: int
    previous: Uuid | None
    place: Annotated[list[float], Field(min_length=4, max_length=4)]
    ignored_zones: list[str]
    reason: str
    assessed: AssessmentSays | None
    """What the newest assessment says."""


class Noted(BaseModel):
    """An assessment as it stands in the ledger."""

    id: Uuid
    incident: Uuid
    says: AssessmentSays
    by: str
    note: str


class Assessment(BaseModel):
    id: Uuid
    at: Time
    says: AssessmentSays
    by: str
    note: str


class IncidentOne(Incident):
    assessments: list[Assessment]


class IncidentItems(BaseModel):
    items: list[Incident]
    next: str | None


class Gap(BaseModel):
    id: Uuid | None
    camera: str
    reason: GapReason
    from_: Annotated[Time, Field(alias="from")]
    to: Time | None
    detail: str


class GapItems(BaseModel):
    items: list[Gap]
    next: str | None


class Covered(BaseModel):
    camera: str
    from_: Annotated[Time, Field(alias="from")]
    to: Time
    watched_share: Share | None
    gaps: list[Gap]
    frames: int | None


class Coverage(BaseModel):
    items: list[Covered]


class Captured(BaseModel):
    captures: list[dict[str, Any]]
    refused: list[dict[str, Any]]


class Thing(BaseModel):
    """An object that docs/formats.md or docs/origin.md describes."""


class Health(BaseModel):
    status: str


class Ready(BaseModel):
    ready: bool
