# SPDX-License-Identifier: AGPL-3.0-or-later
"""All that a training needs to go on as if it had never stopped, in one file that is exchanged whole; needs torch.

It holds tensors and plain values only, and is read as such: unlike an Ultralytics checkpoint it cannot execute code.
"""

from __future__ import annotations

import os
import pickle
from pathlib import Path
from typing import Any

import torch

from training.folders import FolderError

FORMAT = 1


def save(path: Path, content: dict[str, Any]) -> None:
    """Replaces the file; a crash leaves the old or the new one."""
    part = path.with_name(f".{path.name}.part")
    with part.open("wb") as file:
        torch.save({"format": FORMAT, **content}, file)
        file.flush()
        os.fsync(file.fileno())
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
