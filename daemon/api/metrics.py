# SPDX-License-Identifier: AGPL-3.0-or-later
"""/metrics for Prometheus: the supervisor's `status` in its words; no second account of anything is kept here.

`python -m daemon.api.metrics > docs/metrics.md` makes the page of names; a test fails when it is stale.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Literal, get_args

from flask import Blueprint, Response, request
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from prometheus_client.registry import Collector

from daemon import __version__
from daemon.api.live import LiveStatus
from daemon.api.parameters import NoParameters, parse
from daemon.clock import NS
from daemon.domain import OPEN_STATES, DiskState, GapReason

Status = dict[str, Any]
Sample = tuple[tuple[str, ...], float | int | None]


@dataclass(frozen=True, slots=True)
class Named:
    """One metric: its name without prefix, and its samples (label values, value) by the status; None is not told."""

    name: str
    kind: Literal["gauge", "counter"]
    help: str
    samples: Callable[[Status], Iterable[Sample]]
    labels: tuple[str, ...] = ()

    @property
    def full_name(self) -> str:
        return f"firewitness_{self.name}" + ("_total" if self.kind == "counter" else "")

    def family(self, status: Status) -> Any:
        kind = GaugeMetricFamily if self.kind == "gauge" else CounterMetricFamily
        family: Any = kind(f"firewitness_{self.name}", self.help, labels=self.labels)
        for labels, value in self.samples(status):
            if value is not None:
                family.add_metric(list(labels), value)
        return family


def _of(part: str, key: str, scale: float = 1) -> Callable[[Status], Iterator[Sample]]:
    """A figure of a part of the status."""

    def samples(status: Status) -> Iterator[Sample]:
        value = status.get(part, {}).get(key)
        yield (), value * scale if value is not None else None

    return samples


def _part(status: Status, name: str) -> Status:
    """A part that this supervisor may not know: it can be another version's while an update is under way."""
    found: Status = status.get(name, {})
    return found


def _of_cameras(value: Callable[[Status], float | int | None]) -> Callable[[Status], Iterator[Sample]]:
    """A figure of each camera."""
    return lambda status: (((name,), value(camera)) for name, camera in status.get("cameras", {}).items())


def _camera(name: str, kind: Literal["gauge", "counter"], key: str, help: str, scale: float = 1) -> Named:
    def value(camera: Status) -> float | int | None:
        found = camera.get(key)
        return found * scale if found is not None else None

    return Named(f"camera_{name}", kind, help, _of_cameras(value), ("camera",))


def _is_watched(camera: Status) -> int:
    return int(camera["state"] == "streaming" and camera["condition"] == "ok")


def _counted(status: Status) -> Iterator[Sample]:
    return iter(Counter((each["state"], each["condition"]) for each in status.get("cameras", {}).values()).items())


def _open_gaps(status: Status) -> Iterator[Sample]:
    if status:
        found = Counter(_part(status, "recorder").get("open_gaps", {}).values())
        yield from (((reason,), found[reason]) for reason in get_args(GapReason))


def _incidents(status: Status) -> Iterator[Sample]:
    if status:
        found = Counter(camera.get("incident") for camera in _part(status, "cameras").values())
        yield from (((state,), found[state]) for state in OPEN_STATES)


def _disk(status: Status) -> Iterator[Sample]:
    if status:
        state = _part(status, "recorder").get("disk")
        yield from (((each,), int(state == each)) for each in ("starting", "silent", *get_args(DiskState)))


def _images(status: Status) -> Iterator[Sample]:
    if status:
        yield from (((channel,), _part(status, "detector").get(f"{channel}_images")) for channel in ("live", "work"))


def _restarts(status: Status) -> Iterator[Sample]:
    if status:
        yield from (((name, ""), _part(status, name).get("restarts")) for name in ("recorder", "detector", "web"))
        yield from ((("worker", name), camera.get("restarts")) for name, camera in _part(status, "cameras").items())


def _model(status: Status) -> Iterator[Sample]:
    detector = status.get("detector", {})
    if detector.get("model"):
        yield (detector["model"], detector["sha256"], detector["runtime"], str(detector["input_px"])), 1


ALL = (
    Named("build_info", "gauge", "The Firewitness that answers.", lambda _: [((__version__,), 1)], ("version",)),
    Named("up", "gauge", "1 while the supervisor answers; without it nothing below is told.", lambda status: [((), int(bool(status)))]),
    Named("ready", "gauge", "1 while what is seen is analysed and stored, as /readyz says.",
          lambda status: [((), int(status["ready"]) if status else None)]),
    Named("process_restarts", "counter", "Starts of a process after an end that nobody asked for.", _restarts, ("process", "camera")),
    Named("cameras", "gauge", "Cameras by state and condition (docs/api.md); only pairs that occur.", _counted, ("state", "condition")),
    Named("camera_watched", "gauge", "1 while the camera streams in good condition.", _of_cameras(_is_watched), ("camera",)),
    _camera("last_watched_timestamp_seconds", "gauge", "watched_at_ns", "When the last watched frame was taken, since 1970.", 1 / NS),
    _camera("frames_analysed", "counter", "frames_analysed", "Frames that the detector has looked at, since the worker's start."),
    _camera("frames_watched", "counter", "frames_watched", "Frames analysed, healthy and storable, since the worker's start."),
    _camera("frames_replaced", "counter", "frames_replaced", "Frames that a newer one replaced before the detector took them."),
    _camera("interval_seconds", "gauge", "interval_s", "Longest time between two analysed frames, as last told; aim: detect.max_interval."),
    _camera("stills_dropped", "counter", "stills_dropped", "Stills that the recorder could not take in time."),
    _camera("reconnects", "counter", "reconnects", "Connections after the first, since the worker's start."),
    _camera("ring_bytes", "gauge", "ring_bytes", "Packets in memory."),
    _camera("ring_seconds", "gauge", "ring_s", "How far back they reach."),
    _camera("unacknowledged_bytes", "gauge", "unacked_bytes", "Records that are not known to be durable yet."),
    _camera("clock_offset_seconds", "gauge", "camera_clock_offset_s", "The camera's own clock minus this host's, where it tells it."),
    Named("cameras_with_incident", "gauge", "Cameras by the state of their most advanced open incident.", _incidents, ("state",)),
    Named("gaps_open", "gauge", "Cameras not watched now, by reason.", _open_gaps, ("reason",)),
    Named("detector_images", "counter", "Pictures computed since the detector's start, by channel.", _images, ("channel",)),
    Named("detector_batch_seconds", "gauge", "Median time for a batch, of the last 32.", _of("detector", "batch_ms", 1e-3)),
    Named("detector_pending_images", "gauge", "Pictures of the work channel, waiting or being computed.", _of("detector", "work_pending")),
    Named("detector_model_info", "gauge", "The model that looks.", _model, ("model", "sha256", "runtime", "input_px")),
    Named("recorder_stored_stills", "counter", "Stills made durable since the recorder's start.", _of("recorder", "stored")),
    Named("recorder_stored_bytes", "counter", "Their bytes.", _of("recorder", "stored_bytes")),
    Named("recorder_oldest_item_seconds", "gauge", "Longest time from a record's arrival to its acknowledgement, of the last second.",
          _of("recorder", "oldest_item_s")),
    Named("recorder_purged_stills", "counter", "Stills removed since the recorder's start, by reason.",
          lambda status: [((reason,), count) for reason, count in status.get("recorder", {}).get("purged", {}).items()], ("reason",)),
    Named("ledger_lines", "counter", "Lines of the ledger, all time.", _of("recorder", "ledger_seq")),
    Named("evidence_stills", "gauge", "Stills kept.", _of("recorder", "evidence_stills")),
    Named("evidence_bytes", "gauge", "Their bytes.", _of("recorder", "evidence_bytes")),
    Named("evidence_oldest_timestamp_seconds", "gauge", "When the oldest of them was taken, since 1970.",
          _of("recorder", "oldest_evidence_at_ns", 1 / NS)),
    Named("retention_forecast_seconds", "gauge", "For how long evidence can be kept, by what was stored of late.",
          _of("recorder", "retention_forecast_s")),
    Named("retention_asked_seconds", "gauge", "storage.retention.", _of("recorder", "retention_s")),
    Named("disk", "gauge", "1 for the state of the disk now.", _disk, ("state",)),
    Named("disk_free_bytes", "gauge", "Free on the disk of the store.", _of("recorder", "free_bytes")),
    Named("disk_reserve_bytes", "gauge", "Nothing is written below it.", _of("recorder", "reserve_bytes")),
)  # fmt: skip


class _OfNow(Collector):
    """Asks anew for each scrape; LiveStatus bounds how often that is passed on."""

    def __init__(self, live: LiveStatus) -> None:
        self._live = live

    def collect(self) -> Iterator[Metric]:
        status = self._live.now().status
        for metric in ALL:
            yield metric.family(status)


def blueprint(live: LiveStatus) -> Blueprint:
    """Guarded like evidence: cameras' names tell of a site."""
    metrics = Blueprint("metrics", __name__)
    registry = CollectorRegistry()
    registry.register(_OfNow(live))

    @metrics.get("/metrics")
    def scrape() -> Response:
        parse(NoParameters, request.args)
        answer = Response(generate_latest(registry), content_type=CONTENT_TYPE_PLAIN_0_0_4)
        answer.headers["Cache-Control"] = "no-store"
        return answer

    return metrics


_HEAD = """\
# Metrics

<!-- Made from daemon/api/metrics.py by `python -m daemon.api.metrics > docs/metrics.md`; do not edit. -->

`GET /metrics` on the API's port, in Prometheus' text format. It holds no secret, but cameras' names: it is served where
evidence is served, on loopback ([decision 0004](decisions/0004-evidence-on-loopback.md)). A Prometheus of another host reaches it
through an agent or a tunnel on this one:

    scrape_configs:
      - job_name: firewitness
        static_configs: [{targets: ["127.0.0.1:2222"]}]

Worth an alert: `firewitness_up == 0`, `firewitness_ready == 0`, `firewitness_camera_watched == 0` for a minute,
`firewitness_disk{state="ok"} == 0`, `firewitness_retention_forecast_seconds < firewitness_retention_asked_seconds`,
`increase(firewitness_process_restarts_total[1h]) > 3`.

| name | type | labels | meaning |
| --- | --- | --- | --- |
"""


def page() -> str:
    """docs/metrics.md."""
    rows = (f"| `{each.full_name}` | {each.kind} | {', '.join(each.labels)} | {each.help} |\n" for each in ALL)
    return _HEAD + "".join(rows)


if __name__ == "__main__":
    sys.stdout.write(page())
