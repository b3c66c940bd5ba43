# SPDX-License-Identifier: AGPL-3.0-or-later
"""The command line of the farm of simulated cameras."""

from __future__ import annotations

import argparse
from fractions import Fraction
from pathlib import Path

from daemon.simulate.bitstream import CODECS
from daemon.simulate.camera import Camera
from daemon.simulate.encoder import Encoding
from daemon.simulate.faults import COMMANDS
from daemon.simulate.library import default_cache


def parse_size(text: str) -> tuple[int, int]:
    """`1280x720` as width and height in pixels."""
    width, height = text.lower().split("x")
    return int(width), int(height)


def parse_bitrate(text: str) -> int:
    """`3M`, `800k` or `500000` as bits a second."""
    scale = {"k": 1_000, "m": 1_000_000}.get(text[-1].lower())
    return round(float(text[:-1]) * scale) if scale else int(text)


def parse_pair(text: str) -> tuple[str, str]:
    """`NAME=VALUE`."""
    name, found, value = text.partition("=")
    if not found or not name:
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=VALUE")
    return name, value


def parse_arguments(arguments: list[str] | None = None) -> argparse.Namespace:
    """The options of `python -m daemon.simulate.farm`."""
    faults = "; ".join(f"{name}: {what}" for name, what in COMMANDS.items())
    parser = argparse.ArgumentParser(
        prog="python -m daemon.simulate.farm",
        description="Plays video files as live RTSP cameras on loopback.",
        epilog=f"Faults (POST /CAMERA/COMMAND?value=V on the control port): {faults}",
    )
    add = parser.add_argument
    add("--camera", type=parse_pair, action="append", required=True, metavar="NAME=FILE")
    add("--host", default="127.0.0.1", help="a loopback address")
    add("--port", type=int, default=8554)
    add("--control-port", type=int)
    add("--truth", type=Path, metavar="FILE", help="JSON lines: every access unit sent")
    add("--size", type=parse_size, metavar="WxH")
    add("--fps", type=Fraction)
    add("--gop", type=int, help="frames from key frame to key frame")
    add("--bitrate", type=parse_bitrate, metavar="3M")
    add("--codec", choices=sorted(CODECS))
    add("--at-end", choices=("loop", "once", "hold"), default="loop")
    add("--join-anywhere", action="store_true", help="do not wait for a key frame")
    add("--wait-for-viewer", action="store_true", help="start each clip at its first PLAY")
    add("--clock-offset", type=parse_pair, action="append", default=[], metavar="NAME=SECONDS|none")
    add("--user", default="")
    add("--password", default="")
    add("--cache", type=Path, default=default_cache(), help="folder of transcoded clips")
    return parser.parse_args(arguments)


def cameras_from(options: argparse.Namespace) -> list[Camera]:
    """The cameras that a command line asks for."""
    offsets = {name: None if value == "none" else float(value) for name, value in options.clock_offset}
    encoding = Encoding(options.size, options.fps, options.gop, options.bitrate, options.codec)
    return [
        Camera(
            name,
            source,
            encoding,
            at_end=options.at_end,
            clock_offset=offsets.get(name, 0.0),
            join_anywhere=options.join_anywhere,
            wait_for_viewer=options.wait_for_viewer,
            seed=number,
        )
        for number, (name, source) in enumerate(options.camera, 1)
    ]
