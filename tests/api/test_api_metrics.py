# SPDX-License-Identifier: AGPL-3.0-or-later
"""/metrics: what the supervisor's status says, in a form that Prometheus' own parser takes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from prometheus_client.parser import text_string_to_metric_families

from daemon import __version__, sockets
from daemon.api import metrics
from tests.api.web_under_test import Site, Web

HALL = {
    "state": "streaming", "condition": "ok", "watched_at_ns": 1_700_000_000_500_000_000, "frames_analysed": 40,
    "frames_watched": 39, "frames_replaced": 2, "interval_s": 1.25, "stills_dropped": 1, "reconnects": 3, "ring_bytes": 22_000_000,
    "ring_s": 58.5, "unacked_bytes": 512, "camera_clock_offset_s": -3600.5, "incident": "confirmed", "restarts": 4,
}  # fmt: skip
STATUS: dict[str, Any] = {
    "version": "1", "ready": True,
    "cameras": {"hall": HALL, "yard": {"state": "starting", "condition": "worker", "restarts": 0}},
    "detector": {"state": "ready", "model": "eleven", "sha256": "ab" * 32, "runtime": "CPU", "input_px": 640, "batch_ms": 12.5,
                 "live_images": 100, "work_images": 7, "work_pending": 5, "restarts": 1},
    "recorder": {"disk": "ok", "stored": 11, "stored_bytes": 4_000_000, "oldest_item_s": 0.25, "free_bytes": 10**11,
                 "reserve_bytes": 10**10, "ledger_seq": 99, "open_gaps": {"yard": "worker"}, "evidence_stills": 1000,
                 "evidence_bytes": 5 * 10**8, "oldest_evidence_at_ns": 1_600_000_000_000_000_000, "retention_s": 2592000.0,
                 "retention_forecast_s": 864000.0, "purged": {"age": 3, "space": 1}, "restarts": 2},
    "web": {"restarts": 0},
}  # fmt: skip


def scraped(web: Web) -> dict[tuple[str, ...], float]:
    """(name, label values in their names' order…) → value, as Prometheus reads it."""
    answer = web.get("/metrics")
    assert (answer.status_code, answer.headers["Content-Type"]) == (200, "text/plain; version=0.0.4; charset=utf-8")
    families = list(text_string_to_metric_families(answer.text))
    assert all(family.documentation for family in families)
    return {(each.name, *each.labels.values()): each.value for family in families for each in family.samples}


def test_each_figure_of_the_status_is_told(make_site: Callable[..., Site]) -> None:
    """Every metric of the table has its samples, and those are the status' own, in base units."""
    site = make_site()
    site.supervisor.status = STATUS
    found = scraped(site.start())
    assert {name for name, *_ in found} == {each.full_name for each in metrics.ALL}
    expected = {
        ("build_info", __version__): 1, ("up",): 1, ("ready",): 1,
        ("cameras", "ok", "streaming"): 1, ("cameras", "worker", "starting"): 1,
        ("camera_watched", "hall"): 1, ("camera_watched", "yard"): 0,
        ("camera_last_watched_timestamp_seconds", "hall"): 1_700_000_000.5, ("camera_frames_analysed_total", "hall"): 40,
        ("camera_frames_watched_total", "hall"): 39, ("camera_frames_replaced_total", "hall"): 2,
        ("camera_interval_seconds", "hall"): 1.25, ("camera_stills_dropped_total", "hall"): 1,
        ("camera_reconnects_total", "hall"): 3, ("camera_ring_bytes", "hall"): 22e6, ("camera_ring_seconds", "hall"): 58.5,
        ("camera_unacknowledged_bytes", "hall"): 512, ("camera_clock_offset_seconds", "hall"): -3600.5,
        ("cameras_with_incident", "confirmed"): 1, ("cameras_with_incident", "suspect"): 0,
        ("gaps_open", "worker"): 1, ("gaps_open", "unreachable"): 0,
        ("detector_images_total", "live"): 100, ("detector_images_total", "work"): 7, ("detector_batch_seconds",): 0.0125,
        ("detector_pending_images",): 5, ("detector_model_info", "640", "eleven", "CPU", "ab" * 32): 1,
        ("recorder_stored_stills_total",): 11, ("recorder_stored_bytes_total",): 4e6, ("recorder_oldest_item_seconds",): 0.25,
        ("recorder_purged_stills_total", "age"): 3, ("ledger_lines_total",): 99, ("evidence_stills",): 1000,
        ("evidence_bytes",): 5e8, ("evidence_oldest_timestamp_seconds",): 1.6e9, ("retention_forecast_seconds",): 864000,
        ("retention_asked_seconds",): 2592000, ("disk", "ok"): 1, ("disk", "full"): 0, ("disk_free_bytes",): 1e11,
        ("disk_reserve_bytes",): 1e10, ("process_restarts_total", "", "recorder"): 2, ("process_restarts_total", "hall", "worker"): 4,
    }  # fmt: skip
    for (name, *labels), value in expected.items():
        assert found[(f"firewitness_{name}", *labels)] == value, name
    assert ("firewitness_camera_frames_analysed_total", "yard") not in found


def test_a_silent_supervisor_is_told_and_nothing_is_invented(make_site: Callable[..., Site]) -> None:
    """Up is 0 and the figures are absent: an old figure would look like a fresh one."""
    site = make_site()
    sockets.control(site.run_dir).unlink()
    assert scraped(site.start()) == {("firewitness_build_info", __version__): 1, ("firewitness_up",): 0}


def test_cameras_names_stay_on_loopback(make_site: Callable[..., Site]) -> None:
    """Served where evidence is served, and under the same names."""
    web = make_site().start()
    assert web.get("/metrics", headers={"Host": "evil.example"}).status_code == 403
    assert web.get("/metrics?name[]=x").status_code == 400


def test_the_page_of_names_is_complete() -> None:
    """docs/metrics.md is what the table says: `python -m daemon.api.metrics > docs/metrics.md`."""
    assert (Path(__file__).parents[2] / "docs" / "metrics.md").read_text(encoding="utf-8") == metrics.page()
