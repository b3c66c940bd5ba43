# SPDX-License-Identifier: AGPL-3.0-or-later
"""Each fault does to a client what it says, and `resume` ends it."""

from __future__ import annotations

import time
from itertools import pairwise
from pathlib import Path
from typing import Any

import av
import pytest

from daemon.simulate.chart import Chart, make_chart
from daemon.simulate.farm import Camera, FarmThread
from daemon.simulate.faults import COMMANDS
from daemon.simulate.truth import read_truth

SHORT_S = 0.5
GIVEN_UP = (av.error.FFmpegError, TimeoutError)  # which of FFmpeg's errors it is differs with the moment


def test_stall_keeps_the_connection_and_sends_nothing(chart: Chart, client: Any, tmp_path: Path) -> None:
    """The client's own time-out ends the wait, not the server; after `resume` the first picture is a key frame."""
    truth = tmp_path / "truth.jsonl"
    with FarmThread([Camera("hall", chart.path)], truth=truth) as farm:
        with client(farm.url("hall"), timeout_s=SHORT_S) as viewer:
            viewer.take(3)
            farm.command("hall", "stall")
            with pytest.raises(GIVEN_UP):
                viewer.take(100)
            assert farm.state()["hall"]["viewers"] == 1
        farm.command("hall", "resume")
        with client(farm.url("hall")) as viewer:
            assert viewer.take(1)[0].number % 10 == 0
    events = [line.get("event", "unit") for line in read_truth(truth)]
    stalled = events[events.index("stall") + 1 : events.index("resume")]
    assert "unit" not in stalled


def test_resume_after_a_stall_begins_with_a_key_frame(chart: Chart, client: Any, truth_of_file: dict[int, str]) -> None:
    """A viewer that waited out the stall gets no picture that needs one it has missed."""
    with FarmThread([Camera("hall", chart.path)]) as farm, client(farm.url("hall")) as viewer:
        before = viewer.take(3)
        farm.command("hall", "stall")
        frozen = farm.state()["hall"]["frame"]
        while farm.state()["hall"]["frame"] == frozen:
            time.sleep(0.01)
        farm.command("hall", "resume")
        after = viewer.take(40)
    assert all(picture.digest == truth_of_file[picture.number] for picture in before + after)


def test_silent_leaves_requests_unanswered(chart: Chart, client: Any) -> None:
    """A new client connects and hears nothing at all."""
    with FarmThread([Camera("hall", chart.path)]) as farm:
        farm.command("hall", "silent")
        with pytest.raises(GIVEN_UP):
            client(farm.url("hall"), timeout_s=SHORT_S)
        farm.command("hall", "resume")
        with client(farm.url("hall")) as viewer:
            assert viewer.take(1)


def test_drop_closes_connections_once(chart: Chart, client: Any) -> None:
    """The stream simply ends; who comes again is served."""
    with FarmThread([Camera("hall", chart.path)]) as farm:
        with client(farm.url("hall")) as viewer:
            viewer.take(2)
            farm.command("hall", "drop")
            assert len(viewer.take(500)) < 100
        with client(farm.url("hall")) as viewer:
            assert viewer.take(1)


def test_refuse_answers_503_until_resume(chart: Chart, client: Any) -> None:
    """Viewers are cut off and new ones refused, on this camera only."""
    with FarmThread([Camera("hall", chart.path), Camera("yard", chart.path)]) as farm:
        with client(farm.url("hall")) as viewer:
            viewer.take(2)
            farm.command("hall", "refuse")
            assert len(viewer.take(500)) < 100
        with pytest.raises(av.error.HTTPServerError):
            client(farm.url("hall"))
        with client(farm.url("yard")) as viewer:
            assert viewer.take(1)
        farm.command("hall", "resume")
        with client(farm.url("hall")) as viewer:
            assert viewer.take(1)


def test_freeze_repeats_the_present_picture(chart: Chart, client: Any, cache: Path) -> None:
    """Times go on, the picture does not; after `resume` it is where the camera's clock is."""
    with FarmThread([Camera("hall", chart.path)], cache=cache) as farm, client(farm.url("hall")) as viewer:
        viewer.take(3)
        farm.command("hall", "freeze")
        frozen = farm.state()["hall"]["frame"]
        pictures = viewer.take(60)[-20:]  # before them comes what was on its way
        assert {picture.number for picture in pictures} == {frozen}
        assert all(later.pts_s > earlier.pts_s for earlier, later in pairwise(pictures))
        farm.command("hall", "resume")
        moving = viewer.until(lambda picture: picture.number not in (frozen, None))[-1]
        assert moving.number % 10 == 0
        assert moving.number >= frozen + 20 or moving.number < frozen


def test_black_is_black(chart: Chart, client: Any, cache: Path) -> None:
    """A black picture of the same size, until `resume`."""
    with FarmThread([Camera("hall", chart.path)], cache=cache) as farm, client(farm.url("hall")) as viewer:
        bright = viewer.take(1)[0]
        farm.command("hall", "black")
        dark = viewer.until(lambda picture: picture.brightness < 18)[-1]
        farm.command("hall", "resume")
        again = viewer.until(lambda picture: picture.brightness > 60)[-1]
    assert bright.size == dark.size == again.size


def test_corrupt_damages_pictures(chart: Chart, client: Any, tmp_path: Path, truth_of_file: dict[int, str]) -> None:
    """With damage in every packet the client sees wrong pixels or nothing; the log counts it; `resume` heals."""
    truth = tmp_path / "truth.jsonl"
    with FarmThread([Camera("hall", chart.path)], truth=truth) as farm, client(farm.url("hall")) as viewer:
        viewer.take(1)
        farm.command("hall", "corrupt", 1.0)
        sent = farm.state()["hall"]["units_sent"]
        while int(str(farm.state()["hall"]["units_sent"])) < int(str(sent)) + 25:
            time.sleep(0.01)
        farm.command("hall", "resume")
        right = set(truth_of_file.values())
        pictures = viewer.until(lambda picture: picture.number == 5 or picture.digest in right, limit=200)
        wrong = sum(picture.digest not in right for picture in pictures)
        viewer.until(lambda picture: picture.digest in right)
    damaged = [line for line in read_truth(truth) if line.get("corrupted")]
    assert len(damaged) >= 25
    assert all(line["corrupted"] <= line["packets"] for line in damaged)
    assert wrong or len(pictures) < 25


def test_loss_leaves_packets_out(chart: Chart, client: Any, tmp_path: Path) -> None:
    """About the share that was asked for is missing, and the client gets fewer pictures than were sent."""
    truth = tmp_path / "truth.jsonl"
    with FarmThread([Camera("hall", chart.path)], truth=truth) as farm, client(farm.url("hall")) as viewer:
        viewer.take(1)
        farm.command("hall", "loss", 0.5)
        viewer.take(25)
    lines = read_truth(truth)
    begin = next(place for place, line in enumerate(lines) if line.get("event") == "loss")
    units = [line for line in lines[begin:] if "rtp" in line]
    share = sum(line["lost"] for line in units) / sum(line["packets"] for line in units)
    assert 0.3 < share < 0.7
    assert len(units) > 25


def test_jump_moves_the_timestamps(chart: Chart, client: Any) -> None:
    """One step of the times is that much longer; the pictures go on."""
    camera = Camera("hall", chart.path, clock_offset=None)
    with FarmThread([camera]) as farm, client(farm.url("hall")) as viewer:
        first = viewer.take(3)
        farm.command("hall", "jump", 7)
        pictures = first[-1:] + viewer.take(40)
    steps = [later.pts_s - earlier.pts_s for earlier, later in pairwise(pictures)]
    assert max(steps) == pytest.approx(7 + 1 / 25, abs=0.01)
    assert sum(step > 0.1 for step in steps) == 1
    assert all((b.number - a.number) % 150 == 1 for a, b in pairwise(pictures))


def test_restart_changes_the_streams_identity(chart: Chart, client: Any, tmp_path: Path) -> None:
    """Another SSRC from one picture to the next; who comes then is served."""
    truth = tmp_path / "truth.jsonl"
    with FarmThread([Camera("hall", chart.path)], truth=truth) as farm:
        with client(farm.url("hall")) as viewer:
            viewer.take(3)
            farm.command("hall", "restart")
            viewer.take(12)
        with client(farm.url("hall")) as viewer:
            assert viewer.take(1)
    assert len({line["ssrc"] for line in read_truth(truth) if "rtp" in line}) == 2


def test_change_plays_another_file(chart: Chart, client: Any, tmp_path: Path) -> None:
    """A viewer that stays gets the new size in the running stream."""
    other = make_chart(tmp_path / "other.mp4", size=(480, 270), fps=10, gop_s=1, seconds=2)
    with FarmThread([Camera("hall", chart.path)]) as farm, client(farm.url("hall")) as viewer:
        assert viewer.take(1)[0].size == (320, 240)
        farm.command("hall", "change", str(other.path))
        changed = viewer.until(lambda picture: picture.size == (480, 270))[-1]
    assert changed.number is not None


@pytest.mark.parametrize("at_end", ["once", "hold"])
def test_the_end_of_a_clip(at_end: str, brief: Chart, client: Any, tmp_path: Path) -> None:
    """`once` closes and refuses; `hold` shows the last picture for ever."""
    camera = Camera("hall", brief.path, at_end=at_end, wait_for_viewer=True)  # type: ignore[arg-type]
    with FarmThread([camera], cache=tmp_path) as farm, client(farm.url("hall")) as viewer:
        if at_end == "once":
            assert [picture.number for picture in viewer.take(100)] == list(range(25))
            with pytest.raises(av.error.HTTPServerError):
                client(farm.url("hall"))
        else:
            assert {picture.number for picture in viewer.take(60)[-20:]} == {24}


@pytest.mark.parametrize(
    ("name", "value"), [("explode", None), ("corrupt", None), ("jump", ""), ("loss", "much"), ("mutate", None)]
)
def test_a_wrong_command_is_refused(name: str, value: object, chart: Chart) -> None:
    """What is none, or lacks its value, raises in the caller and leaves the camera as it was."""
    with FarmThread([Camera("hall", chart.path)]) as farm:
        before = farm.state()["hall"]
        with pytest.raises(ValueError):
            farm.command("hall", name, value)
        after = farm.state()["hall"]
        assert {key: after[key] for key in ("corrupt", "mutate", "loss", "stalled", "shows")} == {
            key: before[key] for key in ("corrupt", "mutate", "loss", "stalled", "shows")
        }
        with pytest.raises(KeyError):
            farm.command("yard", "stall")


def test_every_command_can_be_given_to_all(chart: Chart, cache: Path) -> None:
    """`*` means every camera; no command of the table is without an effect in the log."""
    values = {"corrupt": 0.1, "mutate": 0.1, "loss": 0.1, "jump": 1, "change": str(chart.path)}
    truth = cache.with_name("truth.jsonl")
    with FarmThread([Camera("a", chart.path), Camera("b", chart.path)], truth=truth, cache=cache) as farm:
        for name in COMMANDS:
            farm.command("*", name, values.get(name))
    noted = {(line["camera"], line["event"]) for line in read_truth(truth) if "event" in line}
    assert noted >= {(camera, name) for camera in "ab" for name in COMMANDS}


def test_every_fault_is_documented() -> None:
    """The page names each command."""
    page = (Path(__file__).parents[2] / "docs" / "simulated-camera.md").read_text()
    assert [name for name in COMMANDS if f"| `{name}` |" not in page] == []
