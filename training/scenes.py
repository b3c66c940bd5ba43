# SPDX-License-Identifier: AGPL-3.0-or-later
"""Which pictures show one scene, by their names: SOURCE_HASH_NAME, where NAME is what the source called the file.

Frames of a video bear its name and a number; altered copies bear the name of their picture, those that a flame was pasted
into the name of the empty one with +NUMBER, and what was cut out of one its name with -at-LEFT-TOP, and -SIDE. Of names of any other
form, a site's own, the last number is the frame's, and what is left names the scene: yard_cam1_0007 is of yard_cam1. That
joins rather too many, and intervals are rather too wide. Where a name has no number, each picture is a scene of its own:
that is then an assumption, which makes intervals too narrow.
"""

from __future__ import annotations

import re

_NAME = re.compile(r"^(?P<source>[a-z0-9]+)_[0-9a-f]{7}_(?P<name>.+)$")
_NUMBERED = re.compile(r"[\W_]*\d+[\W_]*(?=\D*$)")
_MADE_OF = re.compile(r"(\+\d+|-at-\d+-\d+(-\d+)?)+$")
_COPY = re.compile(r"^(FireDetectionImage-)?(Noise|Mirror)(?=WEB)")
_FRAME = (
    re.compile(r"^(?P<scene>.+-mp4)-\d+$"),  # VIDEO-mp4-FRAME
    re.compile(r"^(?P<scene>.+)-frames-\d+$"),  # VIDEO-frames-FRAME
    re.compile(r"^(?P<scene>[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12})-fra.*$"),  # a video's UUID, cut off
    re.compile(r"^(?P<scene>seq|split\d|AoF)-?\d+$"),  # one camera's frames, numbered
    re.compile(r"^(?P<scene>(?!WEB)[A-Za-z][A-Za-z-]{4,}[A-Za-z])\d+$"),  # TITLE and FRAME without anything between
)


def source_of(stem: str) -> str:
    """Where a picture is from: what its name begins with; "unnamed" where it says nothing."""
    named = _NAME.match(stem)
    return named["source"] if named else "unnamed"


def scene_of(stem: str) -> str:
    """The scene that a picture shows."""
    stem = _MADE_OF.sub("", stem)
    named = _NAME.match(stem)
    if named is None:
        return _NUMBERED.sub("", stem, count=1)
    name = _COPY.sub("", named["name"])
    found = next((match for each in _FRAME if (match := each.match(name))), None)
    return f"{named['source']}:{found['scene'] if found else name}"
