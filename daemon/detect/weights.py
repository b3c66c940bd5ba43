# SPDX-License-Identifier: AGPL-3.0-or-later
"""A weights file, checked before anything opens it: read once, hashed, and loaded from those same bytes.

A `.pt` is a pickle, which runs code when opened; it is refused unless the operator allows it.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from daemon import shipped
from daemon.errors import DetectorError

_MOST_BYTES = 2_000_000_000  # an ONNX file's own limit (protobuf)


@dataclass(frozen=True, slots=True)
class Weights:
    """The bytes of a weights file and what they hash to; `pickled` tells a `.pt` from an ONNX."""

    path: Path
    content: bytes
    sha256: str
    pickled: bool

    @property
    def name(self) -> str:
        return self.path.stem

    @property
    def shipped(self) -> bool:
        """Whether these are the very weights that Firewitness comes with."""
        return self.sha256 == shipped.SHA256


def read_weights(path: Path | None = None, sha256: str | None = None, allow_pickle: bool = False) -> Weights:
    """Reads and checks a weights file; None: the shipped one, whose hash is known.

    Raises DetectorError: missing, unreadable, of an unknown kind, a pickle that is not allowed, or not what its
    hash says.
    """
    path = path or shipped.WEIGHTS
    if path.suffix not in {".onnx", ".pt"}:
        raise DetectorError(f"{path}: not a weights file; allowed are .onnx and, with detect.allow_pickle, .pt")
    if path.suffix == ".pt" and not allow_pickle:
        raise DetectorError(
            f"{path}: a .pt file runs code when it is opened; export it to ONNX, or set detect.allow_pickle: true"
        )
    content = _read(path)
    found = hashlib.sha256(content).hexdigest()
    expected = sha256 or (shipped.SHA256 if _is_shipped(path) else None)
    if expected is not None and found != expected:
        raise DetectorError(f"{path}: these are not the weights expected: SHA-256 is {found}, it should be {expected}")
    return Weights(path, content, found, path.suffix == ".pt")


def _read(path: Path) -> bytes:
    try:
        size = path.stat().st_size
        if not 0 < size < _MOST_BYTES:
            raise DetectorError(f"{path}: {size} bytes; a weights file has between 1 and {_MOST_BYTES}")
        return path.read_bytes()
    except OSError as error:
        raise DetectorError(f"{path}: the weights cannot be read ({error.strerror}); see detect.weights") from error


def _is_shipped(path: Path) -> bool:
    return path.resolve() == shipped.WEIGHTS.resolve()
