# SPDX-License-Identifier: AGPL-3.0-or-later
"""Reads the classes' names from the metadata that Ultralytics writes into an ONNX file, never by evaluating it."""

from __future__ import annotations

import ast


def class_names(metadata: str | None) -> tuple[str, ...] | None:
    """The names in the order of the classes, from text such as "{0: 'fire', 1: 'smoke'}"; None for anything else."""
    if metadata is None:
        return None
    try:
        names = ast.literal_eval(metadata)
    except (ValueError, SyntaxError, RecursionError, MemoryError):
        return None
    if not isinstance(names, dict) or list(names) != list(range(len(names))):
        return None
    return tuple(str(each) for each in names.values())
