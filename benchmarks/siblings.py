# SPDX-License-Identifier: AGPL-3.0-or-later
"""16 cameras of one site when one of them burns: how long until all their rings are on disk, and what the burning one waits for.

    python -m benchmarks.siblings

The real daemon, its store's real files; beside it the same cameras without a site, where the burning one writes its clip alone. A ring is
durable once the ledger attests it up to the confirmation; a still, once its row is there; what a clip has is read from its file.
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from statistics import median, quantiles
from typing import Any

import psutil

from benchmarks import film
from benchmarks.cameras import cpu_s, played
from daemon.clips.reading import fragments, read_head
from daemon.storage.index import reading_engine
from tests.system.daemon_under_test import Daemon, wait_for

CAMERAS = 16
BURNING = "c0"
QUIET_LOOPS = 4  # of 20 s, before it burns: the rings of 60 s are full
WATCH_S = 25.0  # from the confirmation on
LOOK_EVERY_S = 0.05
FILES_EVERY_S = 0.5


@dataclass
class Seen:
    """While the daemon runs: seconds from a still's moment to its row; and how old a clip's newest frame is, by camera."""

    stills_s: list[float] = field(default_factory=list)
    clips_s: dict[str, list[float]] = field(default_factory=dict)


def run(folder: Path, site: str | None) -> dict[str, Any]:
    """One row."""
    quiet = film.quiet(folder)
    breaks_out = film.film(folder / "breaks-out-1080p25.mp4", film.QUIET * QUIET_LOOPS + film.BURNING)
    files = {f"c{number}": quiet for number in range(CAMERAS)} | {BURNING: breaks_out}
    daemon = Daemon()
    with played(files, extra=["--wait-for-viewer"]) as urls:
        daemon.configure({name: {"url": url} | ({"site": site} if site else {}) for name, url in urls.items()})
        daemon.start()
        try:
            daemon.wait_ready(120)
            wait_for(lambda: _lines(daemon, "incident", state="confirmed"), 180, f"the fire\n{daemon.log[-2000:]}")
            recorder = psutil.Process((daemon.status() or {})["recorder"]["pid"])
            before_s = cpu_s(recorder)
            seen = _watch(daemon)
            return _row(daemon, seen, cpu_s(recorder) - before_s)
        finally:
            daemon.stop()
            daemon.clean()


def _watch(daemon: Daemon) -> Seen:
    seen, known, engine = Seen(), set[str](), reading_engine(daemon.root)
    until_s, files_due_s = time.monotonic() + WATCH_S, 0.0
    while (now_s := time.monotonic()) < until_s:
        with engine.connect() as connection:
            rows = connection.exec_driver_sql(
                "SELECT id, captured_at_ns FROM evidence WHERE camera = ? AND kind IN ('first_confirmed', 'hit') "
                "ORDER BY ledger_seq DESC LIMIT 50", (BURNING,)
            ).all()  # fmt: skip
        seen.stills_s += [time.time() - at_ns / 1e9 for id_, at_ns in rows if id_ not in known]
        known.update(id_ for id_, _ in rows)
        if now_s >= files_due_s:
            files_due_s = now_s + FILES_EVERY_S
            for path in (daemon.root / "evidence").glob("*/**/*.open"):
                if (newest_ns := _newest_ns(path)) is not None:
                    camera = path.relative_to(daemon.root / "evidence").parts[0]
                    seen.clips_s.setdefault(camera, []).append(time.time() - newest_ns / 1e9)
        time.sleep(LOOK_EVERY_S)
    engine.dispose()
    return seen


def _newest_ns(path: Path) -> int | None:
    try:
        with path.open("rb") as file:
            return max(
                (frame.at_ns for part in fragments(file, read_head(file)) for frame in part.frames), default=None
            )
    except (OSError, ValueError):  # it is just beginning, or has got its name
        return None


def _row(daemon: Daemon, seen: Seen, recorder_cpu_s: float) -> dict[str, Any]:
    confirmed = _lines(daemon, "incident", state="confirmed")[0]
    confirmed_s = _seconds(confirmed["at"])
    rings = dict[str, float]()
    sizes = dict[str, int]()
    for line in _lines(daemon, "segment"):
        body = line["body"]
        if _seconds(body["from_at"]) < confirmed_s:
            sizes[body["camera"]] = sizes.get(body["camera"], 0) + body["bytes"]
        # a line for each 10 s of frames: the next can be that much later
        if _seconds(body["to_at"]) > confirmed_s - 10:
            rings.setdefault(body["camera"], _seconds(line["at"]) - confirmed_s)
    return {
        "clips": len(rings),
        "megabytes": sum(sizes.values()) / 1e6,
        "ring_s": sorted(rings.values()),
        "still_s": sorted(seen.stills_s),
        "own_clip_s": seen.clips_s.get(BURNING, []),
        "sibling_clip_s": [each for name, some in seen.clips_s.items() if name != BURNING for each in some[-10:]],
        "recorder_cpu_s": recorder_cpu_s,
    }


def _lines(daemon: Daemon, kind: str, **body: Any) -> list[dict[str, Any]]:
    """The ledger's whole lines of that kind whose bodies say so; the last one may not be written to its end."""
    whole = [path.read_bytes().rpartition(b"\n")[0] for path in sorted((daemon.root / "ledger").glob("*.jsonl"))]
    lines = [json.loads(line) for part in whole for line in part.splitlines()]
    return [each for each in lines if each["kind"] == kind and body.items() <= each["body"].items()]


def _seconds(at: str) -> float:
    return datetime.fromisoformat(at).timestamp()


def rows() -> list[str]:
    """The table of benchmarks/README.md."""
    folder = film.folder()
    made = [
        f"| {CAMERAS} cameras, 1080p25 3 Mbit/s, rings of 60 s, one burns | clips, MB of rings | their rings durable after the "
        "confirmation, s: median, last | a still of the burning one durable, s: median, p95, most | its clip behind, s: median, most "
        "| siblings' clips behind once caught up, s: median, most | recorder, CPU-s |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for what, site in (("no site: it alone", None), ("one site", "plant")):
        found = run(folder, site)
        made.append(
            f"| {what} | {found['clips']}, {found['megabytes']:.0f} | {_of(found['ring_s'])} "
            f"| {_of(found['still_s'], p95=True)} | {_of(found['own_clip_s'])} | {_of(found['sibling_clip_s'])} "
            f"| {found['recorder_cpu_s']:.1f} in {WATCH_S:.0f} s |"
        )
        print(made[-1], flush=True)
    return made


def _of(values: list[float], *, p95: bool = False) -> str:
    if len(values) < 2:
        return ", ".join(f"{each:.2f}" for each in values) or "–"
    told = [median(values), *([quantiles(values, n=20)[-1]] if p95 else []), max(values)]
    return ", ".join(f"{each:.2f}" for each in told)


if __name__ == "__main__":
    argparse.ArgumentParser(description=__doc__).parse_args()
    print("\n".join(rows()))
