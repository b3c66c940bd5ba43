# SPDX-License-Identifier: AGPL-3.0-or-later
"""16 and 32 cameras, with and without sub-stream, idle and with one on fire; beside them the tutorial's way.

    python -m benchmarks.fleet [CAMERAS …]

All in one run on one machine, which plays the cameras too (in a process of its own, whose share is told). CPU-seconds come from
the kernel's accounting; the interval achieved is the longest that a worker reported between two analysed frames.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import psutil

from benchmarks import film
from benchmarks.cameras import cpu_s, played
from tests.system.daemon_under_test import Daemon, wait_for

WARM_UP_S = 20.0
MEASURE_S = 40.0
SUB_STREAM_PX = 320
TUTORIAL_S = 15.0
TORCH = Path(__file__).parents[1] / ".venv-train" / "bin" / "python"
"""Has Ultralytics, where `make setup VENV=.venv-train EXTRAS=train` was said."""
KEEPS_UP = 0.95  # of the camera's frames: fewer, and the delay grows without end


class Case(NamedTuple):
    """One row."""

    cameras: int
    sub: bool
    burning: bool

    def __str__(self) -> str:
        return (
            f"{self.cameras}, {'sub-stream' if self.sub else 'main only'}, {'one burning' if self.burning else 'idle'}"
        )


def cases(counts: tuple[int, ...]) -> list[Case]:
    return [Case(count, sub, burning) for count in counts for sub in (False, True) for burning in (False, True)]


def run(folder: Path, case: Case) -> dict[str, Any]:
    """What one row says."""
    files = {f"c{number}": film.quiet(folder) for number in range(case.cameras)}
    subs = {f"c{number}-sub": film.sub_quiet(folder) for number in range(case.cameras)} if case.sub else {}
    if case.burning:
        files["c0"] = film.burning(folder)
        subs.update({"c0-sub": film.sub_burning(folder)} if case.sub else {})
    daemon = Daemon()
    with played({**files, **subs}) as urls:
        cameras = {name: {"url": urls[name]} for name in files}
        for name in files if case.sub else ():
            cameras[name]["detect_url"] = urls[f"{name}-sub"]
        daemon.configure(cameras, detect={"sub_stream_px": SUB_STREAM_PX})
        daemon.start()
        try:
            daemon.wait_ready(120)
            wait_for(lambda: _all_watched(daemon), 120, f"all cameras are watched\n{daemon.log[-2000:]}")
            time.sleep(WARM_UP_S)
            return measured(daemon, case)
        finally:
            daemon.stop()
            daemon.clean()


def _all_watched(daemon: Daemon) -> bool:
    status = daemon.status() or {"cameras": {}}
    return all(each.get("frames_watched", 0) > 0 for each in status["cameras"].values())


def measured(daemon: Daemon, case: Case) -> dict[str, Any]:
    """Over MEASURE_S: CPU of each process, and how often each camera was looked at."""
    status = daemon.status()
    assert status is not None
    names = list(status["cameras"])
    pids = {name: each["pid"] for name, each in status["cameras"].items()}
    pids |= {name: status[name]["pid"] for name in ("detector", "recorder", "web")}
    assert daemon.process is not None
    pids["supervisor"] = daemon.process.pid
    processes = {name: psutil.Process(pid) for name, pid in pids.items()}
    before = {name: cpu_s(each) for name, each in processes.items()}
    frames = {name: status["cameras"][name]["frames_watched"] for name in names}
    longest = dict.fromkeys(names, 0.0)
    began_s = time.monotonic()
    while time.monotonic() - began_s < MEASURE_S:
        time.sleep(0.5)  # a beat comes each second
        for name, each in (daemon.status() or {"cameras": {}})["cameras"].items():
            longest[name] = max(longest[name], each.get("interval_s") or 0.0)
    minutes = (time.monotonic() - began_s) / 60
    used = {name: (cpu_s(each) - before[name]) / minutes for name, each in processes.items()}
    status = daemon.status()
    assert status is not None
    idle = names[1:] if case.burning else names
    looked = [(status["cameras"][name]["frames_watched"] - frames[name]) / minutes / 60 for name in idle]
    own = [processes[name].memory_full_info().uss - status["cameras"][name]["ring_bytes"] for name in idle]
    return {
        "worker_cpu_s": median(used[name] for name in idle),
        "burning_cpu_s": used[names[0]] if case.burning else None,
        "detector_cpu_s": used["detector"] / len(names),
        "others_cpu_s": (used["recorder"] + used["web"] + used["supervisor"]) / len(names),
        "own_mb": median(own) / 1e6,
        "ring_mb": median(status["cameras"][name]["ring_bytes"] for name in idle) / 1e6,
        "looks_a_s": median(looked),
        "longest_interval_s": max(longest[name] for name in idle),
    }


def tutorial(folder: Path, python: Path, predicts: str) -> list[dict[str, Any]]:
    """One camera more each time, until they are not kept up with; the last one told is the first that failed."""
    found = []
    for count in range(1, 9):
        with played({f"c{number}": film.quiet(folder) for number in range(count)}) as urls:
            time.sleep(1)  # the farm listens
            command = [str(python), "-m", "benchmarks.tutorial", predicts, str(TUTORIAL_S), *urls.values()]
            lines = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
            told = json.loads(lines[-1])  # Ultralytics talks before it
        found.append({"cameras": count, "predicts": predicts, **told})
        if min(told["fps"]) < KEEPS_UP * film.FPS:
            break
    return found


def rows(counts: tuple[int, ...] = (16, 32)) -> list[str]:
    """The table of benchmarks/README.md."""
    folder = film.folder()
    made = [
        "| cameras | idle worker, CPU-s a minute | burning one | detector, a camera | recorder, web, supervisor, a camera "
        "| idle camera in all | CPU-ms a look | USS besides ring, MB | ring, MB | looks a second | longest interval, s |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for case in cases(counts):
        try:
            made.append(_row(case, run(folder, case)))
        except AssertionError as error:
            made.append(f"| {case} | failed: {str(error).splitlines()[0]}" + " |" * 10)
        print(made[-1], flush=True)
    made += [_tutorial_row(each) for each in tutorial(folder, Path(sys.executable), "firewitness")]
    if not TORCH.exists():
        return [*made, "| the tutorial's way with Ultralytics' predict(): not measured, no .venv-train" + " |" * 11]
    return made + [_tutorial_row(each) for each in tutorial(folder, TORCH, "ultralytics")]


def _tutorial_row(found: dict[str, Any]) -> str:
    each_cpu_s = found["cpu_s"] / found["cameras"]
    look_ms = each_cpu_s * 1000 / 60 / (sum(found["fps"]) / found["cameras"])
    who = "the tutorial's way" if found["predicts"] == "firewitness" else "the tutorial's way, Ultralytics' predict()"
    return (
        f"| {found['cameras']}, **{who}** | {each_cpu_s:.1f} | – | in it | – | **{each_cpu_s:.1f}** | {look_ms:.0f} "
        f"| {found['rss_mb'] / found['cameras']:.0f} (RSS) | – | {min(found['fps']):.1f} of {film.FPS} frames | – |"
    )


def _row(case: Case, found: dict[str, Any]) -> str:
    in_all = found["worker_cpu_s"] + found["detector_cpu_s"] + found["others_cpu_s"]
    burning = f"{found['burning_cpu_s']:.1f}" if found["burning_cpu_s"] is not None else "–"
    return (
        f"| {case} | {found['worker_cpu_s']:.2f} | {burning} | {found['detector_cpu_s']:.2f} | {found['others_cpu_s']:.2f} "
        f"| **{in_all:.2f}** | {in_all * 1000 / 60 / found['looks_a_s']:.0f} | {found['own_mb']:.1f} | {found['ring_mb']:.1f} "
        f"| {found['looks_a_s']:.2f} | {found['longest_interval_s']:.2f} |"
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("cameras", type=int, nargs="*", default=[16, 32], help="how many, one measurement each (16 32)")
    print("\n".join(rows(tuple(parser.parse_args().cameras))))
