# SPDX-License-Identifier: AGPL-3.0-or-later
"""Makes a worker's plan from the settings; for the supervisor, which alone knows them and the passwords."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from daemon import __version__
from daemon.detect.rules import Zone
from daemon.ingest.plan import Credentials, ThinningPlan, WorkerPlan
from daemon.origin.outline import Outline

if TYPE_CHECKING:
    from daemon.settings import Settings


class Sockets(NamedTuple):
    """Where a worker finds those it talks to by itself."""

    recorder: Path
    work: Path


def plan_for(
    settings: Settings,
    name: str,
    password: str | None,
    sockets: Sockets,
    *,
    drill: bool = False,
    no_password: str = "",
) -> WorkerPlan:
    """The plan of the camera called `name`.

    `password` is what its password or password_file says, `no_password` why it cannot be read.
    """
    camera, detect, ingest = settings.cameras[name], settings.detect, settings.ingest
    own = {label: value for label, value in camera.thresholds.model_dump().items() if value is not None}
    return WorkerPlan(
        camera=name,
        url=camera.url,
        credentials=Credentials(camera.username, password or "") if camera.username is not None else None,
        no_password=no_password,
        version=__version__,
        recorder_socket=str(sockets.recorder),
        work_socket=str(sockets.work),
        transport=camera.transport,
        detect_url=camera.detect_url,
        drill=drill,
        open_timeout_s=ingest.open_timeout,
        read_timeout_s=ingest.read_timeout,
        ring_s=ingest.ring_seconds,
        ring_bytes=ingest.ring_bytes,
        unacked_bytes=ingest.unacked_bytes,
        input_px=detect.input_px,
        floor=detect.floor,
        max_interval_s=detect.max_interval,
        interval_s=detect.interval,
        sub_stream_px=detect.sub_stream_px or detect.input_px,
        patrol_s=detect.patrol,
        reference_s=settings.storage.reference_interval,
        active_fps=detect.active_fps,
        thresholds={**detect.thresholds.as_dict(), **own},
        m=detect.confirm.m,
        n=detect.confirm.n,
        within_s=detect.confirm.within,
        unconfirmed_after_s=detect.unconfirmed_after,
        ended_after_s=detect.ended_after,
        flicker=detect.flicker,
        zones=tuple(Zone(zone.name, zone.polygon, zone.labels) for zone in camera.ignore),
        components=tuple(Outline(each.name, each.polygon) for each in camera.components),
        components_view=str(camera.components_view or ""),
        matrix=camera.colour.matrix,
        colour_range=camera.colour.range,
        thinning=tuple(ThinningPlan(step.after, step.every) for step in settings.storage.thinning),
        suspect_bytes_per_hour=settings.storage.suspect_bytes_per_hour,
        clip_max_s=settings.incident.clip_max,
    )
