# SPDX-License-Identifier: AGPL-3.0-or-later
"""The command line: parses, calls one module of daemon/commands, and turns errors into one line and a status.

Status: 0 done, 1 the answer is no (verify found a break), 2 it could not be done.
"""

from __future__ import annotations

import argparse
import codecs
import importlib
import io
import os
import sys
from collections.abc import Callable
from pathlib import Path

from daemon import __version__
from daemon.errors import FirewitnessError

COMMANDS = {
    "run": "watch the cameras until stopped (Ctrl-C, SIGTERM)",
    "check-config": "check the settings file, and say what would be watched",
    "cameras": "probe: what a camera sends, and the settings for it",
    "reload": "take over the cameras of the changed settings file, without a gap in the others",
    "capture": "keep what cameras saw just now and see from now on, whatever the detector says",
    "drill": "the test button: a simulated fire through the whole running daemon",
    "doctor": "is this host fit for these settings, and what to do where it is not",
    "status": "how cameras, detector and disk are now",
    "model": "the network that looks: list, add, use, export",
    "bench": "how fast each runtime is on this host, and how many cameras that is",
    "detect": "look for fire and smoke in picture files",
    "analyse": "go back once more for an incident, from its stored clip; the analysis before stays",
    "purge": "remove evidence older than the retention now instead of within the hour",
    "capacity": "for how long evidence will be kept, and what these settings need of a host",
    "verify": "check ledger, files and index against each other",
    "reindex": "make the index anew from ledger and stills, while the daemon is stopped",
    "init": "begin a new store where another one was known",
    "clock": "accept: trust the host's clock for the purge as it is now",
}


_CONFIG = "the settings file (default: ./config.yaml)"


def parser() -> argparse.ArgumentParser:
    """Every command and its options."""
    top = argparse.ArgumentParser(
        prog="firewitness", description="Watches fixed cameras for fire and smoke and keeps evidence."
    )
    top.add_argument("--version", action="version", version=f"firewitness {__version__}")
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")
    made = {}
    for name, text in COMMANDS.items():
        made[name] = commands.add_parser(name, help=text, description=text[0].upper() + text[1:] + ".")
        made[name].add_argument("--config", type=Path, metavar="FILE", help=_CONFIG)
    probed = made["cameras"]
    probed.add_argument("what", choices=["probe"])
    probed.add_argument("url", metavar="URL", help="the camera's address, such as rtsp://10.0.0.21/stream1")
    probed.add_argument("--username", metavar="NAME", help="the password is asked for, unless --password-file names it")
    probed.add_argument("--password-file", type=Path, metavar="FILE")
    probed.add_argument("--transport", choices=["tcp", "udp"], default="tcp")
    probed.add_argument("--seconds", type=float, default=10.0, metavar="S", help="how long to look (default: 10)")
    made["detect"].add_argument("files", nargs="+", metavar="FILE")
    made["detect"].add_argument(
        "--json", action="store_true", help="one JSON object a picture, as /fire_detector answers"
    )
    _model(made["model"])
    made["bench"].add_argument("--weights", type=Path, metavar="FILE", help="other weights than those in use")
    made["bench"].add_argument("--seconds", type=float, default=5.0, metavar="S", help="each (default: 5)")
    made["doctor"].add_argument("--json", action="store_true", help="all findings as one JSON array")
    made["analyse"].add_argument(
        "incident", nargs="?", metavar="INCIDENT", help="its id, as the page and the API have it"
    )
    made["analyse"].add_argument("--video", type=Path, metavar="FILE", help="import a recording from elsewhere instead")
    made["analyse"].add_argument(
        "--start", metavar="TIME", help="when it begins, such as 2026-11-23T16:05:09Z: claimed"
    )
    made["analyse"].add_argument("--camera", metavar="NAME", help="under which name (default: imported)")
    made["analyse"].add_argument("--model", type=Path, metavar="FILE", help="other weights than the daemon's")
    made["purge"].add_argument(
        "--dry-run",
        action="store_true",
        help="only say what would go (a daemon that is stopped leaves its ledger a few lines longer by it)",
    )
    made["purge"].add_argument("--all-due", action="store_true", help="also when it is more than 10 %% of all evidence")
    made["capacity"].add_argument("--json", action="store_true", help="one JSON object, in bytes, bits and seconds")
    made["verify"].add_argument("root", nargs="?", type=Path, metavar="STORE", help="a store elsewhere, such as a copy")
    made["init"].add_argument(
        "--new-store", action="store_true", required=True, help="confirms that the old store is given up"
    )
    which = made["capture"].add_mutually_exclusive_group(required=True)
    which.add_argument("--camera", action="append", dest="cameras", metavar="NAME", help="may be given several times")
    which.add_argument("--site", metavar="NAME", help="the enabled cameras of that site")
    which.add_argument("--all", action="store_true", help="all enabled cameras")
    made["capture"].add_argument("--before", default="30 s", metavar="TIME", help="how far back, such as 30s (default)")
    made["capture"].add_argument("--after", default="30 s", metavar="TIME", help="how long from now on (default: 30s)")
    made["capture"].add_argument(
        "reason", nargs="+", metavar="REASON", help="why, in your words: it stands in the incident"
    )
    made["drill"].add_argument("--clip", type=Path, metavar="FILE", help="a video to show instead of the drawn fire")
    made["clock"].add_argument("what", choices=["accept"])
    return top


def _model(command: argparse.ArgumentParser) -> None:
    what = command.add_subparsers(dest="what", required=True, metavar="WHAT")
    listed = what.add_parser("list", help="which there are, and which one is in use")
    added = what.add_parser("add", help="check a model on this host, and keep it where it is in")
    added.add_argument("file", type=Path, metavar="FILE", help=".onnx, .xml with .bin, or .engine")
    added.add_argument("--name", metavar="NAME", help="(default: the file's)")
    used = what.add_parser("use", help="go over to a model while all goes on")
    used.add_argument("name", metavar="NAME", help="as list says; configured: the settings' own")
    removed = what.add_parser("remove", help="remove a model that was added and is not in use")
    removed.add_argument("name", metavar="NAME", help="as list says")
    exported = what.add_parser("export", help="make of weights what the daemon loads")
    exported.add_argument(
        "file", type=Path, metavar="FILE", help="a .pt of Ultralytics (it runs its code: your own), or an .onnx"
    )
    exported.add_argument("--to", choices=["onnx", "openvino", "engine"], required=True)
    exported.add_argument("--out", type=Path, metavar="FILE", help="(default: beside it)")
    for each in (listed, added, used, removed, exported):  # before or behind WHAT; behind, it counts
        each.add_argument("--config", type=Path, metavar="FILE", default=argparse.SUPPRESS, help=_CONFIG)


def main(arguments: list[str] | None = None) -> int:
    """The exit status."""
    _prepare_output()
    options = parser().parse_args(arguments)
    module = importlib.import_module("daemon.commands." + options.command.replace("-", "_"))
    return status_of(lambda: module.run(options), f"firewitness {options.command}")


def status_of(run: Callable[[], int], name: str) -> int:
    """What a command gives back, with its answer out; an error is told in one line, which begins with the command's `name`."""
    try:
        status = run()
        sys.stdout.flush()  # what cannot be written any more must not be found out when the status has been given
    except FirewitnessError as error:
        print(f"{name}: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        _give_output_up()  # its reader, such as head, has enough; what it missed may have been the answer
        return 2
    except OSError as error:
        _give_output_up()
        place = f"{error.filename}: " if error.filename is not None else ""
        print(f"{name}: {place}{error.strerror or error}", file=sys.stderr)
        return 2
    return status


def _prepare_output() -> None:
    """Whoever asks may have closed them, and his terminal may know few letters: neither must cost him the answer."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115 — for the process's life
    if isinstance(sys.stdout, io.TextIOWrapper):
        codecs.register_error("firewitness", _as_far_as_it_goes)
        sys.stdout.reconfigure(errors="firewitness")


def _as_far_as_it_goes(error: UnicodeError) -> tuple[str | bytes, int]:
    """A file's name that is no UTF-8 as it is; a letter that the terminal does not know by its number."""
    try:
        return codecs.lookup_error("surrogateescape")(error)
    except UnicodeError:
        return codecs.backslashreplace_errors(error)


def _give_output_up() -> None:
    """What cannot be written now would fail again at the process's end, and change its status."""
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
