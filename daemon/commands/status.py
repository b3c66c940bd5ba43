# SPDX-License-Identifier: AGPL-3.0-or-later
"""`firewitness status`: how the running daemon is, for a person."""

from __future__ import annotations

import argparse
from typing import Any

from daemon import sockets
from daemon.clock import rfc3339
from daemon.commands import settings as settings_of
from daemon.config_file import runtime_dir
from daemon.control import Control

CLOCK_WORTH_SAYING_S = 1.0


def run(options: argparse.Namespace) -> int:
    """0 when it is ready, 1 when it runs and is not."""
    settings = settings_of.of(options.config)
    status = Control(sockets.control(runtime_dir(settings.storage))).ask("status")
    for name, camera in status["cameras"].items():
        condition = "" if camera["condition"] == "ok" else f", {camera['condition']}"
        detail = f" ({camera['detail']})" if camera.get("detail") else ""
        incident = f", {camera['incident']}" if camera.get("incident") else ""
        capture = ", capturing" if camera.get("capture") else ""
        drill = " (drill)" if camera.get("drill") else ""
        clock = _clock(camera.get("camera_clock_offset_s"))
        print(f"camera    {name}{drill}: {camera['state']}{condition}{detail}{incident}{capture}{clock}")
    detector, recorder = status["detector"], status["recorder"]
    model = f", {detector['model']} on {detector['runtime']}" if detector["model"] else ""
    print(f"detector  {detector['state']}{model}{_why(detector, detector['state'] == 'ready')}")
    print(
        f"recorder  disk {recorder['disk']}, purge clock {recorder['clock']}, {recorder['stored']} stills since its start"
        f"{_why(recorder, recorder['disk'] == 'ok')}"
    )
    print(f"evidence  {_evidence(recorder)}")
    print("ready" if status["ready"] else "not ready")
    return 0 if status["ready"] else 1


def _why(process: dict[str, Any], well: bool) -> str:
    """What is wrong with it, in its own sentence."""
    return f"\n          {process['detail']}" if process["detail"] and not well else ""


def _evidence(recorder: dict[str, Any]) -> str:
    """How much there is, since when, and for how long it will be kept."""
    if recorder["evidence_stills"] is None:
        return f"not known while the disk is {recorder['disk']}"
    parts = [f"{recorder['evidence_stills']:,} stills, {recorder['evidence_bytes'] / 1e9:.2f} GB"]
    if recorder["oldest_evidence_at_ns"] is not None:
        parts.append(f"the oldest of {rfc3339(recorder['oldest_evidence_at_ns'])}")
    if recorder["retention_forecast_s"] is not None:
        parts.append(f"room for {recorder['retention_forecast_s'] / 86400:,.0f} days of it")
    if recorder["purged"]:
        purged = ", ".join(f"{count:,} ({reason})" for reason, count in sorted(recorder["purged"].items()))
        parts.append(f"purged since the recorder's start: {purged}")
    return "; ".join(parts) + (f"\nALARM     {recorder['retention']}" if recorder["retention"] != "ok" else "")


def _clock(offset_s: float | None) -> str:
    """A camera's clock, where it is sent and wrong by more than the network makes it look."""
    if offset_s is None or abs(offset_s) < CLOCK_WORTH_SAYING_S:
        return ""
    return f", its clock is {abs(offset_s):.1f} s {'ahead' if offset_s > 0 else 'behind'}"
