# SPDX-License-Identifier: AGPL-3.0-or-later
"""The one family of errors, each with a kind; a leaf of the import graph, so that every part may raise them.

Foreign errors (FFmpeg's, SQLite's, the kernel's) are mapped to these once, where they enter.
"""

from __future__ import annotations


class FirewitnessError(Exception):
    """Something that a user can be told in one sentence: its text is that sentence."""


def first_line(error: Exception) -> str:
    """What a library says went wrong, without the C++ file names that OpenVINO puts before it."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return next((line for line in lines if ".cpp:" not in line), type(error).__name__)


class SettingsError(FirewitnessError):
    """The configuration cannot be used; the text names the key, its line and what is allowed."""


class CameraError(FirewitnessError):
    """A camera cannot be watched now; `reason` is one of the gap reasons of docs/glossary.md."""

    def __init__(self, reason: str, text: str) -> None:
        super().__init__(text)
        self.reason = reason


class DetectorError(FirewitnessError):
    """Weights that cannot be trusted or loaded, or an inference that failed."""


class OtherNetwork(DetectorError):
    """Weights of a network that this runtime does not know; another one may compute them."""


class StoreError(FirewitnessError):
    """The disk under the evidence cannot be used; `state` says how (see `DiskState`)."""

    def __init__(self, state: str, text: str) -> None:
        super().__init__(text)
        self.state = state


class NotRunning(FirewitnessError):
    """A command needs the running daemon, and none answers in the runtime directory."""


class PeerGone(FirewitnessError):
    """The process at the other end of a channel has closed it or died."""


class MessageError(FirewitnessError):
    """A peer sent something that is no message of this channel: a bug or an intruder, never retried."""
