# SPDX-License-Identifier: AGPL-3.0-or-later
"""`python -m daemon.clips.frame NUMBER`: a clip comes in as standard input, its frame goes out as a JPEG.

A process of its own for the web: what a camera sent is decoded where a fault of a decoder ends nothing else, and the web
process stays free of FFmpeg. Exit status 3: the clip has no such frame.
"""

from __future__ import annotations

import sys

import cv2

from daemon.clips.decoding import NoSuchFrame, decode
from daemon.ingest.colour import Converter, colour_of

QUALITY = 90
NO_SUCH_FRAME = 3


def main() -> int:
    """Returns the exit status."""
    try:
        frame = decode(sys.stdin.buffer, int(sys.argv[1]))
    except NoSuchFrame:
        return NO_SUCH_FRAME
    pixels = Converter().full(frame, colour_of(frame, "auto", "auto"))
    encoded, jpeg = cv2.imencode(".jpg", pixels, (cv2.IMWRITE_JPEG_QUALITY, QUALITY))
    if not encoded:
        return 1
    sys.stdout.buffer.write(bytes(jpeg))
    return 0


if __name__ == "__main__":
    sys.exit(main())
