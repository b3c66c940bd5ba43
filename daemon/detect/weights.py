# SPDX-License-Identifier: AGPL-3.0-or-later
"""Weights, checked before anything opens them: read once, hashed, and loaded from those same bytes.

A `.pt` is a pickle, which runs code when opened; it is refused unless the operator allows it. An ONNX file, OpenVINO's
`.xml` (with its `.bin`) and a TensorRT `.engine` are data to those who read them.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from daemon import shipped
from daemon.errors import DetectorError

_MOST_BYTES = 2_000_000_000  # an ONNX file's own limit (protobuf)
CHOICE = "in_use.json"
"""The file that says which of a site's models is in use (daemon/models.py)."""
_TRUSTED = "detect.allow_pickle: true in the settings, or --allow-pickle where a command has it"
SUFFIXES = (".onnx", ".xml", ".engine", ".pt")


@dataclass(frozen=True, slots=True)
class Weights:
    """The bytes of a weights file and what they hash to."""

    path: Path
    content: bytes
    sha256: str
    values: bytes = b""
    """Of an `.xml`: the `.bin` beside it. The hash is of both, one after the other."""
    card_sha256: str | None = None
    """Of the model card that lies beside them."""

    @property
    def name(self) -> str:
        return self.path.stem

    @property
    def format(self) -> str:
        """onnx, xml, engine or pt."""
        return self.path.suffix[1:]

    @property
    def quantised(self) -> bool:
        """Whether the network computes in int8."""
        return (b"FakeQuantize" if self.format == "xml" else b"DequantizeLinear") in self.content

    @property
    def shipped(self) -> bool:
        """Whether these are the very weights that Firewitness comes with, in one of their forms."""
        return self.sha256 in (shipped.SHA256, shipped.INT8_SHA256)


def read_weights(path: Path | None = None, sha256: str | None = None, allow_pickle: bool = False) -> Weights:
    """Reads and checks a weights file; None: the shipped one, whose hash is known.

    Raises DetectorError: missing, unreadable, of an unknown kind, a pickle that is not allowed, or not what its
    hash says.
    """
    path = path or shipped.WEIGHTS
    if path.name == CHOICE:  # stands for the weights that it no longer names: no others look in their stead
        raise DetectorError(unreadable_choice(path))
    if path.suffix not in SUFFIXES:
        allowed = ", ".join(SUFFIXES[:-1])
        raise DetectorError(f"{path}: not a weights file; allowed are {allowed} and, with {_TRUSTED}, .pt")
    if path.suffix == ".pt" and not allow_pickle:
        raise DetectorError(
            f"{path}: a .pt file runs code when it is opened; export it to ONNX, or say that you trust it, with {_TRUSTED}"
        )
    content = _read(path)
    values = _read(path.with_suffix(".bin")) if path.suffix == ".xml" else b""
    found = hashlib.sha256(content + values).hexdigest()
    expected = sha256 or _known(path)
    if expected is not None and found != expected:
        raise DetectorError(f"{path}: these are not the weights expected: SHA-256 is {found}, it should be {expected}")
    return Weights(path, content, found, values, _hash_of(card_of(path)))


def unreadable_choice(path: Path) -> str:
    """What is said of a `CHOICE` that says nothing."""
    return f"{path} cannot be read: choose again, or remove it"


def card_of(path: Path) -> Path:
    """Where the model card of these weights lies, or would; both forms of the shipped weights have one card."""
    return shipped.CARD if _known(path) is not None else path.with_suffix(".md")


def _read(path: Path) -> bytes:
    try:
        size = path.stat().st_size
        if not 0 < size < _MOST_BYTES:
            raise DetectorError(f"{path}: {size} bytes; a weights file has between 1 and {_MOST_BYTES}")
        return path.read_bytes()
    except OSError as error:
        beside = "; an .xml has its weights in a .bin beside it" if path.suffix == ".bin" else ""
        raise DetectorError(f"{path}: the weights cannot be read ({error.strerror}){beside}") from error


def _hash_of(card: Path) -> str | None:
    try:
        return hashlib.sha256(card.read_bytes()).hexdigest()
    except OSError:
        return None


def _known(path: Path) -> str | None:
    """What a shipped file must hash to; None for any other."""
    known = {shipped.WEIGHTS.resolve(): shipped.SHA256}
    if shipped.INT8 is not None:
        known[shipped.INT8.resolve()] = shipped.INT8_SHA256
    return known.get(path.resolve())
