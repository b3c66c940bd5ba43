# SPDX-License-Identifier: AGPL-3.0-or-later
"""How well origins are found: scenes of known truth and real clips, over RTSP, through the whole daemon.

    python -m benchmarks.origins [COUNT]

A few cameras at a time: each plays its scene from its first viewer on, and what the API then says of the camera's first confirmed
incident is held against when the picture of the onset left the RTSP server. Writes its tables into docs/accuracy.md; with
a COUNT of scenes other than 50 it only prints them.
"""

from __future__ import annotations

import argparse
import csv
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import requests

from benchmarks import scenes
from benchmarks.__main__ import host
from benchmarks.cameras import played
from benchmarks.scenes import Truth
from daemon.simulate.truth import read_truth
from tests.system.daemon_under_test import Daemon, wait_for

COUNT = 50
AT_ONCE = 3
GRACE_S = 150.0  # after a scene's end, for going back: a loaded host serves live cameras first
NEAR_S = 0.4
CLIPS_NEAR_S = 1.0
PAGE = Path(__file__).parents[1] / "docs" / "accuracy.md"
BEGIN, END = "<!-- made by python -m benchmarks.origins -->", "<!-- end of what benchmarks.origins makes -->"


class Play(NamedTuple):
    """What one camera shows."""

    camera: str
    file: Path
    settings: dict[str, Any]
    onset_frame: int
    seconds: float


class Seen(NamedTuple):
    """What came of it; `error_s` is first visible less onset, negative: seen earlier."""

    error_s: float | None
    origin: dict[str, Any]
    why_not: str = ""


def watched(plays: Sequence[Play], at_end: str) -> Iterator[tuple[Play, Seen]]:
    """All of them through one daemon, a few at a time; a reload brings the next ones."""
    daemon = Daemon()
    folder = Path(tempfile.mkdtemp(prefix="fw-origins-"))
    try:
        for begin in range(0, len(plays), AT_ONCE):
            batch = plays[begin : begin + AT_ONCE]
            truth = folder / f"{begin}.jsonl"
            files = {each.camera: each.file for each in batch}
            with played(files, truth, ("--wait-for-viewer", "--at-end", at_end)) as urls:
                _watch(daemon, {each.camera: {"url": urls[each.camera], **each.settings} for each in batch})
                until_s = time.monotonic() + max(each.seconds for each in batch) + GRACE_S
                wait_for(
                    lambda batch=batch, until_s=until_s: (  # type: ignore[misc]
                        time.monotonic() > until_s or all(_origin(daemon, each.camera)[0] for each in batch)
                    ),
                    max(each.seconds for each in batch) + GRACE_S + 10,
                    "the scenes end",
                )
                lines = read_truth(truth)
                yield from [(each, _seen(daemon, each, lines)) for each in batch]
    finally:
        daemon.stop()
        daemon.clean()
        shutil.rmtree(folder, ignore_errors=True)


def _watch(daemon: Daemon, cameras: dict[str, Any]) -> None:
    daemon.configure(cameras)
    if daemon.process is None:
        daemon.start()
        daemon.wait_ready(120)
        return
    told = daemon.command("reload")
    assert told.returncode == 0, told.stderr


def _origin(daemon: Daemon, camera: str) -> tuple[dict[str, Any] | None, str]:
    """Of the camera's first confirmed incident, and why there is none."""
    found = [each for each in daemon.every("/api/v1/incidents", camera=camera) if each["first_confirmed_at"]]
    if not found:
        return None, "not confirmed"
    first = min(found, key=lambda each: each["first_confirmed_at"])
    answer = requests.get(daemon.url(f"/api/v1/incidents/{first['id']}/origin"), timeout=10)
    return (answer.json(), "") if answer.status_code == 200 else (None, f"no origin: {answer.json().get('state', '')}")


def _seen(daemon: Daemon, play: Play, lines: list[dict[str, Any]]) -> Seen:
    origin, why_not = _origin(daemon, play.camera)
    left = [
        each["time"]
        for each in lines
        if each["camera"] == play.camera and each.get("frame") == play.onset_frame and each["loop"] == 0
    ]
    if origin is None or not left:
        return Seen(None, {}, why_not or "its onset never left the server")
    at_s = datetime.fromisoformat(origin["first_visible"]["at"]).timestamp()
    return Seen(at_s - left[0], origin)


def drawn_scenes(count: int) -> list[tuple[Truth, Seen]]:
    """The scenes, made where they are not there yet."""
    folder = Path(tempfile.gettempdir()) / f"firewitness-scenes-{scenes.made_by()}"
    truths = {f"scene-{truth.number:02d}": truth for truth in map(scenes.read, scenes.make_all(folder, count))}
    plays = [
        Play(
            name,
            folder / f"{name}.mp4",
            {
                "components_view": str(folder / f"{name}.jpg"),
                "components": [{"name": each.name, "polygon": each.polygon} for each in truth.components],
            },
            round(truth.onset_s * truth.fps),
            truth.seconds,
        )
        for name, truth in truths.items()
    ]
    found = []
    for play, seen in watched([_plain(play) for play in plays], "hold"):
        print(play.camera, truths[play.camera].background, _said(seen), flush=True)
        found.append((truths[play.camera], seen))
    return found


def _plain(play: Play) -> Play:
    """With lists where YAML has no tuples."""
    components = [
        {"name": each["name"], "polygon": [list(point) for point in each["polygon"]]}
        for each in play.settings["components"]
    ]
    return play._replace(settings={**play.settings, "components": components})


def real_clips() -> list[tuple[dict[str, str], Seen]]:
    """Every real clip of a fire whose onset is known."""
    data = Path(os.environ["FIREWITNESS_DATA"])
    with (data / "clips.csv").open() as table:
        rows = {row["name"].replace("_", "-"): row for row in csv.DictReader(table) if row["kind"].startswith("fire")}
    plays = []
    for name, row in rows.items():
        file = data / "clips" / f"{row['name']}.mp4"
        fps, seconds = _rate_and_length(file)
        plays.append(Play(name, file, {}, round(float(row["onset_s"]) * fps), max(20.0, 2 * seconds)))
    found = []
    for play, seen in watched(plays, "loop"):
        print(play.camera, _said(seen), flush=True)
        found.append((rows[play.camera], seen))
    return found


def _rate_and_length(file: Path) -> tuple[float, float]:
    import av

    with av.open(str(file)) as container:
        stream = container.streams.video[0]
        rate = float(stream.average_rate or 25)
        return rate, stream.frames / rate


def _said(seen: Seen) -> str:
    if seen.error_s is None:
        return seen.why_not
    component = seen.origin["component"]
    return f"{seen.error_s:+.2f} s, {component['name']} {component['share']:.2f} {component['note']}".strip()


def scene_rows(found: list[tuple[Truth, Seen]]) -> list[str]:
    """The sums, and every scene that failed in one of them."""
    near = [(truth, seen) for truth, seen in found if seen.error_s is not None and abs(seen.error_s) <= NEAR_S]
    right = [truth for truth, seen in near if seen.origin["component"]["name"] == truth.component]
    doubted = sum(bool(seen.origin.get("doubt")) for _, seen in found)
    errors = [seen.error_s for _, seen in found if seen.error_s is not None]
    rows = [
        f"| {len(found)} scenes of known truth | |",
        "| --- | --- |",
        f"| **first visible within ±{NEAR_S} s of the onset** (aim ≥ 90 %) | {len(near)}, {len(near) / len(found):.0%} |",
        f"| **of those with the right component** (aim ≥ 95 %) | {len(right)}, {len(right) / max(1, len(near)):.0%} |",
        f"| in doubt, whether it was visible earlier (docs/origin.md) | {doubted} |",
    ]
    if errors:
        rows.append(
            f"| first visible less onset: median, least, most | {median(errors):+.2f}, {min(errors):+.2f}, {max(errors):+.2f} s |"
        )
    for what, parts in (("background", _by(found, "background")), ("light", _by(found, "light"))):
        for name, these in parts.items():
            rows.append(
                f"| {what} {name}: within ±{NEAR_S} s | {sum(each in near for each in these)} of {len(these)} |"
            )
    failed = [(truth, seen) for truth, seen in found if truth not in right]
    if failed:
        rows += [
            "",
            "| failed | background, light | growth | first visible less onset | component: said (share), true |",
        ]
        rows.append("| --- | --- | --- | --- | --- |")
    for truth, seen in failed:
        error = "–" if seen.error_s is None else f"{seen.error_s:+.2f} s"
        component = seen.origin.get("component", {"name": seen.why_not, "share": 0.0, "note": ""})
        told = f"{component['name'] or component['note']} ({component['share']:.2f}), {truth.component}"
        smoke = ", smoke" if truth.smoke else ""
        rows.append(
            f"| {truth.number} | {truth.background}, {truth.light}{smoke} | {truth.growth_px_a_s:.0f} px/s | {error} | {told} |"
        )
    return rows


def _by(found: list[tuple[Truth, Seen]], field: str) -> dict[str, list[tuple[Truth, Seen]]]:
    """Scenes by the first word of one of their fields."""
    parts: dict[str, list[tuple[Truth, Seen]]] = {}
    for each in found:
        parts.setdefault(getattr(each[0], field).split()[0], []).append(each)
    return dict(sorted(parts.items()))


def clip_rows(found: list[tuple[dict[str, str], Seen]]) -> list[str]:
    """One a clip."""
    rows = [
        f"| real clip | onset | first visible less onset (aim within {CLIPS_NEAR_S:g} s) | |",
        "| --- | --- | --- | --- |",
    ]
    for row, seen in found:
        error = "–" if seen.error_s is None else f"{seen.error_s:+.2f} s"
        if seen.error_s is not None and abs(seen.error_s) > CLIPS_NEAR_S:
            error = f"**{error}**"
        note = seen.why_not or seen.origin["first_visible"]["label"]
        if seen.origin and seen.origin["doubt"]:
            note += f", in doubt ({', '.join(seen.origin['doubt']['why'])})"
        if seen.origin and seen.origin["burning_when_record_begins"]:
            note += ", burning already when the record begins"
        rows.append(f"| {row['name']} | {row['onset_s']} s | {error} | {note} |")
    return rows


def main(count: int) -> int:
    """Both, and the page; 1 where an aim is missed."""
    began_s = time.monotonic()
    drawn = drawn_scenes(count)
    rows = scene_rows(drawn)
    if "FIREWITNESS_DATA" in os.environ:
        rows += ["", *clip_rows(real_clips())]
    minutes = (time.monotonic() - began_s) / 60
    text = [f"{datetime.now(UTC):%Y-%m-%d}, {host()}; {minutes:.0f} minutes.", "", *rows]
    print("\n".join(text))
    if count == COUNT:
        before, _, rest = PAGE.read_text().partition(BEGIN)
        PAGE.write_text(f"{before}{BEGIN}\n\n" + "\n".join(text) + f"\n\n{END}{rest.partition(END)[2]}")
    near = [(truth, seen) for truth, seen in drawn if seen.error_s is not None and abs(seen.error_s) <= NEAR_S]
    right = [truth for truth, seen in near if seen.origin["component"]["name"] == truth.component]
    return 0 if len(near) >= 0.9 * len(drawn) and len(right) >= 0.95 * len(near) else 1


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("count", type=int, nargs="?", default=COUNT, help=f"of drawn scenes ({COUNT})")
    sys.exit(main(parser.parse_args().count))
