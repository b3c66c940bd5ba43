# SPDX-License-Identifier: AGPL-3.0-or-later
"""TensorRT's `.engine` files: what stands at their head, and whether one was made for this host.

An engine is compiled for one GPU model by one TensorRT; another one refuses it, or computes slowly, or wrongly. So its head,
JSON behind four bytes of length as Ultralytics writes it, has a block of ours, and an engine without it is not used.
"""

from __future__ import annotations

import importlib
import importlib.util
import json
from dataclasses import asdict, dataclass
from typing import Any

from daemon.errors import DetectorError

_BLOCK = "firewitness"
_LONGEST_HEAD_BYTES = 1_000_000


@dataclass(frozen=True, slots=True)
class MadeFor:
    """Where an engine may run."""

    gpu: str
    tensorrt: str


def possible_here() -> bool:
    """Whether there are a GPU that torch can use, and TensorRT."""
    if importlib.util.find_spec("tensorrt") is None or importlib.util.find_spec("torch") is None:
        return False
    return bool(importlib.import_module("torch").cuda.is_available())


def of_this_host() -> MadeFor:
    """Of the first GPU; needs torch and tensorrt."""
    torch, tensorrt = importlib.import_module("torch"), importlib.import_module("tensorrt")
    return MadeFor(gpu=str(torch.cuda.get_device_name(0)), tensorrt=str(tensorrt.__version__))


def head_of(content: bytes) -> tuple[dict[str, Any], bytes]:
    """What stands at an engine's head, and the engine behind it; ({}, content) where there is no head."""
    length = int.from_bytes(content[:4], "little")
    if 2 <= length <= min(_LONGEST_HEAD_BYTES, len(content) - 4):
        try:
            head = json.loads(content[4 : 4 + length])
        except ValueError:
            return {}, content
        if isinstance(head, dict):
            return head, content[4 + length :]
    return {}, content


def marked(content: bytes, made_for: MadeFor, weights_sha256: str) -> bytes:
    """The same engine with our block at its head."""
    head, engine = head_of(content)
    head[_BLOCK] = {**asdict(made_for), "weights_sha256": weights_sha256}
    text = json.dumps(head).encode()
    return len(text).to_bytes(4, "little") + text + engine


def check(content: bytes, here: MadeFor, weights_sha256: str | None = None) -> None:
    """Raises DetectorError unless it was made for `here`, and of those weights where they are named."""
    block = head_of(content)[0].get(_BLOCK)
    if not isinstance(block, dict):
        raise DetectorError("nothing in it says for which GPU it was made; `firewitness model export --to engine` does")
    made_for = f"{block.get('gpu')}, TensorRT {block.get('tensorrt')}"
    if (block.get("gpu"), block.get("tensorrt")) != (here.gpu, here.tensorrt):
        raise DetectorError(f"made for {made_for}; here are {here.gpu}, TensorRT {here.tensorrt}: export it anew")
    if weights_sha256 is not None and block.get("weights_sha256") != weights_sha256:
        raise DetectorError("made of other weights: export it anew")
