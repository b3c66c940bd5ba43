# SPDX-License-Identifier: AGPL-3.0-or-later
"""Plays the clips of clips.csv through the daemon's own choice of frames (eyes.py), close-ups and rules, without network.

Key frames, or one frame in each `max_interval`, while all is quiet; `active_fps` while anything is open. Time is the
frames' own, so that a slow host measures the same. The patrol's tiles are not played. A short clip begins again until
20 s are full.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Container, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import av
import numpy as np
from av.video.frame import VideoFrame
from numpy.typing import NDArray

from daemon.clock import NS
from daemon.detect.rules import RuleSettings, RuleState, Track, observe, same_place
from daemon.domain import Box, Detection
from daemon.ingest.closeups import CloseUps
from daemon.ingest.colour import Converter, colour_of, luma_of
from daemon.ingest.eyes import Eyes, Look
from daemon.ingest.suspicion import SecondLook
from daemon.settings import DetectSettings
from training.folders import FolderError, Pixels
from training.seen import Looker, Thresholds

LEAST_S = 20.0
_BOX = re.compile(r"(-?\.?\d[\d.]*) (-?\.?\d[\d.]*) (-?\.?\d[\d.]*) (-?\.?\d[\d.]*)")


@dataclass(frozen=True, slots=True)
class Clip:
    """A line of clips.csv."""

    name: str
    kind: str
    onset_s: float | None
    places: tuple[Box, ...]
    """Where it burns or smokes at the onset, normalised."""
    path: Path

    @property
    def burns(self) -> bool:
        """Whether it has to be confirmed; a look-alike is neither right nor wrong."""
        return self.kind in ("fire", "smoke", "fire+smoke")


class Timed(NamedTuple):
    """A frame on the axis of the whole playing."""

    frame: VideoFrame
    pts_ns: int
    key: bool


class Decoded(NamedTuple):
    """A frame that the daemon would decode, and whether it would show it to the detector."""

    timed: Timed
    wanted: bool


@dataclass(frozen=True, slots=True)
class Played:
    """What came of a clip; times are seconds from its onset (of one that has none: from its beginning)."""

    clip: Clip
    seconds: float
    analysed: int
    suspect_s: float | None
    confirmed_s: float | None
    there: bool | None
    """Whether the first confirmed incident is at the labelled place; None where none is labelled or confirmed."""
    false: int
    """Incidents confirmed before the onset, or at all where nothing burns."""


def read_clips(data: Path) -> list[Clip]:
    """The clips that are there; raises FolderError for what is no such list."""
    try:
        with (data / "clips.csv").open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
        return [_clip(row, data / "clips" / f"{row['name']}.mp4") for row in rows]
    except FileNotFoundError:
        return []
    except (KeyError, ValueError, csv.Error) as error:
        raise FolderError(f"{data}/clips.csv: not a list of clips with name, kind, onset_s, box_at_onset") from error


def playable(data: Path, kinds: Container[str] | None = None) -> list[Clip]:
    """Those of these kinds (None: all); raises FolderError where one cannot be played: before all the looking, not in the midst of it."""
    clips = [each for each in read_clips(data) if kinds is None or each.kind in kinds]
    for each in clips:
        next(frames(each.path))
    return clips


def play(clip: Clip, detector: Looker, detect: DetectSettings, thresholds: Thresholds) -> Played:
    """Raises FolderError for what is no video."""
    player = Player(detector, detect, thresholds)
    last_ns = 0
    for timed, step_ns in frames(clip.path):
        last_ns = timed.pts_ns + step_ns
        player.frame(timed, step_ns)
    return _played(clip, last_ns / NS, player.analysed, player.events)


class Shown:
    """What a camera's frames look like: as they were coded."""

    def __init__(self) -> None:
        self._converter = Converter()

    def small(self, timed: Timed, input_px: int) -> Pixels:
        """A frame as the detector is shown it, BGR."""
        return self._converter.small(timed.frame, colour_of(timed.frame), input_px)

    def luma(self, timed: Timed) -> NDArray[np.uint8]:
        """A frame's luma (height, width), at its own size."""
        return luma_of(timed.frame)


class Player:
    """One camera's eyes, close-ups and rules, fed frame by frame."""

    def __init__(
        self, detector: Looker, detect: DetectSettings, thresholds: Thresholds, shown: Shown | None = None
    ) -> None:
        self._detector, self._detect, self._shown = detector, detect, shown or Shown()
        self._settings = RuleSettings(
            thresholds=thresholds,
            m=detect.confirm.m,
            n=detect.confirm.n,
            within_s=detect.confirm.within,
            unconfirmed_after_s=detect.unconfirmed_after,
            ended_after_s=detect.ended_after,
        )
        self._close_ups = CloseUps(on=detect.flicker)
        self._second_look = SecondLook(self._settings)
        self._eyes, self._state = Eyes(detect.max_interval, detect.active_fps), RuleState()
        self._gop: list[Timed] = []
        self.analysed = 0
        self.decoded = 0
        """Frames that the daemon would have decoded, those that it decodes twice counted twice."""
        self.events: list[tuple[float, Track]] = []

    @property
    def suspects(self) -> tuple[Track, ...]:
        """What is suspected and not confirmed."""
        return tuple(each for each in self._state.tracks if each.state == "suspect")

    def frame(self, timed: Timed, step_ns: int) -> None:
        """The next frame, `step_ns` before the one after it."""
        self._second_look.time_passes(timed.pts_ns / NS, suspected=self._state.active)
        self._decide()
        self._gop = [timed] if timed.key else [*self._gop, timed]
        for each, wanted in self._decoded(timed, step_ns):
            self.decoded += 1
            if self._detect.flicker:
                self._close_ups.came(self._shown.luma(each), each.pts_ns / NS)
            if wanted:
                self._look(each)

    def _look(self, timed: Timed) -> None:
        now_s = timed.pts_ns / NS
        small = self._shown.small(timed, self._detect.input_px)
        found: Sequence[Detection] = self._detector.detect([small], self._detect.floor)[0]
        size_px = (small.shape[1], small.shape[0])
        seen = observe(self._state, found, size_px, now_s, self._settings, self._close_ups.flickers(now_s))
        self._state, self.analysed = seen.state, self.analysed + 1
        self._close_ups.follow(seen.state.tracks)
        self.events += [(each.at_s, each.track) for each in seen.events]
        self._second_look.analysed(found, size_px, now_s, suspected=seen.state.active)
        self._decide()

    def _decide(self) -> None:
        self._eyes.active = self._state.active or self._second_look.active

    def _decoded(self, timed: Timed, step_ns: int) -> Iterator[Decoded]:
        """What the daemon would decode when this frame's packet comes."""
        look = self._eyes.packet(timed.pts_ns, key=timed.key)
        if look is Look.KEY:
            self._eyes.analysing(timed.pts_ns)
            yield Decoded(timed, wanted=True)
        elif look in (Look.CATCH_UP, Look.FOLLOW):
            # one by one: what the first of them shows decides how closely the next are looked at
            for each in self._gop if look is Look.CATCH_UP else [timed]:
                yield Decoded(each, self._eyes.wants(each.pts_ns, step_ns))


def frames(path: Path, least_s: float = LEAST_S) -> Iterator[tuple[Timed, int]]:
    """Frames and their usual distance; from the beginning again until so many seconds are full, once at least."""
    try:
        begins_ns = 0
        while begins_ns == 0 or begins_ns < least_s * NS:
            with av.open(str(path)) as container:
                stream = container.streams.video[0]
                step_ns = round(NS / stream.average_rate) if stream.average_rate else NS // 25
                ends_ns = begins_ns
                for frame in container.decode(stream):
                    if frame.time is not None:
                        ends_ns = begins_ns + round(frame.time * NS)
                        yield Timed(frame, ends_ns, bool(frame.key_frame)), step_ns
            if ends_ns == begins_ns:
                raise FolderError(f"{path}: a video of a single frame or none")
            begins_ns = ends_ns + step_ns
    except (av.error.FFmpegError, IndexError) as error:
        raise FolderError(f"{path}: not a video that can be played") from error


def _played(clip: Clip, seconds: float, analysed: int, events: Sequence[tuple[float, Track]]) -> Played:
    onset_s = clip.onset_s or 0.0
    suspects = [at_s for at_s, track in events if track.state == "suspect" and at_s >= onset_s]
    confirmed = [(at_s, track) for at_s, track in events if track.state == "confirmed"]
    after = [(at_s, track) for at_s, track in confirmed if at_s >= onset_s]
    there = any(same_place(after[0][1].place, place) for place in clip.places) if after and clip.places else None
    false = len(confirmed) - len(after) if clip.burns else len(confirmed)
    return Played(
        clip,
        seconds,
        analysed,
        suspects[0] - onset_s if suspects else None,
        after[0][0] - onset_s if after else None,
        there,
        false,
    )


def _clip(row: dict[str, str], path: Path) -> Clip:
    places = [tuple(float(value) for value in match) for match in _BOX.findall(row["box_at_onset"] or "")]
    onset_s = float(row["onset_s"]) if row["onset_s"] else None
    return Clip(row["name"], row["kind"], onset_s, tuple((a, b, c, d) for a, b, c, d in places), path)
