# SPDX-License-Identifier: AGPL-3.0-or-later
"""A worker's connection, and what may come over it: whatever could not be stored is refused here, not at the disk.

A message that breaks the rules is a MessageError; it ends its connection and concerns no other.
"""

from __future__ import annotations

import math
import os
import socket
import typing
import uuid
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any

from daemon import memory
from daemon.domain import IMPORTED, ClipCause, ClipClosed, Evidence, GapReason, Incident, IncidentState
from daemon.errors import MessageError, PeerGone
from daemon.messages import (
    Ack,
    Analysed,
    AnalystHello,
    ClipEnded,
    ClipFragment,
    ImporterHello,
    IncidentChanged,
    Message,
    RecorderHello,
    RunBegan,
    StillsDropped,
    StillTaken,
    ToRecorder,
    Watermark,
)
from daemon.origin import record as origin
from daemon.origin.record import Analysis
from daemon.settings import CAMERA_NAME
from daemon.storage import record, still
from daemon.storage.clips import Appended, Span
from daemon.storage.paths import CONTAINERS
from daemon.storage.record import LARGEST
from daemon.storage.store import Store
from daemon.storage.writing import Entry
from daemon.wire import Channel

MOST_STILL_BYTES = 32_000_000
MOST_FRAGMENT_BYTES = 100_000_000  # one second, or one picture
MOST_ANALYSIS_BYTES = 200_000
MOST_IMPORTED_BYTES = 1_000_000_000  # as much as is analysed of one incident (analyst/recording.py)
GOING_BACK_KINDS = ("last_clean", "first_visible")
_IDS_IN_ACK = 1000
_MOST_PX = 65_535  # a JPEG has no more
_MOST_IN_RATIO = 2**31 - 1

_CONDITIONS = {"ok", *typing.get_args(GapReason)}
_CODECS, _CAUSES, _CLOSED = {"h264", "hevc"}, set(typing.get_args(ClipCause)), set(typing.get_args(ClipClosed))
_STATES = set(typing.get_args(IncidentState))


class Connection:
    """One worker's end; what it is not ready to take waits here."""

    def __init__(self, sock: socket.socket) -> None:
        self.channel: Channel[ToRecorder] = Channel(sock, ToRecorder)
        self.camera: str | None = None
        self.worker: str | None = None
        self.analyst = False
        """Whether only what going back finds may come."""
        self.importer = False
        """Whether only a recording from elsewhere may come, and what was seen in it."""
        self.owing = False
        """Something that it sent was not taken, and nothing after it may be: it has to connect and send again."""
        self.clips: dict[str, int] = {}
        """Clips that are open on it, and how many bytes of each have come."""
        self._unsent: deque[Message] = deque()

    def fileno(self) -> int:
        return self.channel.fileno()

    @property
    def choked(self) -> bool:
        """Whether the worker does not take its answers."""
        return bool(self._unsent)

    def receive(self) -> tuple[ToRecorder, list[int]] | None:
        """The next message, checked. Its descriptors are the caller's. Raises PeerGone, MessageError."""
        try:
            received = self.channel.receive()
        except PeerGone:
            # A worker that ended with answers unread leaves ECONNRESET in front of what it had sent (unix(7)); only the
            # second time it is the end.
            received = self.channel.receive()
        if received is None:
            return None
        message, descriptors = received
        try:
            check(message, self.camera, len(descriptors), analyst=self.analyst, importer=self.importer)
        except MessageError:
            close_all(descriptors)
            raise
        return message, descriptors

    def send(self, *messages: Message) -> None:
        """Sends what was kept and these, as far as the worker takes them, and keeps the rest.

        A worker that is gone can have left messages, which are still to be read: only reading finds the end.
        """
        self._unsent += messages
        try:
            while self._unsent and self.channel.send(self._unsent[0]):
                self._unsent.popleft()
        except PeerGone:
            self._unsent.clear()


def acknowledgements(ids: Sequence[str]) -> Iterator[Ack]:
    """In messages of a size that can be sent."""
    for start in range(0, len(ids), _IDS_IN_ACK):
        yield Ack(ids=tuple(ids[start : start + _IDS_IN_ACK]))


def check(
    message: ToRecorder, camera: str | None, descriptors: int, *, analyst: bool = False, importer: bool = False
) -> None:
    """Raises MessageError unless the message can come now, from this camera's worker, and can be stored."""
    if isinstance(message, RecorderHello | AnalystHello | ImporterHello):
        _require(camera is None, "a second hello")
        _require(CAMERA_NAME.match(message.camera) is not None, f"a camera called {message.camera[:80]!r}")
        return
    if analyst:
        found = isinstance(message, StillTaken) and message.evidence.kind in GOING_BACK_KINDS
        _require(found or isinstance(message, Analysed), f"{type(message).__name__} from an analyst")
    _require(_may_import(message) if importer else not _is_imported(message), f"{type(message).__name__} of an import")
    _require(camera is not None, "a message before the hello")
    _require(
        descriptors == isinstance(message, StillTaken | ClipFragment),
        f"{type(message).__name__} with {descriptors} descriptors",
    )
    match message:
        case RunBegan(run=run):
            _own(run.camera, camera)
            _ids(run.id)
            _times(run.started_at_ns, run.started_mono_ns)
            _require(all(0 < each <= _MOST_IN_RATIO for each in run.time_base), "a time base that is none")
            _require(0 < run.width_px <= _MOST_PX and 0 < run.height_px <= _MOST_PX, "a run without a picture's size")
        case StillTaken(evidence=evidence):
            _own(evidence.camera, camera)
            _ids(evidence.id, evidence.run, *([evidence.incident] if evidence.incident else []))
        case IncidentChanged(incident=incident):
            _own(incident.camera, camera)
            _ids(message.id, incident.id)
            _incident(incident)
        case Analysed(analysis=analysis):
            _own(analysis.camera, camera)
            _analysis(analysis)
        case ClipFragment(clip=clip, incidents=incidents, sibling_of=sibling_of):
            _own(clip.camera, camera)
            _ids(message.id, clip.id, clip.run, *incidents, *sibling_of)
            _clip(message)
        case ClipEnded():
            _ids(message.id, message.clip)
            _require(message.closed in _CLOSED, f"a clip closed as {message.closed!r}")
        case Watermark():
            _require(message.condition in _CONDITIONS, f"the condition {message.condition!r}")
            _times(message.at_ns, message.watched_at_ns, message.watched_mono_ns, message.since_at_ns)
            _times(message.frames_watched, message.in_row)
            _require(message.pts is None or abs(message.pts) <= LARGEST, "a PTS of more than 64 bits")
            _finite(message.interval_s or 0.0)
        case StillsDropped():
            _times(message.count, message.from_at_ns, message.to_at_ns)


def take_still(store: Store, evidence: Evidence, descriptors: list[int]) -> Entry:
    """The entry of a still; takes the descriptor over. Raises MessageError when the JPEG is not what was said."""
    try:
        with memory.map_sealed(descriptors[0], MOST_STILL_BYTES) as mapped:
            jpeg = bytes(mapped)
    finally:
        close_all(descriptors)
    try:
        if not still.has_end(jpeg):
            raise ValueError("a JPEG that is cut")
        entry = store.still_entry(evidence, jpeg)
    except ValueError as error:
        raise MessageError(f"a still that cannot be stored: {error}") from error
    assert entry.evidence is not None
    if _without_detections(entry.evidence) != _without_detections(evidence):
        raise MessageError(f"the still {evidence.id} holds another record than was said")
    return entry


def take_fragment(connection: Connection, message: ClipFragment, descriptors: list[int]) -> Appended | None:
    """The bytes of a clip, or None where they have come already; takes the descriptor over."""
    try:
        with memory.map_sealed(descriptors[0], MOST_FRAGMENT_BYTES) as mapped:
            data = bytes(mapped)
    finally:
        close_all(descriptors)
    has = connection.clips.get(message.clip.id, 0)
    if message.from_byte + len(data) <= has:
        return None
    _require(message.from_byte == has, f"clip {message.clip.id} goes on at byte {message.from_byte}, behind {has}")
    connection.clips[message.clip.id] = has + len(data)
    span = Span(message.frames, message.first_pts, message.last_pts, message.first_at_ns, message.last_at_ns)
    return Appended(message.clip, has, data, message.incidents, span, message.sibling_of)


def close_all(descriptors: Iterable[int]) -> None:
    for descriptor in descriptors:
        os.close(descriptor)


def _without_detections(evidence: Evidence) -> Evidence:
    """The part of a record that the file has as the message has it: of too many detections the file omits some."""
    return replace(evidence, detections=(), detections_omitted=0)


def _clip(message: ClipFragment) -> None:
    clip = message.clip
    ours = clip.codec in _CODECS and clip.container == CONTAINERS[0]
    theirs = clip.cause == IMPORTED and clip.container in CONTAINERS and clip.codec.isidentifier()
    _require(clip.cause in _CAUSES and (ours or theirs), f"a clip of {clip.codec[:80]!r} because of {clip.cause!r}")
    _require(0 < clip.width_px <= _MOST_PX and 0 < clip.height_px <= _MOST_PX, "a clip without a picture's size")
    _require(all(0 < each <= _MOST_IN_RATIO for each in clip.time_base), "a time base that is none")
    _times(message.from_byte, message.frames, message.first_at_ns, message.last_at_ns)
    for each in (message.first_pts, message.last_pts, clip.first_dts):
        _require(abs(each) <= LARGEST, "a PTS of more than 64 bits")
    if clip.cause == IMPORTED:
        _require(message.from_byte < MOST_IMPORTED_BYTES, f"a file of more than {MOST_IMPORTED_BYTES:,} bytes")
    else:
        _require(message.frames > 0, "a part of a clip without frames")


def _is_imported(message: ToRecorder) -> bool:
    """Whether it tells of a recording from elsewhere, which nobody but an importer may."""
    match message:
        case IncidentChanged(incident=incident):
            return incident.kind == IMPORTED
        case ClipFragment(clip=clip):
            return clip.cause == IMPORTED
        case ClipEnded(closed=closed):
            return closed == IMPORTED
        case RunBegan(run=run):
            return run.cause == IMPORTED
    return False


def _may_import(message: ToRecorder) -> bool:
    match message:
        case StillTaken(evidence=evidence):
            return evidence.times == "claimed" and evidence.kind in ("first_confirmed", *GOING_BACK_KINDS)
        case Analysed(analysis=analysis):
            return analysis.times == "claimed"
        case IncidentChanged(incident=incident):
            return incident.kind == IMPORTED and incident.state in ("ended", "unconfirmed")
    return _is_imported(message)


def _incident(incident: Incident) -> None:
    _require(incident.state in _STATES, f"the incident state {incident.state!r}")
    _times(incident.first_suspect_at_ns, incident.first_confirmed_at_ns, incident.ended_at_ns)
    _finite(incident.max_confidence, *incident.place)


def _analysis(analysis: Analysis) -> None:
    first, last = analysis.first_visible, analysis.last_clean
    _ids(analysis.id, analysis.incident, first.run, *([first.evidence] if first.evidence else []))
    _ids(*([last.run] if last else []), *([last.evidence] if last and last.evidence else []))
    _require(analysis.previous is None, "an analysis that names the one before")
    _times(analysis.analysed_at_ns, analysis.confirmed_at_ns, first.at_ns, last.at_ns if last else 0)
    _times(*(each.at_ns for each in analysis.chain), *(each.at_ns for each in analysis.growth))
    try:
        size = len(record.canonical(origin.to_json(analysis)))
    except ValueError as error:
        raise MessageError(f"an analysis that cannot be stored: {error}") from error
    _require(size <= MOST_ANALYSIS_BYTES, f"an analysis of {size} bytes")


def _require(condition: bool, what: str) -> None:
    if not condition:
        raise MessageError(what)


def _own(named: str, camera: str | None) -> None:
    _require(named == camera, f"a message of camera {named!r} from the worker of {camera!r}")


def _ids(*ids: str) -> None:
    for each in ids:  # they become file names
        try:
            canonical = str(uuid.UUID(each)) == each
        except ValueError:
            canonical = False
        _require(canonical, f"the id {each[:80]!r}")


def _times(*values: int | None) -> None:
    _require(all(each is None or 0 <= each <= LARGEST for each in values), "a number that cannot be stored")


def _finite(*values: Any) -> None:
    _require(all(math.isfinite(each) for each in values), "a number that is none")
