# SPDX-License-Identifier: AGPL-3.0-or-later
"""All that a training needs to go on as if it had never stopped, in one file that is exchanged whole; needs torch.

It holds tensors and plain values only, and is read as such: unlike an Ultralytics checkpoint it cannot execute code.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from training.folders import FolderError
from training.network import network

FORMAT = 1
PARTS = {"settings": dict, "plan": dict, "step": int, "model": dict, "average": dict, "optimizer": dict}
"""What every one of them has (loop.py)."""


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

    Raises FolderError for a file that cannot be read, one of another version, and one without all that a training writes.
    """
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except OSError as error:
        raise FolderError(f"{path}: cannot be read ({error.strerror})") from error
    except Exception:  # of bytes that are no pickle an unpickler can raise anything
        return None
    if not isinstance(content, dict) or "format" not in content:
        return None
    if not (isinstance(content["format"], int) and content["format"] == FORMAT):
        raise FolderError(f"{path}: not a checkpoint of this version")
    if wrong := [name for name, kind in PARTS.items() if not isinstance(content.get(name), kind)]:
        raise damaged(path, f"{', '.join(wrong)} missing, or not as a training writes it")
    try:
        made = network(content["plan"])
        for name in ("model", "average"):
            made.load_state_dict(content[name])
    except FolderError as error:
        raise damaged(path, str(error)) from error
    except Exception as error:  # what torch and Ultralytics raise of another's values shares no base
        raise damaged(path, "its weights are not those of its network") from error
    return content


def damaged(path: Path, why: str) -> FolderError:
    """What is said of a checkpoint of ours that cannot be gone on with."""
    return FolderError(f"{path}: a damaged checkpoint: {why}")
