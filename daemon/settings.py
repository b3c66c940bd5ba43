# SPDX-License-Identifier: AGPL-3.0-or-later
"""What can be configured: frozen pydantic models, one per block of config.yaml; their fields are the reference.

daemon/config_file.py reads the file and turns pydantic's errors into sentences with line numbers. Only the
supervisor sees passwords: children get `for_children()`, workers a plan of their own camera.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

import rfc8785
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    field_validator,
    model_validator,
)
from pydantic_core import PydanticCustomError

from daemon import polygon, shipped
from daemon.domain import DRILL_CAMERA, Label
from daemon.origin.outline import UNNAMED

CAMERA_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}\Z")  # names become folders (design, Names)

_DURATION_UNITS_S = {"ms": 0.001, "s": 1, "min": 60, "h": 3600, "d": 86400}
_SIZE_UNITS_BYTES = {"B": 1, "kB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}


def _scaled(value: object, units: Mapping[str, float], example: str) -> object:
    if not isinstance(value, str):
        return value
    match = re.fullmatch(r"\s*([0-9]+(?:\.[0-9]+)?)\s*([A-Za-z]*)\s*", value)
    if match is None or (match[2] and match[2] not in units):
        raise ValueError(f"write a number with one of the units {', '.join(units)}, such as {example}")
    return float(match[1]) * units.get(match[2], 1)


def _whole(value: object) -> object:
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError("a size must be a finite number of bytes")
    return round(value) if isinstance(value, float) else value


Seconds = Annotated[float, BeforeValidator(lambda value: _scaled(value, _DURATION_UNITS_S, "2 s"))]
"""A duration: a number of seconds, or text such as "500 ms", "2 s", "10 min", "30 d"."""
LARGEST = 2**53 - 1  # of a whole number in canonical JSON, in which the ledger keeps the settings' hash
Bytes = Annotated[
    int, BeforeValidator(lambda value: _whole(_scaled(value, _SIZE_UNITS_BYTES, "64 MB"))), Field(le=LARGEST)
]
"""A size: a number of bytes, or text such as "64 MB", "10 GB"."""


def _no_home(path: Path) -> Path:
    """Only a shell knows whose folder ~ is; a folder of that name would be made beside the settings."""
    if path.parts[:1] == ("~",):
        raise ValueError("~ is no folder here: write the whole path")
    return path


FilePath = Annotated[Path, AfterValidator(_no_home)]
LONGEST_S = 100 * 365 * 86400  # beyond any use, and far below where times overflow
Share = Annotated[float, Field(ge=0.0, le=1.0)]
Point = tuple[Share, Share]


class Block(BaseModel):
    """What all blocks have in common: nothing unknown, nothing changed later."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def _empty_is_default(cls, value: Any) -> Any:
        """A block whose keys are all commented out."""
        return {} if value is None else value


class Thresholds(Block):
    """Confidence from which a detection counts, per class."""

    fire: Share = shipped.FIRE
    smoke: Share = shipped.SMOKE

    def as_dict(self) -> dict[str, float]:
        return {"fire": self.fire, "smoke": self.smoke}


class CameraThresholds(Block):
    """One camera's own thresholds; what is absent is as in detect.thresholds."""

    fire: Share | None = None
    smoke: Share | None = None


def _own_name(value: str) -> str:
    if value.startswith("("):
        raise ValueError("a name must not begin with (: Firewitness marks what it found itself so")
    return value


def _outline(corners: tuple[Point, ...]) -> tuple[Point, ...]:
    if sides := polygon.crossing(corners):
        raise ValueError(f"its sides {sides[0]} and {sides[1]} cross: give the corners in their order around it")
    if polygon.area(corners) < polygon.LEAST_AREA:
        raise ValueError("it has no area: give the corners around it")
    return corners


Polygon = Annotated[tuple[Point, ...], Field(min_length=3, max_length=64), AfterValidator(_outline)]
"""Corners in shares of width and height, in their order around."""


class IgnoreZone(Block):
    """Where fire is meant to be: a burner, a welding place. It marks detections and starts no incident."""

    name: Annotated[str, Field(min_length=1, max_length=60), AfterValidator(_own_name)]
    polygon: Polygon
    labels: Annotated[tuple[Label, ...], Field(min_length=1)] = ("fire", "smoke")


def _no_reserved_name(value: str) -> str:
    if value == UNNAMED:
        raise ValueError(f"{UNNAMED} is what lies in no component: choose another name")
    return value


class ComponentOutline(Block):
    """A part of the plant as the camera sees it; an origin says on which one a fire first appeared."""

    name: Annotated[str, Field(min_length=1, max_length=60), AfterValidator(_no_reserved_name)]
    polygon: Polygon


class Colour(Block):
    """What the stream's YUV is taken as where the stream does not say (design, Colours)."""

    matrix: Literal["auto", "bt601", "bt709"] = "auto"
    range: Literal["auto", "limited", "full"] = "auto"


_RTSP = "write an RTSP address such as rtsp://10.0.0.21/stream1"
_CREDENTIALS = "an address must not hold credentials: give them as the keys username and password or password_file"
_PASSWORD_IN_URL = re.compile(r"[?&/;](?:pass\w*|pwd|token)=[^&/;]", re.IGNORECASE)
_CUT_CREDENTIALS = re.compile(r"\w+://[^/?#@:.\[]+:[^@]*@", re.IGNORECASE)
"""Of a password with / ? or # in it, behind which a parser sees no credentials any more: admin:12/34@10.0.0.21."""


def _rtsp_url(value: str) -> str:
    if value != value.strip():
        raise ValueError("an address begins and ends without spaces")
    if _CUT_CREDENTIALS.match(value) or _PASSWORD_IN_URL.search(value):
        raise ValueError(_CREDENTIALS)
    try:
        parts = urlsplit(value)
    except ValueError:  # its own sentence repeats credentials
        raise ValueError(_RTSP) from None
    if parts.scheme not in {"rtsp", "rtsps"} or not parts.hostname:
        raise ValueError(_RTSP)
    if parts.username is not None or parts.password is not None:
        raise ValueError(_CREDENTIALS)
    try:
        parts.port  # noqa: B018 — the property raises for a port out of range
    except ValueError as error:
        raise ValueError("the port must be between 0 and 65535") from error
    return value


class CameraSettings(Block):
    """One camera."""

    url: Annotated[str, AfterValidator(_rtsp_url)]
    detect_url: Annotated[str, AfterValidator(_rtsp_url)] | None = None
    """A smaller stream of the same camera: detection runs on it, the main stream decides and is kept."""
    transport: Literal["tcp", "udp"] = "tcp"
    username: Annotated[str, Field(min_length=1)] | None = None
    password: SecretStr | None = None
    password_file: FilePath | None = None
    enabled: bool = True
    colour: Colour = Colour()
    thresholds: CameraThresholds = CameraThresholds()
    ignore: tuple[IgnoreZone, ...] = ()
    site: Annotated[str, Field(min_length=1, max_length=60)] | None = None
    """Cameras of one site keep their pictures too while a fire is confirmed on one of them."""
    components: Annotated[tuple[ComponentOutline, ...], Field(max_length=100)] = ()
    components_view: FilePath | None = None
    """The picture that the components were drawn on: when the camera has moved since, none is named."""

    @model_validator(mode="after")
    def _one_password(self) -> CameraSettings:
        if self.password is not None and self.password_file is not None:
            raise ValueError("give password or password_file, not both")
        if self.username is None and (self.password is not None or self.password_file is not None):
            raise ValueError("a password needs a username")
        return self

    @model_validator(mode="after")
    def _components_of_one_view(self) -> CameraSettings:
        names = [each.name for each in self.components]
        if twice := next((name for name in names if names.count(name) > 1), None):
            raise ValueError(f"components: {twice} is drawn twice; each name may stand once")
        if self.components and self.components_view is None:
            raise ValueError(
                "components need components_view: the picture of this camera that they were drawn on, JPEG or PNG"
            )
        return self


class IngestSettings(Block):
    """Reading the streams."""

    open_timeout: Annotated[Seconds, Field(ge=1, le=60)] = 5
    read_timeout: Annotated[Seconds, Field(ge=1, le=8)] = 5
    """A stall shows after twice this, and must do so before the supervisor takes the worker for stuck (20 s)."""
    ring_seconds: Annotated[Seconds, Field(ge=2, le=600)] = 60
    ring_bytes: Annotated[Bytes, Field(ge=1_000_000)] = 64_000_000
    unacked_bytes: Annotated[Bytes, Field(ge=4_000_000)] = 64_000_000


class ConfirmRule(Block):
    """A suspect is confirmed when seen at the same place in m of the last n frames no older than `within`."""

    m: Annotated[int, Field(ge=1, le=100)] = 3
    n: Annotated[int, Field(ge=1, le=100)] = 5
    within: Annotated[Seconds, Field(gt=0, le=600)] = 10

    @model_validator(mode="after")
    def _possible(self) -> ConfirmRule:
        if self.m > self.n:
            raise ValueError(f"m ({self.m}) of n ({self.n}) can never be seen: m must not be more than n")
        return self


class VerifySettings(Block):
    """A second model, which looks at each box of the detector; off without weights."""

    weights: FilePath | None = None
    """ONNX, made by `python -m training verifier`."""
    weights_sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")] | None = None
    """Checked before the file is opened."""
    input_px: Annotated[int, Field(ge=32, le=256, multiple_of=16)] = 64
    """Side of the cut-out as the verifier sees it: what it was trained with."""
    threshold: Share = 0.5
    """Detections of which the verifier is less sure do not count."""


class DetectSettings(Block):
    """The detector and the rules of an incident."""

    weights: FilePath = shipped.WEIGHTS
    weights_sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")] | None = None
    """Checked before the file is opened; the shipped weights' own is known."""
    allow_pickle: bool = False
    device: Literal["auto", "cpu", "cuda"] = "auto"
    input_px: Annotated[int, Field(ge=128, le=1920, multiple_of=32)] = 640
    batch: Annotated[int, Field(ge=1, le=64)] = 8
    floor: Share = 0.10
    """Detections weaker than this are not even reported by the detector."""
    thresholds: Thresholds = Thresholds()
    closer_look: bool = True
    """Whether each detection is looked at once more, cut out and enlarged (docs/detector.md, The closer look)."""
    verify: VerifySettings = VerifySettings()
    max_interval: Annotated[Seconds, Field(ge=0.2, le=60)] = 2
    interval: Annotated[Seconds, Field(ge=0.1, le=60)] = 0.5
    """Between looks at a sub-stream (`detect_url`)."""
    sub_stream_px: Annotated[int, Field(ge=128, le=1920, multiple_of=32)] | None = None
    """Longer side of a sub-stream's picture as the detector sees it; None: as input_px."""
    patrol: Annotated[Seconds, Field(ge=0, le=LONGEST_S)] = 30
    """At most this often a main picture is searched in tiles of its full resolution; 0: never."""
    active_fps: Annotated[float, Field(gt=0, le=60)] = 5
    confirm: ConfirmRule = ConfirmRule()
    unconfirmed_after: Annotated[Seconds, Field(gt=0, le=3600)] = 10
    """A suspect without another sighting for this long was none."""
    ended_after: Annotated[Seconds, Field(gt=0, le=3600)] = 30
    """A confirmed incident without another sighting for this long has ended."""
    flicker: bool = True
    """Whether a suspect's frames at the full rate weigh into its confirmation (docs/time-as-evidence.md)."""

    @model_validator(mode="after")
    def _floor_below_thresholds(self) -> DetectSettings:
        least = min(self.thresholds.fire, self.thresholds.smoke)
        if self.floor > least:
            raise ValueError(
                f"floor ({self.floor:g}) is above a threshold ({least:g}), which could then never be reached"
            )
        return self


class ThinningStep(Block):
    """From `after` on since the first suspicion, one still every `every`."""

    after: Annotated[Seconds, Field(ge=0, le=LONGEST_S)]
    every: Annotated[Seconds, Field(gt=0, le=LONGEST_S)]


class StorageSettings(Block):
    """The disk."""

    root: FilePath = Path("var/store")
    state_dir: FilePath | None = None
    runtime_dir: FilePath | None = None
    retention: Annotated[Seconds, Field(ge=3600, le=LONGEST_S)] = 30 * 86400
    reserve: Annotated[Bytes, Field(ge=0)] | None = None
    """Free bytes below which nothing is written; None: 5 % of the disk or 10 GB, the smaller."""
    suspect_bytes_per_hour: Annotated[Bytes, Field(ge=1_000_000)] = 50_000_000
    reference_interval: Annotated[Seconds, Field(ge=0, le=LONGEST_S)] = 60
    """Between small stills kept whatever the detector says; 0: none."""
    reference_retention: Annotated[Seconds, Field(ge=3600, le=LONGEST_S)] = 3 * 86400
    reference_bytes: Annotated[Bytes, Field(ge=0)] = 20 * 10**9
    """All cameras' reference stills together; each camera has an equal share."""
    sibling_bytes: Annotated[Bytes, Field(ge=0)] = 50 * 10**9
    """All that cameras keep for incidents on other cameras of their site together; each has an equal share."""
    thinning: tuple[ThinningStep, ...] = (
        ThinningStep(after=30, every=1),
        ThinningStep(after=300, every=10),
        ThinningStep(after=3600, every=60),
    )

    @field_validator("thinning")
    @classmethod
    def _in_order(cls, steps: tuple[ThinningStep, ...]) -> tuple[ThinningStep, ...]:
        if list(steps) != sorted(steps, key=lambda step: step.after):
            raise ValueError("the steps must be in order of after")
        return steps


class IncidentSettings(Block):
    """What is kept of a confirmed incident besides stills."""

    clip_max: Annotated[Seconds, Field(ge=10, le=86400)] = 600
    """Of full stream in a clip since an incident was last confirmed; then key frames only."""


LARGEST_PICTURES, LARGEST_BODIES = 8, 16
"""So many of api.max_pixels and of twice api.max_upload (base64 and its surroundings) may be in memory at once."""


def _host(host: str) -> str:
    """Raises ValueError for what no resolver can even be asked: getaddrinfo would answer with a UnicodeError."""
    try:
        known = bool(host.encode("idna"))
    except UnicodeError:
        known = False
    if not known:
        raise ValueError(f"{host!r} is neither an address nor a host's name, such as 127.0.0.1")
    return host


class ApiSettings(Block):
    """HTTP."""

    host: Annotated[str, AfterValidator(_host)] = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65535)] = 2222
    threads: Annotated[int, Field(ge=1, le=1000)] = 160
    """Requests under way at once, most of which wait: who is refused has to be heard first."""
    image_roots: tuple[FilePath, ...] = ()
    max_upload: Annotated[Bytes, Field(ge=1000)] = 20_000_000
    max_pixels: Annotated[int, Field(ge=1024, le=LARGEST)] = 50_000_000
    max_decoding: Annotated[int, Field(ge=1, le=256)] = 32
    """Pictures that are decoded or looked at at the same time: of the largest eight, of smaller ones so many."""
    deadline: Annotated[Seconds, Field(gt=0, le=300)] = 10
    """A picture that cannot be answered within this is refused at once."""


def _at_camera(inside: tuple[str, ...], sentence: str) -> PydanticCustomError:
    """A mistake whose place pydantic does not know: `inside` is where below what it knows; config_file.py joins them."""
    return PydanticCustomError("camera", "{sentence}", {"sentence": sentence, "inside": inside})


class Settings(Block):
    """The whole of config.yaml."""

    cameras: dict[str, CameraSettings] = {}
    ingest: IngestSettings = IngestSettings()
    detect: DetectSettings = DetectSettings()
    incident: IncidentSettings = IncidentSettings()
    storage: StorageSettings = StorageSettings()
    api: ApiSettings = ApiSettings()

    @field_validator("cameras", mode="before")
    @classmethod
    def _none_is_empty(cls, value: Any) -> Any:
        return {} if value is None else value

    @field_validator("cameras")
    @classmethod
    def _names(cls, cameras: dict[str, CameraSettings]) -> dict[str, CameraSettings]:
        for name in cameras:
            if not CAMERA_NAME.match(name):
                raise _at_camera(
                    (name,),
                    "no name for a camera: allowed are a-z, 0-9, - and _, at most 63, not beginning with - or _",
                )
            if name == DRILL_CAMERA:
                raise _at_camera(
                    (name,), f"{DRILL_CAMERA} is the name of the camera of `firewitness drill`: choose another"
                )
        seen: dict[str, str] = {}
        for name, camera in cameras.items():
            if camera.detect_url == camera.url:
                raise _at_camera((name, "detect_url"), "the same as url: without a smaller stream leave it out")
            if (other := seen.setdefault(camera.url, name)) != name:
                raise _at_camera((name, "url"), f"the same url as that of {other}: each camera is named once")
        return cameras

    @model_validator(mode="after")
    def _floor_below_cameras_thresholds(self) -> Settings:
        floor = self.detect.floor
        for name, camera in self.cameras.items():
            for label, threshold in camera.thresholds:
                if threshold is not None and threshold < floor:
                    raise _at_camera(
                        ("cameras", name, "thresholds", label),
                        f"{threshold:g} is below detect.floor ({floor:g}), and could never be reached",
                    )
        return self

    def sha256(self) -> str:
        """Of these settings as canonical JSON (RFC 8785), secrets out: what the ledger keeps of them."""
        return hashlib.sha256(rfc8785.dumps(json.loads(self.for_children()))).hexdigest()

    def for_children(self) -> str:
        """JSON of all settings without secrets, for processes that need no camera's password."""
        return self.model_dump_json(exclude={"cameras": {"__all__": {"username", "password", "password_file"}}})
