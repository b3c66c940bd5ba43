# SPDX-License-Identifier: AGPL-3.0-or-later
"""CPU-seconds per camera-minute and memory of 8 cameras, idle and with one on fire, beside the floor in the same minute.

The floor (benchmarks/floor.py) demuxes, keeps the ring and decodes key frames: what nobody can do without. Inference is
counted apart: it happens in the detector. The cameras are played by a process of their own.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any

import psutil

from benchmarks import film
from tests.system.daemon_under_test import Daemon, port_of, reserved_port, wait_for

CAMERAS = 8
FLOORS = 2
WARM_UP_S = 70.0  # until the rings are full: the first minute allocates them
MEASURE_S = 60.0


@contextmanager
def played(cameras: dict[str, Path], truth: Path | None = None, extra: Iterable[str] = ()) -> Iterator[dict[str, str]]:
    """The cameras' URLs while a farm of another process, with `extra` options, plays them."""
    reserved = reserved_port()
    port = port_of(reserved)
    options = [part for name, path in cameras.items() for part in ("--camera", f"{name}={path}")]
    options += ["--truth", str(truth)] if truth else []
    options += extra
    farm = subprocess.Popen(
        [sys.executable, "-m", "daemon.simulate.farm", "--port", str(port), *options], stdout=subprocess.DEVNULL
    )
    try:
        yield {name: f"rtsp://127.0.0.1:{port}/{name}" for name in cameras}
    finally:
        farm.terminate()
        farm.wait(10)
        reserved.close()


def cpu_s(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


def measure(processes: dict[str, psutil.Process], seconds: float) -> dict[str, float]:
    """CPU-seconds per minute of each process over the same stretch of time."""
    before = {name: cpu_s(each) for name, each in processes.items()}
    began = time.monotonic()
    time.sleep(seconds)  # the measured interval itself
    minutes = (time.monotonic() - began) / 60
    return {name: (cpu_s(each) - before[name]) / minutes for name, each in processes.items()}


def run(folder: Path, burning: bool, warm_up_s: float = WARM_UP_S, measure_s: float = MEASURE_S) -> dict[str, Any]:
    """One row: medians over the cameras, and each part."""
    quiet_film = film.quiet(folder)
    files = {f"c{number}": quiet_film for number in range(CAMERAS)}
    if burning:
        files["c0"] = film.burning(folder)
    daemon = Daemon()
    with played(files) as urls:
        daemon.configure({name: {"url": url} for name, url in urls.items()})
        daemon.start()
        floors: list[subprocess.Popen[bytes]] = []
        try:
            daemon.wait_ready(90)
            wait_for(lambda: _all_streaming(daemon), 60, "all cameras stream")
            floors += [_floor(urls[f"c{CAMERAS - 1 - number}"]) for number in range(FLOORS)]
            time.sleep(warm_up_s)
            assert all(each.poll() is None for each in floors), "a floor ended early"
            return _measured(daemon, floors, measure_s, burning)
        finally:
            for each in floors:
                each.kill()
                each.wait()
            daemon.stop()
            daemon.clean()


def _floor(url: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-m", "benchmarks.floor", url, "3600"], stdout=subprocess.DEVNULL)


def _all_streaming(daemon: Daemon) -> bool:
    status = daemon.status() or {"cameras": {}}
    return all(each["state"] == "streaming" for each in status["cameras"].values())


def _measured(daemon: Daemon, floors: list[subprocess.Popen[bytes]], measure_s: float, burning: bool) -> dict[str, Any]:
    status = daemon.status()
    assert status is not None
    pids = {name: each["pid"] for name, each in status["cameras"].items()}
    pids |= {name: status[name]["pid"] for name in ("detector", "recorder", "web")}
    pids |= {f"floor{number}": each.pid for number, each in enumerate(floors)}
    processes = {name: psutil.Process(pid) for name, pid in pids.items()}
    used = measure(processes, measure_s)
    status = daemon.status()
    assert status is not None
    idle = [name for name in status["cameras"] if not (burning and name == "c0")]
    own_mb = [(processes[name].memory_full_info().uss - status["cameras"][name]["ring_bytes"]) / 1e6 for name in idle]
    floor = median(used[f"floor{number}"] for number in range(FLOORS))
    return {
        "floor_cpu_s": floor,
        "idle_cpu_s": median(used[name] for name in idle),
        "idle_cpu_s_most": max(used[name] for name in idle),
        "idle_ratio": median(used[name] for name in idle) / floor,
        "burning_cpu_s": used["c0"] if burning else None,
        "detector_cpu_s": used["detector"],
        "recorder_cpu_s": used["recorder"],
        "own_memory_mb": median(own_mb),
        "own_memory_mb_most": max(own_mb),
        "ring_mb": median(status["cameras"][name]["ring_bytes"] / 1e6 for name in idle),
    }


def main() -> dict[str, Any]:
    """Both rows, as the table of benchmarks/README.md wants them."""
    folder = film.folder()
    return {"idle": run(folder, burning=False), "one burning": run(folder, burning=True)}


if __name__ == "__main__":
    argparse.ArgumentParser(description=__doc__).parse_args()
    print(main())
