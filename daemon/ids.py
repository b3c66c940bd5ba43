# SPDX-License-Identifier: AGPL-3.0-or-later
"""Identifiers: UUIDv7 (RFC 9562, section 5.7), so that file names and rows sort roughly by creation.

Nothing may depend on that order being exact: a wall clock can step (invariant 5 of the design).
"""

from __future__ import annotations

import uuid_utils


def new_id() -> str:
    """A new UUIDv7 in its canonical text form, 36 characters, lower case."""
    return str(uuid_utils.uuid7())
