# SPDX-License-Identifier: AGPL-3.0-or-later
"""Reads the classes' names from the metadata that Ultralytics writes into an ONNX file, never by evaluating it."""

from __future__ import annotations

import ast
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from daemon.errors import DetectorError


def class_names(path: Path, metadata: str | None) -> tuple[str, ...] | None:
    """The names in the order of the classes, from text such as "{0: 'fire', 1: 'smoke'}" or "['fire', 'smoke']"; None for none.

    Raises DetectorError for text that does not say the order: fire and smoke may be the other way round.
    """
    if not metadata:
        return None
    try:
        return _in_order(ast.literal_eval(metadata))
    except (ValueError, TypeError, SyntaxError, RecursionError, MemoryError) as error:
        raise DetectorError(
            f"{path}: its classes' names {metadata[:60]!r} cannot be read; they have to be as {{0: 'fire', 1: 'smoke'}}"
        ) from error


def _in_order(names: Any) -> tuple[str, ...]:
    if isinstance(names, (list, tuple)):
        return tuple(str(each) for each in names)
    if not isinstance(names, Mapping):
        raise TypeError
    by_class = {int(number): str(name) for number, name in names.items()}
    if len(by_class) != len(names) or by_class.keys() != set(range(len(by_class))):
        raise ValueError
    return tuple(by_class[number] for number in range(len(by_class)))
