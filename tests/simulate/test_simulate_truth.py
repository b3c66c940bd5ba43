# SPDX-License-Identifier: AGPL-3.0-or-later
"""The truth log is true: it says what a client got, and when it left."""

from __future__ import annotations

import asyncio
import json
import struct
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from daemon.simulate.chart import Chart
from daemon.simulate.farm import Camera, Farm, FarmThread
from daemon.simulate.truth import read_truth


def test_the_log_agrees_with_a_client(tmp_path: Path, chart: Chart, client: Any) -> None:
    """Numbers, RTP times and moments of leaving match the pictures that arrived; the clip is named first."""
    truth = tmp_path / "truth.jsonl"
    camera = Camera("hall", chart.path, clock_offset=None)
    with FarmThread([camera], truth=truth) as farm, client(farm.url("hall")) as viewer:
        pictures = viewer.take(60)
        lines = read_truth(truth)  # while it is still being written: lines are there as soon as pictures are
    assert lines[0]["event"] == "clip"
    assert (lines[0]["width"], lines[0]["height"], lines[0]["fps"], lines[0]["frames"]) == (320, 240, 25, 150)
    units = [line for line in lines if "rtp" in line]
    assert [line["frame"] for line in units[: len(pictures)]] == [picture.number for picture in pictures]
    assert [line["key"] for line in units] == [line["frame"] % 10 == 0 for line in units]
    for line, picture in list(zip(units, pictures, strict=False))[20:]:
        assert picture.pts_s - pictures[0].pts_s == pytest.approx((line["rtp"] - units[0]["rtp"]) / 90_000, abs=0.001)
        assert 0 <= picture.arrived_ns - line["monotonic_ns"] + 5_000_000 < 2_000_000_000
        assert line["time"] - time.time() == pytest.approx((line["monotonic_ns"] - time.monotonic_ns()) / 1e9, abs=0.05)


def test_pictures_leave_at_their_own_times(tmp_path: Path, chart: Chart, client: Any) -> None:
    """The camera keeps to its clock: over two seconds no picture leaves more than 0.2 s from its place."""
    truth = tmp_path / "truth.jsonl"
    with FarmThread([Camera("hall", chart.path)], truth=truth) as farm, client(farm.url("hall")) as viewer:
        viewer.take(50)
    units = [line for line in read_truth(truth) if "rtp" in line]
    offsets = [line["monotonic_ns"] / 1e9 - line["rtp"] / 90_000 for line in units]
    assert max(offsets) - min(offsets) < 0.2


def test_sender_reports_give_the_cameras_clock(chart: Chart, client: Any) -> None:
    """With an offset of an hour the time in FFmpeg's side data is an hour off."""
    camera = Camera("hall", chart.path, clock_offset=3600.0, report_interval=0.5)
    with FarmThread([camera]) as farm, client(farm.url("hall")) as viewer:
        for packet in viewer.container.demux(video=0):
            data = {str(item.data_type): bytes(item) for item in packet.iter_sidedata()}
            told = next((value for name, value in data.items() if "prft" in name.lower()), None)
            if told is not None:
                break
    micros = struct.unpack("=q", told[:8])[0]
    assert micros / 1e6 - time.time() == pytest.approx(3600, abs=2)


def test_the_control_port(tmp_path: Path, chart: Chart) -> None:
    """State and faults over HTTP, as the command line offers them; a wrong one is 400 with what is allowed."""

    def call(port: int | None, path: str, method: str) -> Any:
        request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", method=method)
        with urllib.request.urlopen(request, timeout=5) as answer:
            return json.load(answer)

    async def exercise() -> None:
        async with Farm([Camera("hall", chart.path)], control_port=0) as farm:
            state = await asyncio.to_thread(call, farm.control_port, "/", "GET")
            assert state["hall"]["stalled"] is False
            state = await asyncio.to_thread(call, farm.control_port, "/hall/corrupt?value=0.25", "POST")
            assert state["hall"]["corrupt"] == 0.25
            for path, sentence in (
                ("/hall/explode", "no command 'explode'"),
                ("/yard/stall", "no camera 'yard'; there are hall"),
                ("/hall/change?value=/none.mp4", "/none.mp4 cannot be read (No such file or directory)"),
                ("/hall/jump?value=1e400", "cannot convert float infinity to integer"),
            ):
                with pytest.raises(urllib.error.HTTPError) as refused:
                    await asyncio.to_thread(call, farm.control_port, path, "POST")
                with refused.value as answer:
                    assert sentence in json.load(answer)["error"]

    asyncio.run(exercise())
