# SPDX-License-Identifier: AGPL-3.0-or-later
"""What has to be known of weights, beside them: how they were made, and how good they are."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from training.measures import Estimate
from training.sources import Source
from training.thresholds import thresholds_of

_INT8 = "**In int8**"

FOLDS = (
    "**Measured in folds**: all figures of pictures are of {count} weights that were trained with a part of their scenes "
    "each, and asked only about the others (`python -m training folds`); these weights were trained with all of them. "
    "Clips are of these weights."
)
FOLDS_KNEW = (
    "**Not quite apart**: what these began from had been trained with all of these scenes. Little of that is left in a training "
    "of thousands of pictures without them, but the figures say somewhat too much, of the few cameras most."
)


def folds_said(count: int, knew: bool) -> str:
    """What figures of folds are worth; `knew`: the weights that the folds' trainings began from had seen all of it."""
    return f"{FOLDS.format(count=count)} {FOLDS_KNEW}" if knew else FOLDS.format(count=count)


def clips_said(like: Mapping[str, str] | None) -> str:
    """Whether the weights know clips that they are measured with: those that are like a picture they were trained with.

    None: nobody has looked (`evaluate --trained`).
    """
    if like is None:
        return "Whether they were trained with pictures that show the same as a clip was not looked into."
    if not like:
        return "No clip shows the same as a picture that they were trained with."
    return (
        f"**Known clips**: {', '.join(sorted(like))} show the same as pictures that they were trained with, and say less "
        "than the others."
    )


def card(
    weights: Path,
    steps: str,
    settings: Mapping[str, Any],
    data: Sequence[str],
    sources: Sequence[Source],
    evaluated: Mapping[str, Any] | None,
    weak: str = "",
    made_of: Sequence[Mapping[str, str]] = (),
) -> str:
    """As Markdown; `evaluated` is what `training evaluate` wrote of these very weights, else it is left out and said.

    `weak`: what is known to be seen badly, or taken for fire. `made_of`: what each training's checkpoint says of that (loop.py).
    """
    sha256 = hashlib.sha256(weights.read_bytes()).hexdigest()
    lines = [
        f"# {weights.stem}",
        "",
        f"SHA-256 `{sha256}`. Classes: 0 fire, 1 smoke. Input RGB 0..1, NCHW, multiples of 32; no suppression inside.",
        "",
        f"**Made** {_how(steps, settings, made_of)}.",
        f"Data: {', '.join(data) or 'not said'}.",
        "",
        *_made_of(made_of),
        *_sources(sources),
    ]
    if evaluated is None or evaluated["weights"]["sha256"] != sha256:
        return "\n".join([*lines, "**Not measured**: no evaluation of these very weights was given.", ""])
    return "\n".join([*lines, *measured(evaluated), *([f"**Weak**: {weak}", ""] if weak else [])])


def measured(evaluated: Mapping[str, Any]) -> list[str]:
    """What a card says of what `training evaluate` wrote, in lines.

    Raises KeyError, TypeError, ValueError or AttributeError where that is not as evaluate writes it.
    """
    lines: list[str] = []
    if evaluated.get("folds"):
        lines += [folds_said(len(evaluated["folds"]), evaluated.get("folds_knew", False)), ""]
    if any(each["title"] == "Clips" for each in evaluated["tables"]):
        lines += [clips_said(evaluated.get("known_clips")), ""]
    looks = "with the closer look (detect.closer_look)" if evaluated.get("closer_look") else "with one look a picture"
    lines += [f"Measured {looks}: thresholds are of no other.", ""]
    chosen = evaluated["chosen"]
    thresholds = (
        "none is admissible"
        if chosen is None
        else ", ".join(f"{label} {value}" for label, value in thresholds_of(chosen).items())
    )
    lines += [f"**Thresholds** chosen on validation pictures: {thresholds}.", ""]
    lines += ["In brackets: 95 % intervals, of scenes drawn with replacement; of a single scene there is none.", ""]
    (precision,) = (each for each in evaluated["tables"] if each["title"] == "Average precision")
    heads = ["split", "source", "fire, IoU 0.5", "smoke, IoU 0.5", "fire, IoU 0.3", "smoke, IoU 0.3"]
    lines += _table(heads, precision["rows"])
    for table in evaluated["tables"]:
        lines += _at_the_thresholds(table)
    return lines


def with_int8(card: str, weights: Path, sha256: str) -> str:
    """The card of weights with what has to be known of their form in int8: who finds its hash on record finds it here."""
    line = f"{_INT8}: `{weights.name}`, quantised from these weights (`python -m training quantise`), SHA-256 `{sha256}` of .xml and .bin."
    return f"{without_int8(card)}\n{line}\n"


def without_int8(card: str) -> str:
    """The card as it was without."""
    return re.sub(rf"\n{re.escape(_INT8)}: .*\n", "", card)


def history(name: str, steps: int, settings: Mapping[str, Any], made_of: Mapping[str, str]) -> str:
    """How a training was made that has gone into another's weights, in paragraphs of that card."""
    how = f"**{name}** was made {_how(f'{steps} steps', settings, [made_of])}."
    return "\n\n".join((how, *_origin(made_of)))


def _how(steps: str, settings: Mapping[str, Any], trainings: Sequence[Mapping[str, str]]) -> str:
    """By which command; the steps and settings of a soup are only those of what its batch norms were measured with."""
    soups = list(dict.fromkeys(each["soup"] for each in trainings if "soup" in each))
    if soups:
        of_several = f"as the mean of {len(trainings)} soups, each " if len(trainings) > 1 else ""
        return f"{of_several}with `python -m training soup` as {'; '.join(soups)}"
    commands = dict.fromkeys(f"`python -m training {each.get('command', 'train')}`" for each in trainings or [{}])
    return f"with {' and '.join(commands)} in {steps}; {', '.join(f'{key} {value}' for key, value in settings.items())}"


def _made_of(trainings: Sequence[Mapping[str, str]]) -> list[str]:
    """One paragraph for each that differs; older checkpoints say less."""
    paragraphs = dict.fromkeys(said for each in trainings if each for said in _origin(each))
    return [line for each in paragraphs for line in (each, "")]


def _origin(made_of: Mapping[str, str]) -> list[str]:
    """What weights come from and which pictures made them, in paragraphs; of a soup, what was mixed."""
    drawn = (
        f"folders, and how often their pictures were drawn: {made_of.get('folders', 'not said')}; "
        f"SHA-256 of these pictures, their labels and how often: `{made_of.get('pictures', 'not said')}`."
    )
    if "soup" in made_of:
        return [f"Batch norms: {drawn}", *made_of["trainings"].split("\n\n")]
    return [f"Begun from {made_of.get('began_from', 'what is not said')}; {drawn}"] if made_of else []


def _at_the_thresholds(table: Mapping[str, Any]) -> list[str]:
    """What a table says of all sources together at the chosen thresholds, with time asked as the daemon does; of each clip nothing."""
    rows = [
        row
        for row in table["rows"]
        if row.get("thresholds") == "chosen" and row.get("source", "all") == "all" and row.get("time asked", True)
    ]
    if not rows or table["title"] == "Clips":
        return []
    heads = [name for name in rows[0] if name not in ("thresholds", "source", "time asked")]
    return [f"{table['title']}, at the thresholds:", "", *_table(heads, rows)]


def _table(heads: Sequence[str], rows: Sequence[Mapping[str, Any]]) -> list[str]:
    lines = [f"| {' | '.join(_cell(row[head]) for head in heads)} |" for row in rows]
    return [f"| {' | '.join(heads)} |", "|" + " --- |" * len(heads), *lines, ""]


def _cell(value: Any) -> str:
    if isinstance(value, Mapping):
        return str(Estimate(**value))
    return "–" if value is None else f"{value:.3f}" if isinstance(value, float) else str(value)


def _sources(sources: Sequence[Source]) -> list[str]:
    if not sources:
        return ["Where the pictures are from, and under which licences, has to be written here by hand.", ""]
    rows = [
        f"| {each.name} | {each.repository}, {each.commit[:12]}, {each.folder} | {each.licence} | {_shows(each)} |"
        for each in sources
    ]
    about = "What `training assemble` takes from the sources named; which of it was trained with stands above."
    return [about, "", "| pictures | from | licence as stated there | shows |", "| --- | --- | --- | --- |", *rows, ""]


def _shows(source: Source) -> str:
    if source.only_empty or source.unlabelled or not source.classes:
        return "neither"
    return ", ".join(sorted(set(source.classes.values()))) + ("" if source.smoke_known else "; smoke not labelled")
