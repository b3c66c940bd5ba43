# SPDX-License-Identifier: AGPL-3.0-or-later
"""One going back, step by step: which frames the search wants, their views for the detector, and what follows from the answers.

No sockets, no threads, no clock: whoever runs it takes `questions` to the detector, brings back the answers, and calls
`step` when there is time. The worker does so beside its live frames, a command of its own for a stored clip.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from daemon.detect.rules import lower_thresholds, marked
from daemon.detect.tiling import Found, Tile, in_picture, merged, whole_and_place
from daemon.domain import Detection, ModelInfo
from daemon.ingest.colour import Converter, colour_of
from daemon.ingest.concluding import Concluding, Outcome, Subject
from daemon.ingest.plan import WorkerPlan
from daemon.ingest.rewinding import Rewinding, Rewound
from daemon.ingest.snapshot import Snapshot
from daemon.origin.search import Search

MOST_PICTURES = 600  # for the detector, of one incident
MOST_DOUBTS = 8  # times that the search is sent on

Pixels = NDArray[np.uint8]


class Question(NamedTuple):
    """One picture for the detector; `tile` is the part of the frame that it shows, all of it where it is scaled."""

    place: int
    tile: Tile
    pixels: Pixels
    beginning: int
    """By how many models it has been begun with before."""


@dataclass(slots=True)
class _Looking:
    """One frame whose views are at the detector."""

    open: int
    found: list[Found] = field(default_factory=list)


class Examination:
    """`outcome` is there once it is done. It begins anew where another model answers: a record names one, for all that was seen."""

    def __init__(self, subject: Subject, snapshot: Snapshot, plan: WorkerPlan, converter: Converter) -> None:
        self._subject, self._snapshot, self._plan, self._converter = subject, snapshot, plan, converter
        self._size_px = subject.evidence.width_px, subject.evidence.height_px
        self._lower = lower_thresholds(subject.evidence.thresholds, plan.floor)
        self._beginning = 0
        self._begin()
        self.pictures = 0
        """That the detector has looked at."""

    def _begin(self) -> None:
        subject, frames = self._subject, self._snapshot.frames
        most = MOST_PICTURES // len(whole_and_place(subject.detection.box, self._size_px, self._plan.input_px))
        self._search = Search(frames, len(frames) - 1, subject.detection, self._lower, most)
        self._rewinding = Rewinding(self._snapshot)
        self._rewinding.want(self._search.wanted)
        self._looking: dict[int, _Looking] = {}
        self._seen: dict[int, Sequence[Detection] | None] = {}
        self._concluding: Concluding | None = None
        self._doubts = 0
        self._model: ModelInfo | None = None  # that has answered
        self.questions: deque[Question] = deque()

    @property
    def incident(self) -> str:
        return self._subject.evidence.incident or ""

    @property
    def packets(self) -> int:
        """Decoded so far."""
        return self._rewinding.packets

    @property
    def outcome(self) -> Outcome | None:
        return self._concluding.outcome if self._concluding is not None else None

    @property
    def busy(self) -> bool:
        """Whether `step` has something to do: not while questions wait or answers are awaited."""
        if self.outcome is not None or self.questions:
            return False
        return self._rewinding.busy or not self._looking

    def step(self) -> None:
        """Decodes one packet, or goes one small step on."""
        if self._concluding is not None:
            self._concluding.step()
            if self._concluding.nothing_new_until is not None:
                self._doubted(self._concluding.nothing_new_until)
        elif self._rewinding.busy:
            if (rewound := self._rewinding.step()) is not None:
                self._came(rewound)
        elif not self._looking:
            self._go_on()

    def answered(self, question: Question, detections: Sequence[Detection], model: ModelInfo) -> None:
        """What the detector saw; boxes in pixels of the picture that it was given."""
        self.pictures += 1
        if question.beginning != self._beginning:
            return
        if self._model is not None and self._model.sha256 != model.sha256:
            self._beginning += 1
            self._begin()
            return
        self._model = model
        looking = self._looking[question.place]
        height, width = question.pixels.shape[:2]
        seen = in_picture(question.tile, detections, (width, height))
        looking.found += [(question.tile, each) for each in seen]
        looking.open -= 1
        if not looking.open:
            self._seen[question.place] = marked(merged(looking.found, self._size_px), self._size_px, self._plan.zones)
            del self._looking[question.place]

    def give_up_search(self) -> None:
        """It has taken too long: what is known by now is the result."""
        self.questions.clear()
        self._looking.clear()
        self._seen.clear()
        if self._concluding is None:
            self._rewinding.forget()
        if self._search.result is None:
            self._search.give_up()

    def _came(self, rewound: Rewound) -> None:
        place, decoded = rewound
        if decoded is None or (decoded.frame.width, decoded.frame.height) != self._size_px:
            self._seen[place] = None
            return
        frame = decoded.frame
        colour = colour_of(frame, self._plan.matrix, self._plan.colour_range)
        shown = whole_and_place(self._search.place, self._size_px, self._plan.input_px)
        self._looking[place] = _Looking(len(shown))
        full = self._converter.full(frame, colour) if len(shown) > 1 else None
        for tile in shown:
            whole = (tile.width, tile.height) == self._size_px
            if whole or full is None:
                pixels = self._converter.small(frame, colour, self._plan.input_px)
            else:
                pixels = tile.of(full)
            self.questions.append(Question(place, tile, pixels, self._beginning))

    def _doubted(self, until: int) -> None:
        """What was found stood there before: the search goes on from what is new."""
        self._concluding = None
        self._doubts += 1
        self._search.nothing_new_until(until)
        self._rewinding.want(self._search.wanted)

    def _go_on(self) -> None:
        if self._search.result is None:
            seen, self._seen = self._seen, {}
            self._search.told(seen)
            self._rewinding.want(self._search.wanted)
        if self._search.result is not None:
            model = self._model or self._subject.evidence.model
            assert model is not None
            self._concluding = Concluding(
                self._subject, self._search.result, self._snapshot, self._rewinding, self._plan, self._converter, model,
                may_doubt=self._doubts < MOST_DOUBTS,
            )  # fmt: skip
