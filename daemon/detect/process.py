# SPDX-License-Identifier: AGPL-3.0-or-later
"""The detector process: `python -m daemon.detect.process --lifeline FD --settings FD --control FD --listen FD`.

One for all cameras and for POST. Weights that cannot be used do not end it: it says so in its beat and answers "not
ready", so that recording goes on and nothing is restarted in a loop.
"""

from __future__ import annotations

import signal
import socket
import sys
from collections.abc import Callable
from pathlib import Path

from daemon import log
from daemon.child import descriptors, settings_in
from daemon.detect.detector import FireDetector
from daemon.detect.inference import Inference
from daemon.detect.service import Service
from daemon.detect.tiling import tile_side_px
from daemon.detect.verifier import verify_in
from daemon.errors import PeerGone
from daemon.lifeline import watch


def main() -> int:
    """Returns the exit status."""
    arguments = descriptors("daemon.detect.process", "lifeline", "settings", "control", "listen")
    watch(arguments.lifeline)
    log.set_up("detector")
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the supervisor's
    settings = settings_in(arguments.settings)
    detect = settings.detect

    def load(weights: Path = detect.weights, sha256: str | None = detect.weights_sha256) -> FireDetector:
        return FireDetector(
            weights,
            sha256=sha256,
            device=detect.device,
            input_px=detect.input_px,
            batch=detect.batch,
            allow_pickle=detect.allow_pickle,
            closer=detect.closer_look,
            verify=verify_in(detect),
            other_px=(min(detect.sub_stream_px, detect.input_px),) if detect.sub_stream_px is not None else (),
        )

    def make_inference(wake: Callable[[], None]) -> Inference:
        return Inference(load, detect.batch, detect.floor, wake)

    service = Service(
        control=socket.socket(fileno=arguments.control),
        listening=socket.socket(fileno=arguments.listen),
        make_inference=make_inference,
        load_other=load,
        input_px=detect.input_px,
        # api.max_pixels is about uploads; the patrol and going back ask here too
        most_pixels=max(settings.api.max_pixels, tile_side_px(detect.input_px) ** 2),
    )
    try:
        service.run()
    except PeerGone:
        return 1  # the supervisor is gone, and the lifeline about to say so
    return 0


if __name__ == "__main__":
    sys.exit(main())
