# SPDX-License-Identifier: AGPL-3.0-or-later
"""The command line of the farm of simulated cameras."""

from __future__ import annotations

import argparse
import re
from fractions import Fraction
from pathlib import Path

from daemon.errors import SettingsError
from daemon.simulate.bitstream import CODECS
from daemon.simulate.camera import Camera
from daemon.simulate.encoder import Encoding
from daemon.simulate.faults import COMMANDS
from daemon.simulate.library import default_cache


def parse_size(text: str) -> tuple[int, int]:
    """`1280x720` as width and height in pixels."""
    if not (found := re.fullmatch(r"([1-9]\d{0,4})x([1-9]\d{0,4})", text.lower())):
        raise argparse.ArgumentTypeError(f"{text!r} is not WIDTHxHEIGHT, such as 1280x720")
    return int(found[1]), int(found[2])


def parse_bitrate(text: str) -> int:
    """`3M`, `800k` or `500000` as bits a second."""
    if not (found := re.fullmatch(r"(\d+(?:\.\d+)?)([km]?)", text.lower())) or float(found[1]) == 0:
        raise argparse.ArgumentTypeError(f"{text!r} is no bit rate, such as 3M, 800k or 500000")
    return round(float(found[1]) * {"": 1, "k": 1_000, "m": 1_000_000}[found[2]])


def parse_rate(text: str) -> Fraction:
    """`25` or `30000/1001` as pictures a second."""
    try:
        rate = Fraction(text)
    except (ValueError, ZeroDivisionError):
        rate = Fraction(0)
    if not 0 < rate <= 1000:
        raise argparse.ArgumentTypeError(f"{text!r} is no rate of pictures, such as 25 or 30000/1001")
    return rate


def parse_count(text: str) -> int:
    """A whole number from 1 on."""
    if not re.fullmatch(r"[1-9]\d{0,5}", text):
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number from 1 on")
    return int(text)


def parse_port(text: str) -> int:
    """Of TCP; 0 for one that is free."""
    if not text.isdecimal() or int(text) > 65535:
        raise argparse.ArgumentTypeError(f"{text!r} is no port, from 0 to 65535")
    return int(text)


def parse_pair(text: str) -> tuple[str, str]:
    """`NAME=VALUE`."""
    name, found, value = text.partition("=")
    if not found or not name:
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=VALUE")
    return name, value


def parse_offset(text: str) -> tuple[str, float | None]:
    """`NAME=SECONDS`, or `NAME=none` for a camera that does not tell its clock."""
    name, value = parse_pair(text)
    if value == "none":
        return name, None
    try:
        return name, float(value)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is neither NAME=SECONDS nor NAME=none") from None


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
    add("--port", type=parse_port, default=8554)
    add("--control-port", type=parse_port)
    add("--truth", type=Path, metavar="FILE", help="JSON lines: every access unit sent")
    add("--size", type=parse_size, metavar="WxH")
    add("--fps", type=parse_rate)
    add("--gop", type=parse_count, help="frames from key frame to key frame")
    add("--bitrate", type=parse_bitrate, metavar="3M")
    add("--codec", choices=sorted(CODECS))
    add("--at-end", choices=("loop", "once", "hold"), default="loop")
    add("--join-anywhere", action="store_true", help="do not wait for a key frame")
    add("--wait-for-viewer", action="store_true", help="start each clip at its first PLAY")
    add("--clock-offset", type=parse_offset, action="append", default=[], metavar="NAME=SECONDS|none")
    add("--user", default="")
    add("--password", default="")
    add("--cache", type=Path, default=default_cache(), help="folder of transcoded clips")
    return parser.parse_args(arguments)


def cameras_from(options: argparse.Namespace) -> list[Camera]:
    """The cameras that a command line asks for.

    Raises SettingsError for a name that is given twice, or that no camera has.
    """
    names = [name for name, _ in options.camera]
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise SettingsError(f"--camera {twice}: each name may stand once")
    offsets = dict(options.clock_offset)
    if strange := next((name for name in offsets if name not in names), None):
        raise SettingsError(f"--clock-offset {strange}: there is no such camera; there are {', '.join(names)}")
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
