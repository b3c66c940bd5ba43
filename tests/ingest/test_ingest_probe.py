# SPDX-License-Identifier: AGPL-3.0-or-later
"""`firewitness cameras probe`: what it says of a camera is true, its settings can be used, its failures are one sentence."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from daemon import cli
from daemon.config_file import read
from daemon.simulate.chart import Chart, make_chart
from daemon.simulate.encoder import Encoding
from daemon.simulate.farm import Camera, FarmThread
from daemon.simulate.library import prepare

Probe = Callable[..., tuple[int, list[str], str]]


@pytest.fixture
def probe(capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Probe:
    """Runs the command; its exit status, its lines, and what it complains of."""
    monkeypatch.chdir(tmp_path)

    def run(url: str, *options: str) -> tuple[int, list[str], str]:
        status = cli.main(["cameras", "probe", url, *options])
        output = capsys.readouterr()
        return status, output.out.splitlines(), output.err

    return run


def values(lines: list[str]) -> dict[str, str]:
    """What is said under each word, before the settings."""
    return {line[:12].strip(): line[12:] for line in lines[: lines.index("")]}


def test_what_a_camera_sends_is_told(chart: Chart, probe: Probe) -> None:
    """Codec, size, rate, GOP, colours and clock; and settings that check-config takes."""
    with FarmThread([Camera("hall", chart.path, clock_offset=3600.0)]) as farm:
        status, lines, _ = probe(farm.url("hall"), "--seconds", "3.5")
    said = values(lines)
    assert status == 0
    assert said["codec"].startswith("H.264, profile ")
    assert said["picture"] == "320 × 240, 25 a second"
    assert 0.05 < float(said["bit rate"].split()[0]) < 5
    assert said["key frames"] == "every 25 pictures (1 s)"
    assert said["B-frames"] == "no"
    assert said["colours"] == "matrix bt709, range limited; taken as bt709, limited"
    assert said["its clock"].startswith("sent; +3600")
    assert "parameters" not in said
    assert "timestamps" not in said
    block = lines[lines.index("") + 1 :]
    assert block == ["cameras:", "  new-camera:", f"    url: '{farm.url('hall')}'"]


def test_the_password_file_is_named_for_the_settings_wherever_they_lie(
    chart: Chart, tmp_path: Path, probe: Probe
) -> None:
    """Given relative to where the command was given; the settings may lie in /etc."""
    (tmp_path / "hall.password").write_text("s3cret")
    with FarmThread([Camera("hall", chart.path)], user="viewer", password="s3cret") as farm:
        options = ("--username", "viewer", "--password-file", "hall.password", "--seconds", "1")
        status, lines, _ = probe(farm.url("hall"), *options)
    assert status == 0
    assert f"    password_file: '{tmp_path}/hall.password'" in lines


@pytest.mark.slow
def test_a_difficult_camera(tmp_path: Path, probe: Probe) -> None:
    """H.265, large, untagged, over UDP, with credentials, key frames too far apart: each is said, and what to set."""
    chart = make_chart(tmp_path / "large.mp4", size=(1920, 1080), fps=5, gop_s=3, seconds=6, tagged=False)
    hevc = prepare(chart.path, Encoding(codec="hevc", gop=15, bitrate=1_000_000), tmp_path)
    secret = tmp_path / "it's.password"
    secret.write_text("p:w?#% ä\n")
    config = tmp_path / "config.yaml"
    config.write_text("ingest: {ring_bytes: 1 MB}\n")
    camera = Camera("hall", hevc, clock_offset=None, wait_for_viewer=True)
    with FarmThread([camera], user="op@era/tor", password="p:w?#% ä") as farm:
        options = ("--username", "op@era/tor", "--password-file", str(secret), "--transport", "udp", "--seconds", "4")
        status, lines, _ = probe(farm.url("hall"), *options)
    said = values(lines)
    assert status == 0
    assert said["codec"].startswith("H.265, profile Main")
    assert said["picture"].startswith("1920 × 1080")
    assert said["key frames"].startswith("every 15 pictures (3 s), further apart than detect.max_interval")
    assert said["colours"] == "matrix not said, range limited; taken as bt709, limited"
    assert said["its clock"] == "not sent"
    assert "p:w" not in "\n".join(lines)
    block = lines[lines.index("") + 1 :]
    assert any("# detect_url" in line for line in block)
    config.write_text("\n".join(block) + "\n")
    settings = read(config).settings
    camera = settings.cameras["new-camera"]
    assert (camera.url, camera.transport, camera.username) == (farm.url("hall"), "udp", "op@era/tor")
    assert camera.password_file == secret
    assert "60 s of it do not fit into 1 MB" in block[-1]
    assert settings.ingest.ring_bytes > 1_000_000
    assert "    # colour: {matrix: bt601}   # only if its colours look wrong: it does not say its matrix" in block


@pytest.mark.slow
def test_b_frames_jumps_and_other_parameters_are_told(
    chart: Chart, with_b_frames: Path, tmp_path: Path, probe: Probe
) -> None:
    """What would begin runs, and what is sent in another order than it is shown; rate and GOP are told all the same."""
    other = make_chart(tmp_path / "full.mp4", size=chart.size, fps=25, gop_s=1, seconds=6, range_="full")
    with FarmThread([Camera("hall", with_b_frames)]) as farm:
        threading.Timer(1.5, farm.command, ("hall", "jump", 30)).start()
        threading.Timer(2.5, farm.command, ("hall", "change", str(other.path))).start()
        _, lines, _ = probe(farm.url("hall"), "--seconds", "5")
    said = values(lines)
    assert said["timestamps"].startswith("jumped 1 time;")
    assert 24 < float(said["picture"].split(", ")[1].split()[0]) < 27
    assert said["B-frames"] == "yes"
    assert said["parameters"] == "2 different ones came; each change begins a run"


def answering(answer: Callable[[socket.socket], None]) -> Iterator[int]:
    """A server that treats every connection so; its port."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()

        def serve() -> None:
            while True:
                try:
                    connection, _ = listening.accept()
                except OSError:
                    return
                with connection:
                    try:
                        answer(connection)
                    except OSError:
                        continue

        threading.Thread(target=serve, daemon=True).start()
        yield listening.getsockname()[1]
        listening.shutdown(socket.SHUT_RDWR)


SOUND = (
    "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=x\r\nc=IN IP4 0.0.0.0\r\nt=0 0\r\nm=audio 0 RTP/AVP 0\r\na=control:track0\r\n"
)


SOUND_AND_VIDEO = SOUND + "m=video 0 RTP/AVP 96\r\na=rtpmap:96 H264/90000\r\na=control:track1\r\n"


def speak_sound(connection: socket.socket) -> None:
    """An RTSP server that has a microphone only."""
    speak(connection, SOUND, [])


def speak(connection: socket.socket, description: str, asked: list[str]) -> None:
    """An RTSP server with that session description; `asked` is what it is asked for."""
    data = b""
    while part := connection.recv(4096):
        data += part
        while b"\r\n\r\n" in data:
            head, data = data.split(b"\r\n\r\n", 1)
            number = next(line.split(b":")[1].strip() for line in head.split(b"\r\n") if line.startswith(b"CSeq"))
            lines = ["RTSP/1.0 200 OK", f"CSeq: {number.decode()}", "Session: 1"]
            method, body = head.split(b" ")[0], ""
            if method == b"OPTIONS":
                lines.append("Public: OPTIONS, DESCRIBE, SETUP, PLAY, TEARDOWN")
            elif method == b"DESCRIBE":
                body = description
                lines += ["Content-Type: application/sdp", f"Content-Length: {len(body)}"]
            elif method == b"SETUP":
                lines.append("Transport: RTP/AVP/TCP;unicast;interleaved=0-1")
            asked.append(head.split(b"\r\n")[0].decode())
            connection.sendall("\r\n".join([*lines, "", body]).encode())
            if method == b"PLAY":
                packet = b"\x80\x00" + bytes(10) + bytes(160)
                connection.sendall((b"$\x00" + len(packet).to_bytes(2, "big") + packet) * 50)


@pytest.mark.parametrize(
    ("serve", "says"),
    [
        (lambda connection: connection.sendall(b"HTTP/1.0 400 Bad Request\r\n\r\n"), "does not speak RTSP"),
        (speak_sound, "the camera sends no video"),
    ],
)
def test_what_is_no_camera_is_said(serve: Callable[[socket.socket], None], says: str, probe: Probe) -> None:
    """In one sentence, with exit status 2."""
    for port in answering(serve):
        status, lines, complaint = probe(f"rtsp://127.0.0.1:{port}/hall")
        assert (status, lines) == (2, [])
        assert says in complaint
        assert complaint.count("\n") == 1


def test_sound_is_not_asked_for(probe: Probe) -> None:
    """It would hide that the pictures have stopped, and take their PTS from the camera's clock (RTCP sender reports)."""
    asked: list[str] = []

    def serve(connection: socket.socket) -> None:
        connection.settimeout(1.0)  # it closes once nothing more is asked
        speak(connection, SOUND_AND_VIDEO, asked)

    for port in answering(serve):
        probe(f"rtsp://127.0.0.1:{port}/hall", "--seconds", "1")
    setups = [each for each in asked if each.startswith("SETUP")]
    assert len(setups) == 1
    assert "track1" in setups[0]


def test_failures_are_one_sentence(chart: Chart, probe: Probe, tmp_path: Path) -> None:
    """Nobody there, no such stream, wrong credentials, credentials in the address, no terminal, no file."""
    wrong = tmp_path / "wrong"
    wrong.write_text("wrong")
    with FarmThread([Camera("hall", chart.path)], user="viewer", password="right") as farm:
        url = farm.url("hall")
        cases = [
            (("rtsp://127.0.0.1:9/hall",), "the camera cannot be reached: nothing listens at its address and port"),
            ((url,), "the camera refuses the credentials"),
            ((url, "--username", "viewer", "--password-file", str(wrong)), "the camera refuses the credentials"),
            ((url, "--username", "viewer"), "there is no terminal to ask for the password"),
            ((url, "--username", "viewer", "--password-file", "none"), "none cannot be read"),
            ((url, "--password-file", str(wrong)), "a password needs a username"),
            (
                (url.replace("//", "//viewer:right@"),),
                "an address must not hold credentials: give them as --username and --password-file",
            ),
            (("http://127.0.0.1/",), "write an RTSP address"),
            ((url, "--seconds", "0"), "--seconds: from 1 to 300"),
        ]
        for arguments, says in cases:
            status, lines, complaint = probe(*arguments)
            assert (status, lines) == (2, []), arguments
            assert says in complaint
            assert complaint.count("\n") == 1
            assert "right" not in complaint
