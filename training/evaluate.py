# SPDX-License-Identifier: AGPL-3.0-or-later
"""`python -m training evaluate`: how good a weights file is, by the daemon's own FireDetector; needs no torch.

Looks once at every picture, chooses the working thresholds on validation pictures (thresholds.py), and then makes all
tables at those, at the ones configured now, and at any others that were asked for.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any, TypeVar

from daemon import shipped
from daemon.detect.detector import FireDetector
from daemon.detect.verifier import Verify
from daemon.settings import DetectSettings
from training.alike import clips_like
from training.card import clips_said, folds_said
from training.clips import Clip, Played, play, playable
from training.folders import FolderError, Sample, check_out, read_folder, read_splits, split_folders
from training.folds import dealt, fold_of, look_apart
from training.lookers import AsLive, AtHints, InTiles
from training.page import check_section, write_section
from training.picture_tables import Points, found_table, picture_table, precision_table, size_table
from training.seen import AT_ONCE, FLOOR, SPLITS, Seen, Thresholds
from training.small_flames import KINDS
from training.tables import Cell, Table
from training.thresholds import FIRE_GIVES, LIMITS, Chosen, choose, chosen_of, for_both
from training.verifier_table import verifier_table

T = TypeVar("T")
COUNTED = 500
KNOWN = (
    "These are the weights that are shipped, and no --folds are given: of pictures that they were trained with, as of those "
    "behind docs/accuracy.md, the figures say too much."
)
Look = Callable[[Sequence[Sample], Callable[[int], None]], list[Seen]]
"""Looks at each picture, and tells how many are done."""


def run(options: argparse.Namespace) -> int:
    """0 when everything could be measured."""
    if len(options.folds) == 1:
        raise FolderError("--folds needs the weights of every fold, at least two")
    if options.out is not None:
        _check_out(options)
    if options.page is not None:
        check_section(options.page, "evaluate")
    if options.small is not None:
        _check_small(options.small)
    clips = playable(options.data) if options.clips else []
    trained = [each for folder in options.trained for each in read_folder(folder, folder.parent)]
    other = None
    if options.other_form is not None:
        other = chosen_of(options.other_form, closer_look=options.closer_look)
    detect = DetectSettings(input_px=options.input_px)
    verify = Verify(options.verify, None, options.verify_px, options.verify_from) if options.verify else None
    detector = _detector(options, options.weights, verify)
    parts = [_detector(options, each, verify) for each in options.folds]
    folds = dealt(options.data, len(parts)) if parts else {}
    _tell_missing(options.data)
    # as live frames, whose thresholds are chosen: of a larger picture the closer look would see more than of a camera
    as_live = [AsLive(each, options.input_px) for each in parts or [detector]]
    splits = _look_at(options.data, SPLITS, partial(look_apart, as_live, folds))
    if not splits:
        raise FolderError(f"{options.data}: none of the folders {', '.join(SPLITS)} is there")
    if _flattered(detector, parts):
        print(KNOWN, file=sys.stderr)
    negatives = {name: splits.get(name, []) for name in LIMITS}
    chosen = choose(negatives)
    if chosen is not None and other is not None:
        chosen = for_both(chosen, other)
    points = _points(detect, chosen, options.at)
    tables = [
        _threshold_table(points, chosen, options.other_form),
        precision_table(splits),
        size_table(splits, options.input_px),
        picture_table(splits, points),
        found_table(splits, points, options.input_px),
    ]
    if verify is not None:
        tables.append(verifier_table(splits, points, verify.threshold))
    if options.small is not None:
        tables.append(_small_table(options, parts or [detector], folds, points))
    tables += _clip_tables(clips, detector, detect, points)
    known = _known_clips(trained, clips) if options.clips else None
    _write(options, detector, parts, tables, chosen, known)
    return 0


def _check_out(options: argparse.Namespace) -> None:
    """Raises FolderError where one of both files could not be written, or would take another's place."""
    tables = options.out.with_suffix(".md")
    weights = [options.weights or shipped.WEIGHTS, *options.folds]
    if tables.resolve() in (each.with_suffix(".md").resolve() for each in weights):
        raise FolderError(
            f"--out {options.out}: its tables would be written over the weights' card; choose another name"
        )
    for each, suffix in ((options.out, ".json"), (tables, ".md")):
        check_out(each, suffix, [*weights, options.verify, options.other_form, options.page])


def _check_small(small: Path) -> None:
    """Raises FolderError where small-flames made nothing there."""
    if not any(split_folders(small, name) for name in KINDS):
        raise FolderError(f"{small}: make it first: python -m training small-flames --data … --out {small}")


def _tell_missing(data: Path) -> None:
    """Says, before an hour of looking, that no thresholds will be chosen; where nothing is there, that is said instead."""
    missing = [str(data / name) for name in LIMITS if not split_folders(data, name)]
    if missing and any(split_folders(data, name) for name in SPLITS):
        print(
            f"thresholds cannot be chosen: {' and '.join(missing)} with images is missing", file=sys.stderr, flush=True
        )


def _flattered(detector: FireDetector, parts: Sequence[FireDetector]) -> bool:
    return not parts and detector.info.sha256 in (shipped.SHA256, shipped.INT8_SHA256)


def _known_clips(trained: Sequence[Sample], clips: Sequence[Clip]) -> dict[str, str] | None:
    """None where nobody says what the weights were trained with."""
    if not trained:
        return None

    def counted() -> Iterator[Sample]:
        for number, each in enumerate(trained, 1):
            if number % COUNTED == 0 or number == len(trained):
                _told("pictures trained with", len(trained), number)
            yield each

    return clips_like(counted(), clips)


def _detector(options: argparse.Namespace, weights: Path | None, verify: Verify | None) -> FireDetector:
    return FireDetector(
        weights, input_px=options.input_px, device=options.device, batch=1, allow_pickle=options.allow_pickle,
        closer=options.closer_look, verify=verify,
    )  # fmt: skip


def _points(detect: DetectSettings, chosen: Chosen | None, at: Sequence[float]) -> dict[str, Thresholds]:
    points: dict[str, Thresholds] = {"configured": detect.thresholds.as_dict()}
    if chosen is not None:
        points["chosen"] = chosen.as_dict()
    return points | {f"{value:.2f}": {"fire": value, "smoke": value} for value in at}


def _look_at(data: Path, names: Sequence[str], looking: Look, spread: int | None = None) -> dict[str, list[Seen]]:
    splits: dict[str, list[Seen]] = {}
    for samples in (spread_over(each, spread) for each in read_splits(data, names)):
        split = samples[0].split
        splits[split] = looking(samples, partial(_told, split, len(samples)))
    return splits


def spread_over(all_: list[T], count: int | None) -> list[T]:
    """So many, evenly over all; the first ones would be of one source, since names begin with it."""
    if count is None or count >= len(all_):
        return all_
    return [all_[at * len(all_) // count] for at in range(count)]


def _small_table(
    options: argparse.Namespace, detectors: Sequence[FireDetector], folds: Mapping[str, int], points: Points
) -> Table:
    """The pasted flames: in pictures as POST is given them, reduced as live frames are, with what hints lead to, and in tiles."""
    whole, live = (
        _look_at(options.small, tuple(KINDS), partial(look_apart, lookers, folds))
        for lookers in (detectors, [AsLive(each, options.input_px) for each in detectors])
    )
    hints = [AtHints(each, options.input_px) for each in detectors]
    ways = {
        "whole": whole,
        "as a live frame": live,
        "as a live frame and at its hints": {name: _followed(name, seen, hints, folds) for name, seen in live.items()},
    }
    splits: dict[str, Sequence[Seen]] = {
        f"{name}, {way}": seen for way, looked in ways.items() for name, seen in looked.items()
    }
    if options.tiles:
        in_tiles = [InTiles(each, options.input_px) for each in detectors]
        some = _look_at(options.small, tuple(KINDS), partial(look_apart, in_tiles, folds), options.tiles)
        for name, seen in some.items():
            splits[f"{name}, whole, {len(seen)} of them"] = spread_over(list(splits[f"{name}, whole"]), options.tiles)
            splits[f"{name}, in tiles, the same {len(seen)}"] = seen
    table = found_table(splits, points, options.input_px)
    table.title = "Small flames, pasted into empty scenes"
    return table


def _followed(name: str, live: Sequence[Seen], hints: Sequence[AtHints], folds: Mapping[str, int]) -> list[Seen]:
    """What was seen in live frames, and with it what tiles at their hints show."""
    seen: list[Seen] = []
    for each in live:
        found = hints[fold_of(each.sample, folds)].followed(each.sample.pixels(), each.detections, FLOOR)
        seen.append(replace(each, detections=found))
        if len(seen) % AT_ONCE == 0 or len(seen) == len(live):
            _told(name, len(live), len(seen))
    return seen


def _clip_tables(clips: Sequence[Clip], detector: FireDetector, detect: DetectSettings, points: Points) -> list[Table]:
    each_clip = Table(
        "Clips",
        [
            "clip",
            "kind",
            "thresholds",
            "time asked",
            "seconds",
            "frames analysed",
            "suspect after s",
            "confirmed after s",
            "at its place",
            "false",
        ],
        "Through the daemon's choice of frames and its rules; seconds from the onset, of what burns from the start from the "
        "clip's beginning; a short clip begins again until 20 s are full, so that a time longer than the clip was reached in a later "
        "pass. Time asked: what time says weighs in (docs/time-as-evidence.md), or the detections alone decide. False: incidents confirmed "
        "before the onset, or at all where nothing burns.",
    )
    sums = Table(
        "Clips, together",
        ["kind", "thresholds", "time asked", "clips", "confirmed", "within 10 s", "hours", "false incidents an hour"],
    )
    played_at = dict[tuple[object, ...], list[Played]]()
    for (name, at), flicker in product(points.items(), (True, False)):
        asking = detect.model_copy(update={"flicker": flicker})
        same = (tuple(at.items()), flicker)
        if same not in played_at:  # the configured thresholds are often the chosen ones, and clips take minutes
            told = partial(_told, f"clips, {name}, time {'' if flicker else 'not '}asked", len(clips))
            played_at[same] = list(_all_played(clips, detector, asking, at, told))
        played = played_at[same]
        for one in played:
            row: list[Cell] = [one.clip.name, one.clip.kind, name, flicker, one.seconds, one.analysed]
            each_clip.rows.append([*row, one.suspect_s, one.confirmed_s, one.there, one.false])
        sums.rows += [_sum(kind, (name, flicker), played) for kind in ("burns", "none", "lookalike")]
    return [sums, each_clip] if clips else []


def _all_played(
    clips: Sequence[Clip], detector: FireDetector, detect: DetectSettings, at: Thresholds, told: Callable[[int], None]
) -> Iterator[Played]:
    for number, clip in enumerate(clips, 1):
        yield play(clip, detector, detect, at)
        told(number)


def _sum(kind: str, point: tuple[str, bool], played: Sequence[Played]) -> list[Any]:
    mine = [each for each in played if (each.clip.burns if kind == "burns" else each.clip.kind == kind)]
    hours = sum(each.seconds for each in mine) / 3600
    times = [each.confirmed_s for each in mine if each.confirmed_s is not None]
    false = sum(each.false for each in mine)
    rate = f"{false / hours:.0f} ({false} in {hours * 3600:.0f} s)" if hours else None
    return [kind, *point, len(mine), len(times), sum(each <= 10 for each in times), hours, rate]


def _threshold_table(points: Points, chosen: Chosen | None, other_form: Path | None) -> Table:
    limits = " and ".join(f"{limit:.0%} of {name}" for name, limit in LIMITS.items())
    note = (
        f"Chosen: the pair with the lowest sum at which both together hit at most {limits}, fire's at most {FIRE_GIVES:g} above the lowest "
        "at which fire alone does."
    )
    note += (
        " No lower than the same rule chose for the other form of these weights."
        if other_form is not None and chosen
        else ""
    )
    table = Table("Thresholds", ["name", "fire", "smoke"], note if chosen else f"{note} There is none.")
    table.rows += [[name, at["fire"], at["smoke"]] for name, at in points.items()]
    return table


def _write(
    options: argparse.Namespace,
    detector: FireDetector,
    parts: Sequence[FireDetector],
    tables: Sequence[Table],
    chosen: Chosen | None,
    known_clips: dict[str, str] | None,
) -> None:
    text = "\n".join(table.markdown() for table in tables)
    print(text)
    if options.out is not None:
        found = {
            "weights": {"name": detector.info.name, "sha256": detector.info.sha256},
            "folds": [{"name": each.info.name, "sha256": each.info.sha256} for each in parts],
            "folds_knew": options.folds_knew,
            "closer_look": options.closer_look,
            "runtime": detector.info.runtime,
            "input_px": options.input_px,
            "floor": FLOOR,
            "chosen": chosen.as_dict() if chosen is not None else None,
            "known_clips": known_clips,
            "tables": [table.as_dict() for table in tables],
        }
        options.out.write_text(json.dumps(found, indent=1) + "\n")
        options.out.with_suffix(".md").write_text(text)
    if options.page is not None:
        info = detector.info
        about = f"Weights {info.name}, SHA-256 {info.sha256[:12]}…, {info.runtime}, longer side {info.input_px} px, "
        about += "with the closer look." if options.closer_look else "one look a picture."
        if parts:
            about += f" {folds_said(len(parts), options.folds_knew)}"
        if _flattered(detector, parts):
            about += f" {KNOWN}"
        if any(table.title == "Clips" for table in tables):
            about += f" {clips_said(known_clips)}"
        write_section(options.page, f"{about}\n\n{text}", "evaluate")


def _told(what: str, of: int, done: int) -> None:
    print(f"{what}: {done} of {of}", file=sys.stderr, flush=True)
