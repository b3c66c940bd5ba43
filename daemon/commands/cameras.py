# SPDX-License-Identifier: AGPL-3.0-or-later
"""`firewitness cameras probe URL`: what a camera sends, and the settings for it."""

from __future__ import annotations

import argparse
import sys
from getpass import getpass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from daemon.clock import host_clocks
from daemon.commands import settings as settings_of
from daemon.errors import SettingsError
from daemon.ingest.planning import Sockets, plan_for
from daemon.ingest.probe import Found, probe
from daemon.ingest.stream import DECODABLE
from daemon.secrets import password_of
from daemon.settings import CameraSettings, Settings

NAME = "new-camera"
LARGE_PX = 1280 * 720
"""A picture larger than this is worth a sub-stream for detection."""


def run(options: argparse.Namespace) -> int:
    """0 when it sends what can be watched."""
    if not 1 <= options.seconds <= 300:
        raise SettingsError("--seconds: from 1 to 300")
    settings = settings_of.of_or_defaults(options.config)
    camera = _camera(options)
    password = password_of(camera, "--password-file")
    settings = settings.model_copy(update={"cameras": {NAME: camera}})
    nowhere = Sockets(Path(), Path())
    found = probe(plan_for(settings, NAME, password, nowhere), options.seconds, host_clocks())
    print("\n".join([*told(found, settings), "", *block(found, camera, settings)]))
    return 0


def _camera(options: argparse.Namespace) -> CameraSettings:
    given: dict[str, Any] = {"url": options.url, "transport": options.transport, "username": options.username}
    if options.password_file is not None:
        given["password_file"] = options.password_file
    elif options.username is not None:
        given["password"] = _asked(options.username)
    try:
        return CameraSettings.model_validate(given)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        what = first["msg"].removeprefix("Value error, ")
        what = what.replace("the keys username and password or password_file", "--username and --password-file")
        raise SettingsError(f"{place}{': ' * bool(place)}{what}") from None


def _asked(username: str) -> str:
    if not sys.stdin.isatty():
        raise SettingsError("there is no terminal to ask for the password: name a file with --password-file")
    return getpass(f"Password of {username}: ")


def told(found: Found, settings: Settings) -> list[str]:
    """What it sends, for a person."""
    matrix, range_ = (tag or "not said" for tag in found.tags)
    clock = "not sent" if found.clock_offset_s is None else f"sent; {found.clock_offset_s:+.1f} s against this host's"
    lines = [
        f"codec       {DECODABLE[found.codec]}{f', profile {found.profile}' * bool(found.profile)}, {found.pixel_format}",
        f"picture     {found.width_px} × {found.height_px}, {found.frames_per_s:.4g} a second",
        f"bit rate    {found.bits_per_s / 1e6:.3g} Mbit/s, the largest picture {found.largest_bytes / 1e3:,.0f} kB",
        f"key frames  {_key_frames(found, settings)}",
        f"B-frames    {'yes' if found.b_frames else 'no'}",
        f"colours     matrix {matrix}, range {range_}; taken as {found.taken_as.matrix}, {found.taken_as.range}",
        f"its clock   {clock}",
    ]
    if found.parameter_sets != 1:
        few = (
            "come only at the connection" if not found.parameter_sets else f"{found.parameter_sets} different ones came"
        )
        lines.append(f"parameters  {few}{'; each change begins a run' * (found.parameter_sets > 1)}")
    if found.jumps:
        lines.append(f"timestamps  jumped {found.jumps} time{'s' * (found.jumps > 1)}; each jump begins a run")
    return lines


def _key_frames(found: Found, settings: Settings) -> str:
    if not found.gops:
        return "fewer than two came; look longer with --seconds"
    shortest, longest = min(found.gops), max(found.gops)
    frames = f"{shortest.frames}" if shortest.frames == longest.frames else f"{shortest.frames} to {longest.frames}"
    text = f"every {frames} pictures ({longest.seconds:.3g} s)"
    interval_s = settings.detect.max_interval
    if longest.seconds > 1.1 * interval_s:
        return f"{text}, further apart than detect.max_interval: every picture has to be decoded; {interval_s:g} s would cost an eighth"
    return text


def block(found: Found, camera: CameraSettings, settings: Settings) -> list[str]:
    """The settings for it, as they can be pasted under `cameras:`."""
    lines = ["cameras:", f"  {NAME}:", f"    url: {_quoted(camera.url)}"]
    if camera.transport != "tcp":
        lines.append(f"    transport: {camera.transport}")
    if camera.username is not None:
        lines.append(f"    username: {_quoted(camera.username)}")
        lines.append(f"    password_file: {_quoted(_password_file(camera))}")
    if found.width_px * found.height_px > LARGE_PX:
        lines.append("    # detect_url: the address of a smaller stream, if it has one: watching it costs a fraction")
    lines += _colour_hints(found)
    needed, held = found.ring_bytes(settings.ingest.ring_seconds), settings.ingest.ring_bytes
    if needed > held:
        megabytes = -(-needed // 1_000_000)
        lines += [
            "ingest:",
            f"  ring_bytes: {megabytes} MB   # {settings.ingest.ring_seconds:g} s of it do not fit into {held / 1e6:g} MB",
        ]
    return lines


def _password_file(camera: CameraSettings) -> str:
    """As the settings file has to name it, which may lie in another folder than where the command was given."""
    return f"{NAME}.password" if camera.password_file is None else str(camera.password_file.absolute())


def _colour_hints(found: Found) -> list[str]:
    """Keys that say what the stream does not, to be set where its colours look wrong."""
    missing = [name for name, tag in zip(("matrix", "range"), found.tags, strict=True) if tag is None]
    if not missing:
        return []
    others = {
        "matrix": "bt601" if found.taken_as.matrix == "bt709" else "bt709",
        "range": "full" if found.taken_as.range == "limited" else "limited",
    }
    keys = ", ".join(f"{name}: {others[name]}" for name in missing)
    return [f"    # colour: {{{keys}}}   # only if its colours look wrong: it does not say its {' and '.join(missing)}"]


def _quoted(value: str) -> str:
    """As it can stand in the settings file."""
    return "'" + value.replace("'", "''") + "'"
