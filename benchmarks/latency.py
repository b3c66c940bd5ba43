# SPDX-License-Identifier: AGPL-3.0-or-later
"""From the moment the first burning frame leaves the camera to a still of the fire being durable, over many outbreaks.

The farm's truth log says when the frame left; the row in the index, which is committed last of all, says when the still
was durable. Both on this host's clock.
"""

from __future__ import annotations

import argparse
import math
import time
from statistics import median, quantiles
from typing import Any

from benchmarks import film
from benchmarks.cameras import played
from daemon.simulate.truth import read_truth
from daemon.storage.index import reading_engine
from tests.system.daemon_under_test import Daemon, wait_for

WATCH_S = 120.0
LOOK_EVERY_S = 0.02
BETWEEN_S = 10.0  # from outbreak to outbreak of a camera


def rows_as_they_come(daemon: Daemon, watch_s: float) -> dict[str, list[float]]:
    """Per camera, when each still of a fire became a row (wall-clock seconds)."""
    engine = reading_engine(daemon.root)
    seen: set[str] = set()
    came: dict[str, list[float]] = {}
    until = time.monotonic() + watch_s
    while time.monotonic() < until:
        with engine.connect() as connection:
            rows = connection.exec_driver_sql(
                "SELECT id, camera FROM evidence WHERE kind IN ('first_suspect', 'first_confirmed', 'hit') "
                "ORDER BY ledger_seq DESC LIMIT 200"
            ).all()
        now = time.time()
        for name, camera in rows:
            if name not in seen:
                seen.add(name)
                came.setdefault(camera, []).append(now)
        time.sleep(LOOK_EVERY_S)
    return came


def delays(
    truth: list[dict[str, Any]], came: dict[str, list[float]], at_frame: dict[str, int], watched: tuple[float, float]
) -> list[float]:
    """Seconds from each outbreak to the first still after it; infinite where none came before the next outbreak.

    `watched` is from when to when (wall clock); of the outbreaks of its last seconds nobody knows.
    """
    found, (begun, ended) = [], watched
    for line in truth:
        is_outbreak = line.get("frame") == at_frame.get(line["camera"]) and line.get("viewers")
        if is_outbreak and begun <= line["time"] < ended - BETWEEN_S:
            after = [at - line["time"] for at in came.get(line["camera"], []) if 0 <= at - line["time"] < BETWEEN_S]
            found.append(min(after, default=math.inf))
    return found


def main() -> dict[str, Any]:
    """Count, median, p95 and worst, in seconds, at the default detect.max_interval."""
    folder = film.folder()
    at_frame = {f"c{frame}": frame for frame in film.OUTBREAK_FRAMES}
    truth = folder / "truth.jsonl"
    truth.unlink(missing_ok=True)
    daemon = Daemon()
    with played({name: film.outbreaks(folder, frame) for name, frame in at_frame.items()}, truth) as urls:
        # An incident ends before the next outbreak, so that each is met by a quiet camera, which decodes key frames only
        daemon.configure(
            {name: {"url": url} for name, url in urls.items()}, detect={"unconfirmed_after": 1, "ended_after": 1}
        )
        daemon.start()
        try:
            daemon.wait_ready(90)
            wait_for(lambda: (daemon.root / "index.sqlite").exists(), 10, "an index")
            begun = time.time()
            came, ended = rows_as_they_come(daemon, WATCH_S), time.time()
        finally:
            daemon.stop()
            daemon.clean()
    measured = sorted(delays(read_truth(truth), came, at_frame, (begun, ended)))
    assert len(measured) >= 10, f"only {len(measured)} outbreaks"
    return {
        "outbreaks": len(measured),
        "missed": sum(1 for each in measured if each == math.inf),
        "median_s": median(measured),
        "p95_s": quantiles(measured, n=20)[-1],
        "most_s": measured[-1],
    }


if __name__ == "__main__":
    argparse.ArgumentParser(description=__doc__).parse_args()
    print(main())
