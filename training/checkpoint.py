# SPDX-License-Identifier: AGPL-3.0-or-later
"""All that a training needs to go on as if it had never stopped, in one file that is exchanged whole; needs torch.

It holds tensors and plain values only, and is read as such: unlike an Ultralytics checkpoint it cannot execute code.
"""

from __future__ import annotations

import os
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from training.folders import FolderError

FORMAT = 1


def save(path: Path, content: dict[str, Any]) -> None:
    """Replaces the file; a crash leaves the old or the new one."""
    save_all({path: content})


def save_all(contents: Mapping[Path, dict[str, Any]]) -> None:
    """Replaces the files of what goes on together, once all are written: only a crash while they are renamed leaves old and new ones."""
    parts = {path: path.with_name(f".{path.name}.part") for path in contents}
    for path, content in contents.items():
        with parts[path].open("wb") as file:
            torch.save({"format": FORMAT, **content}, file)
            file.flush()
            os.fsync(file.fileno())
    for path, part in parts.items():
        part.replace(path)


def load(path: Path) -> dict[str, Any]:
    """Raises FolderError for what is none of ours."""
    content = found(path)
    if content is None:
        raise FolderError(f"{path}: not a checkpoint of `python -m training train`")
    return content


def found(path: Path) -> dict[str, Any] | None:
    """None for what is none of ours, read without executing anything.

    Raises FolderError for a file that cannot be read, and for one of another version.
    """
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except OSError as error:
        raise FolderError(f"{path}: cannot be read ({error.strerror})") from error
    except (RuntimeError, EOFError, pickle.UnpicklingError):
        return None
    if not isinstance(content, dict) or "format" not in content:
        return None
    if content["format"] != FORMAT:
        raise FolderError(f"{path}: not a checkpoint of this version")
    return content
