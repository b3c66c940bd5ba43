# SPDX-License-Identifier: AGPL-3.0-or-later
"""`make bench`: runs every benchmark on this host and writes their tables into benchmarks/README.md.

    python -m benchmarks [PART …]

With parts named, only those are measured anew, and the others' tables stay as they are.
"""

from __future__ import annotations

import argparse
import platform
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks import cameras, detector, fleet, going_back, latency, service, siblings

README = Path(__file__).with_name("README.md")
BEGIN, END = "<!-- made by make bench -->", "<!-- end of what make bench makes -->"


def host() -> str:
    """The machine, without its name."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    models = [line.split(":")[1].strip() for line in lines if line.startswith("model name")]
    memory_kb = int(Path("/proc/meminfo").read_text().split()[1])
    about = f"{len(models)} × {models[0]}, {memory_kb / 1e6:.0f} GB"
    return f"{about}, {platform.system()} {platform.release()}, Python {platform.python_version()}"


def camera_rows(found: dict[str, Any]) -> list[str]:
    rows = [
        "| 8 cameras, 1080p25 H.264 3 Mbit/s, key frame every 2 s | idle | one burning |",
        "| --- | --- | --- |",
    ]
    idle, burning = found["idle"], found["one burning"]

    def row(what: str, key: str, form: str) -> None:
        cells = [format(each[key], form) if each[key] is not None else "–" for each in (idle, burning)]
        rows.append(f"| {what} | {cells[0]} | {cells[1]} |")

    row("floor: CPU-seconds a camera-minute (two of them, same minute)", "floor_cpu_s", ".2f")
    row("idle camera's worker: CPU-seconds a camera-minute, median", "idle_cpu_s", ".2f")
    row("– the most of any idle camera", "idle_cpu_s_most", ".2f")
    row("**worker ÷ floor** (aim ≤ 1.3)", "idle_ratio", ".2f")
    row("burning camera's worker", "burning_cpu_s", ".2f")
    row("detector, all cameras together", "detector_cpu_s", ".2f")
    row("recorder", "recorder_cpu_s", ".2f")
    row("**worker's memory (USS) besides its ring, MB** (aim ≤ 40), median", "own_memory_mb", ".1f")
    row("– the most", "own_memory_mb_most", ".1f")
    row("ring, MB", "ring_mb", ".1f")
    return rows


def latency_rows(found: dict[str, Any]) -> list[str]:
    return [
        "| first burning frame leaves the camera → its still is durable | seconds |",
        "| --- | --- |",
        f"| median of {found['outbreaks']} outbreaks on 4 cameras ({found['missed']} of them missed) | {found['median_s']:.2f} |",
        f"| **95th percentile** (aim ≤ 3) | {found['p95_s']:.2f} |",
        f"| most | {found['most_s']:.2f} |",
    ]


PARTS: dict[str, Callable[[], list[str]]] = {
    "Cameras": lambda: camera_rows(cameras.main()),
    "Fleet": fleet.rows,
    "Latency": lambda: latency_rows(latency.main()),
    "Detector": detector.rows,
    "Service": service.rows,
    "Going back": going_back.rows,
    "Siblings": siblings.rows,
}


def section(name: str) -> tuple[str, bool]:
    """A part's table under its heading, and whether it could be measured."""
    print(f"{name} …", flush=True)
    try:
        made, done = PARTS[name](), True
    except (AssertionError, OSError) as error:
        made, done = [f"This part failed: {error}"], False
    print("\n".join(made), flush=True)
    return "\n".join([f"### {name}", "", f"{datetime.now(UTC):%Y-%m-%d}, {host()}.", "", *made, ""]), done


def known(text: str) -> dict[str, str]:
    """The sections that the page has, by name."""
    parts = text.partition(BEGIN)[2].partition(END)[0].split("### ")[1:]
    return {part.partition("\n")[0]: f"### {part.rstrip()}\n" for part in parts}


def main(names: list[str]) -> int:
    """Measures, and writes after each part: a part that fails is said in its place and in the exit status."""
    if unknown := [name for name in names if name not in PARTS]:
        print(f"there is no part {unknown[0]}; there are {', '.join(PARTS)}", file=sys.stderr)
        return 2
    failed = False
    for name in names or list(PARTS):
        text, done = section(name)
        failed = failed or not done
        page = README.read_text()
        sections = {**known(page), name: text}
        before, after = page.partition(BEGIN)[0], page.partition(END)[2]
        README.write_text(
            f"{before}{BEGIN}\n\n" + "\n".join(sections[each] for each in PARTS if each in sections) + f"\n{END}{after}"
        )
    return 1 if failed else 0


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"of {', '.join(PARTS)} (all)")
    sys.exit(main(parser.parse_args().parts))
