# SPDX-License-Identifier: AGPL-3.0-or-later
"""Everything that one camera's worker has to know, and the messages by which the forkserver is asked to start it.

A plan travels over a socket, never on a command line or in an environment: it can hold a password. Units stand in
the names; what the figures mean is told where they are configured (daemon/settings.py).
"""

from __future__ import annotations

import msgspec

from daemon.detect.rules import RuleSettings, Zone
from daemon.messages import Message
from daemon.origin.outline import Outline


class Credentials(msgspec.Struct, frozen=True):
    """What the camera asks for; never in a log, so its own text says nothing."""

    username: str
    password: str

    def __repr__(self) -> str:
        return "Credentials(…)"

    __str__ = __repr__


class ThinningPlan(msgspec.Struct, frozen=True):
    """From `after_s` on since the first suspicion, one still every `every_s`."""

    after_s: float
    every_s: float


class WorkerPlan(msgspec.Struct, frozen=True, kw_only=True):
    """One camera's worker; `daemon.ingest.planning.plan_for` makes it from the settings."""

    camera: str
    url: str
    """Without credentials."""
    credentials: Credentials | None = None
    no_password: str = ""
    """Why its password cannot be read: it is not asked without (docs/decisions/0010)."""
    version: str
    recorder_socket: str
    work_socket: str = ""
    """The detector's work channel, for the patrol."""
    transport: str = "tcp"
    detect_url: str | None = None
    """Sub-stream on which detection runs; its hits only raise suspicion. Credentials as for `url`."""
    drill: bool = False
    """Marks every record: the test button's camera."""

    open_timeout_s: float = 5.0
    read_timeout_s: float = 5.0
    ring_s: float = 60.0
    ring_bytes: int = 64_000_000
    unacked_bytes: int = 64_000_000

    input_px: int = 640
    floor: float = 0.1
    """Weaker detections are not reported: neither to the patrol nor to going back."""
    max_interval_s: float = 2.0
    interval_s: float = 0.5
    """Between analysed frames of the sub-stream."""
    sub_stream_px: int = 640
    patrol_s: float = 30.0
    """Least time between two rounds of the patrol; 0: none."""
    reference_s: float = 60.0
    """Between reference stills; 0: none."""
    active_fps: float = 5.0
    thresholds: dict[str, float]
    m: int = 3
    n: int = 5
    within_s: float = 10.0
    unconfirmed_after_s: float = 10.0
    ended_after_s: float = 30.0
    flicker: bool = True
    """Whether time is asked before a suspect is confirmed (docs/time-as-evidence.md)."""
    zones: tuple[Zone, ...] = ()
    components: tuple[Outline, ...] = ()
    components_view: str = ""
    """File with the picture that they were drawn on."""

    matrix: str = "auto"
    colour_range: str = "auto"

    thinning: tuple[ThinningPlan, ...] = (ThinningPlan(30, 1), ThinningPlan(300, 10), ThinningPlan(3600, 60))
    suspect_bytes_per_hour: int = 50_000_000
    clip_max_s: float = 600.0
    """Of full stream in a clip since an incident was last confirmed; then key frames only."""
    clip_after_s: float = 30.0
    """How long a clip goes on after its last incident has ended."""
    sibling_s: float = 60.0
    """Of full stream, and at least, in a clip after an incident was confirmed on another camera of the site."""

    @property
    def rules(self) -> RuleSettings:
        """What the rules go by."""
        return RuleSettings(
            thresholds=self.thresholds,
            m=self.m,
            n=self.n,
            within_s=self.within_s,
            unconfirmed_after_s=self.unconfirmed_after_s,
            ended_after_s=self.ended_after_s,
            zones=self.zones,
        )


class Fork(Message, frozen=True):
    """Supervisor → forkserver, with four descriptors: lifeline, control, live channel's end, its memfd."""

    plan: WorkerPlan


class Forked(Message, frozen=True):
    """Forkserver → supervisor, with one descriptor: the pidfd of the new worker."""

    camera: str
    pid: int
