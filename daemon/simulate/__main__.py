# SPDX-License-Identifier: AGPL-3.0-or-later
"""The simulated camera of those who have none: draws its scene at the first start, then plays it on loopback.

Started as `python -m daemon.simulate --cache DIR [--clip FILE] [--listen-fd N] [--lifeline-fd N]`.
"""

from __future__ import annotations

import argparse
import asyncio
import signal
import socket
import sys
from pathlib import Path

from daemon.errors import FirewitnessError
from daemon.lifeline import watch
from daemon.simulate.farm import Camera, Farm
from daemon.simulate.library import default_cache
from daemon.simulate.recording import recorded_scene, recording_path

NAME = "simulated"  # the camera's, and its path in the URL


def parse_arguments(arguments: list[str] | None = None) -> argparse.Namespace:
    """The options of `python -m daemon.simulate`."""
    parser = argparse.ArgumentParser(
        prog="python -m daemon.simulate", description="A drawn scene in which a fire breaks out, as an RTSP camera."
    )
    add = parser.add_argument
    add("--cache", type=Path, default=default_cache(), metavar="DIR", help="where the drawn clip is kept")
    add("--clip", type=Path, metavar="FILE", help="play this video instead of the drawn scene")
    add("--listen-fd", type=int, metavar="N", help="a listening socket to serve; without one, a free port of 127.0.0.1")
    add("--lifeline-fd", type=int, metavar="N", help="end at this pipe's end of file")
    return parser.parse_args(arguments)


async def serve(clip: Path, options: argparse.Namespace) -> None:
    """Plays the clip until SIGTERM or SIGINT; it starts at its first viewer, so that every run sees the same."""
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    camera = Camera(NAME, clip, wait_for_viewer=True)
    listening = socket.socket(fileno=options.listen_fd) if options.listen_fd is not None else None
    async with Farm([camera], listening=listening, cache=options.cache) as farm:
        if listening is None:
            print(farm.url(NAME), flush=True)
        await stop.wait()


def main() -> int:
    """The process's life; returns its exit status."""
    options = parse_arguments()
    if options.lifeline_fd is not None:
        watch(options.lifeline_fd)
    for number in (signal.SIGTERM, signal.SIGINT):  # drawing takes seconds: it can be broken off too
        signal.signal(number, lambda *_: sys.exit(0))
    if options.clip is None and not recording_path(options.cache).exists():
        print("the simulated camera draws its scene, once; this takes about 10 s", file=sys.stderr, flush=True)
    try:
        asyncio.run(serve(options.clip or recorded_scene(options.cache), options))
    except (FirewitnessError, OSError) as error:
        print(f"the simulated camera cannot run: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
