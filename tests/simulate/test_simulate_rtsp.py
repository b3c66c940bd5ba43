# SPDX-License-Identifier: AGPL-3.0-or-later
"""A farm's cameras as an ordinary RTSP client sees them: same pixels, both transports, credentials, refusals."""

from __future__ import annotations

import base64
import socket
from itertools import pairwise
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import av
import pytest

from daemon.errors import FirewitnessError, SettingsError
from daemon.simulate.chart import Chart
from daemon.simulate.farm import Camera, Encoding, Farm, FarmThread
from daemon.simulate.truth import read_truth

FRAMES = 150


def ask(url: str, method: str, **headers: str) -> tuple[int, str]:
    """One RTSP request on a connection of its own: the status and the head of the answer."""
    parts = urlsplit(url)
    lines = [f"{method} {url} RTSP/1.0", "CSeq: 7", *(f"{name}: {value}" for name, value in headers.items())]
    with socket.create_connection((parts.hostname, parts.port), timeout=5) as connection:
        connection.sendall("\r\n".join([*lines, "", ""]).encode())
        head = b""
        while b"\r\n\r\n" not in head:
            head += connection.recv(4096)
    return int(head.split(b" ")[1]), head.decode()


@pytest.mark.parametrize("transport", ["tcp", "udp"])
def test_the_pixels_are_the_files(transport: str, chart: Chart, truth_of_file: dict[int, str], client: Any) -> None:
    """Over both transports every picture arrives, from a key frame on, in order, with the file's own pixels."""
    with FarmThread([Camera("hall", chart.path)]) as farm, client(farm.url("hall"), transport) as viewer:
        pictures = viewer.take(40)
    numbers = [picture.number for picture in pictures]
    assert numbers[0] is not None
    assert numbers[0] % 10 == 0
    assert numbers == [(numbers[0] + place) % FRAMES for place in range(40)]
    assert [picture.digest for picture in pictures] == [truth_of_file[number] for number in numbers]


def test_times_rise_through_the_end_of_the_clip(brief: Chart, client: Any) -> None:
    """A looped clip goes on counting: no jump in the times where it begins again."""
    camera = Camera("hall", brief.path, wait_for_viewer=True, clock_offset=None)
    with FarmThread([camera]) as farm, client(farm.url("hall")) as viewer:
        pictures = viewer.take(60)
    assert [picture.number for picture in pictures] == [*range(25), *range(25), *range(10)]
    steps = [later.pts_s - earlier.pts_s for earlier, later in pairwise(pictures)]
    assert steps == pytest.approx([1 / 25] * len(steps), abs=0.002)


def test_a_clip_can_be_encoded_anew(chart: Chart, cache: Path, client: Any) -> None:
    """Size, rate, key frames and codec can be chosen; what was encoded is kept for the next time."""
    encoding = Encoding(size=(160, 120), fps=10, gop=5, bitrate=400_000, codec="hevc")
    camera = Camera("hall", chart.path, encoding)
    for _ in range(2):
        with FarmThread([camera], cache=cache) as farm, client(farm.url("hall")) as viewer:
            picture = viewer.take(3)[-1]
            stream = viewer.container.streams.video[0]
            assert (stream.codec_context.name, picture.size) == ("hevc", (160, 120))
        made = [path.name for path in cache.iterdir()]
        assert len(made) == 1
        assert made[0].endswith(".mp4")


def test_credentials(chart: Chart, client: Any) -> None:
    """With a password, a client without it or with a wrong one is refused with 401, the right one sees pictures."""
    with FarmThread([Camera("hall", chart.path)], user="u", password="p:/@") as farm:
        url = farm.url("hall")
        with pytest.raises(av.error.HTTPUnauthorizedError):
            client(url)
        with pytest.raises(av.error.HTTPUnauthorizedError):
            client(url.replace("//", "//u:wrong@"))
        with client(url.replace("//", "//u:p%3A%2F%40@")) as viewer:  # FFmpeg chooses Digest
            assert viewer.take(1)[0].number is not None
        good, bad = (base64.b64encode(text).decode() for text in (b"u:p:/@", b"u:p"))
        assert ask(url, "DESCRIBE", Authorization=f"Basic {good}")[0] == 200
        status, head = ask(url, "DESCRIBE", Authorization=f"Basic {bad}")
        assert (status, head.count("WWW-Authenticate")) == (401, 2)
        assert ask(url, "DESCRIBE", Authorization='Digest username="u"')[0] == 401
        assert ask(url, "OPTIONS")[0] == 200


def test_what_is_not_served(chart: Chart, client: Any) -> None:
    """Unknown cameras, methods, transports and sessions get the status that the standard gives them."""
    with FarmThread([Camera("hall", chart.path)]) as farm:
        url = farm.url("hall")
        assert ask(farm.url("yard"), "DESCRIBE")[0] == 404
        assert ask(url, "RECORD")[0] == 501
        assert ask(url, "SETUP", Transport="RTP/AVP;multicast;client_port=5000-5001")[0] == 461
        assert ask(url, "PLAY", Session="no")[0] == 454
        assert ask(url, "PLAY")[0] == 454
        with client(url) as viewer:
            assert viewer.take(1)


@pytest.mark.parametrize("host", ["0.0.0.0", "192.168.1.5", "::", "camera.example"])
def test_only_loopback(host: str, chart: Chart) -> None:
    """A simulated camera cannot be offered to a network."""
    with pytest.raises(SettingsError, match="loopback"):
        Farm([Camera("hall", chart.path)], host=host)


def test_an_unreadable_source_is_told(tmp_path: Path, chart: Chart) -> None:
    """A missing file fails where the farm is started, not later in a thread; the other cameras' files are released."""
    with pytest.raises(FirewitnessError, match=r"none\.mp4 cannot be read \(No such file or directory\)"):
        FarmThread([Camera("hall", chart.path), Camera("yard", tmp_path / "none.mp4")]).__enter__()


def test_viewers_come_and_go(tmp_path: Path, chart: Chart, client: Any) -> None:
    """A second viewer does not disturb the first, and who has left is not counted any more."""
    truth = tmp_path / "truth.jsonl"
    with FarmThread([Camera("hall", chart.path)], truth=truth) as farm, client(farm.url("hall")) as first:
        first.take(2)
        with client(farm.url("hall"), "udp") as second:
            second.take(12)
        numbers = [picture.number for picture in first.take(40)]
        assert all((later - earlier) % FRAMES == 1 for earlier, later in pairwise(numbers))
        assert {1, 2} <= {line["viewers"] for line in read_truth(truth) if "rtp" in line}
        first.until(lambda _: farm.state()["hall"]["viewers"] == 1)


def test_a_viewer_can_join_between_key_frames(tmp_path: Path, chart: Chart, client: Any) -> None:
    """With `join_anywhere` the first access unit sent is whichever is next, as some cameras do."""
    truth = tmp_path / "truth.jsonl"
    camera = Camera("hall", chart.path, Encoding(gop=150), join_anywhere=True)
    with FarmThread([camera], truth=truth, cache=tmp_path) as farm:
        while int(str(farm.state()["hall"]["frame"])) < 3:
            pass
        status, head = ask_to_play(farm.url("hall"), truth)
    assert status == 200
    assert "RTP/AVP/TCP" in head
    assert next(line for line in read_truth(truth) if "rtp" in line)["key"] is False


def ask_to_play(url: str, truth: Path) -> tuple[int, str]:
    """SETUP and PLAY by hand, until something was sent: FFmpeg would wait for a key frame."""
    parts = urlsplit(url)
    with socket.create_connection((parts.hostname, parts.port), timeout=5) as connection:
        transport = "Transport: RTP/AVP/TCP;unicast;interleaved=0-1"
        connection.sendall(f"SETUP {url}/track0 RTSP/1.0\r\nCSeq: 1\r\n{transport}\r\n\r\n".encode())
        head = connection.recv(4096).decode()
        connection.sendall(f"PLAY {url} RTSP/1.0\r\nCSeq: 2\r\n\r\n".encode())
        while not any("rtp" in line for line in read_truth(truth)):
            assert connection.recv(4096)
    return int(head.split(" ")[1]), head
