# SPDX-License-Identifier: AGPL-3.0-or-later
"""A daemon for each test, and nobody of it left behind."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.system.daemon_under_test import Daemon


@pytest.fixture
def daemon() -> Iterator[Daemon]:
    """`firewitness run` in its own folder."""
    made = Daemon()
    yield made
    made.clean()
