# SPDX-License-Identifier: AGPL-3.0-or-later
"""An incident's clips as its page shows them: what each holds, and one of its frames where it is stepped through.

Stepping is for browsers that cannot play a camera's codec, and for looking at one frame as long as one likes.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from daemon.api.parameters import time_ns
from daemon.clock import NS

_LEAD_S = 2.0  # what is played before first visible, to see it appear
_NOWHERE = (0.0, 0.0, -1.0)  # begin, end, and what lies outside
_STEPS_S = (10.0, 1.0)

Item = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Step:
    """A link to another frame."""

    says: str
    frame: int


@dataclass(frozen=True, slots=True)
class Footage:
    """One clip. `frame` is the one that is shown, None while it is not stepped through."""

    clip: Item
    begin_s: float
    """From where it is played: a little before first visible, where this clip holds it."""
    near: int
    """About where stepping begins."""
    frame: int | None

    @property
    def steps(self) -> list[Step]:
        """Backwards and forwards, as far as there are frames."""
        assert self.frame is not None
        last, here = int(self.clip["frames"]) - 1, self.frame
        back = [Step(f"← {says}", max(here - by, 0)) for says, by in self._sizes()]
        on = [Step(f"{says} →", min(here + by, last)) for says, by in reversed(list(self._sizes()))]
        return [step for step in (*back, *on) if step.frame != here]

    def _sizes(self) -> Iterator[tuple[str, int]]:
        rate = self.clip["frames"] / max(_lasts_s(self.clip), 1.0)
        for seconds in _STEPS_S:
            if (frames := round(rate * seconds)) > 1:
                yield f"about {seconds:g} s", frames
        yield "one frame", 1


def of(clips: list[Item], analysis: Item | None, clip: str | None, frame: int | None) -> list[Footage]:
    """In the order of their runs. `clip` and `frame` say which is stepped through, and where; only one at a time."""
    return [_footage(each, analysis, frame if clip == each["id"] else None) for each in clips]


def _footage(clip: Item, analysis: Item | None, frame: int | None) -> Footage:
    if clip["closed"] is None:
        return Footage(clip, 0.0, 0, None)
    last = clip["frames"] - 1
    shown = None if frame is None else min(frame, last)
    begin, end, here = _first_visible_in(clip, analysis) if analysis else _NOWHERE
    if not begin <= here <= end:
        return Footage(clip, 0.0, 0, shown)
    near = round(last * (here - begin) / (end - begin)) if end > begin else 0
    return Footage(clip, round(max(here - begin - _LEAD_S, 0.0), 1), near, shown)


def _first_visible_in(clip: Item, analysis: Item) -> tuple[float, float, float]:
    """The clip's begin, its end, and first visible, in seconds: by PTS in the run that it is of; another camera's by the clock."""
    first = analysis["first_visible"]
    if analysis["camera"] != clip["camera"]:
        return time_ns(clip["captured_at"]) / NS, time_ns(clip["to_at"]) / NS, time_ns(first["at"]) / NS
    if first["run"] != clip["run"]:
        return _NOWHERE
    numerator, denominator = clip["time_base"]
    begin, end, here = (
        int(pts) * numerator / denominator for pts in (clip["first_pts"], clip["last_pts"], first["pts"])
    )
    return begin, end, here


def _lasts_s(clip: Item) -> float:
    return (time_ns(clip["to_at"]) - time_ns(clip["captured_at"])) / NS
