# SPDX-License-Identifier: AGPL-3.0-or-later
"""What the API's tests share: a site with a true web process."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from tests.api.web_under_test import Site


@pytest.fixture
def make_site(tmp_path: Path) -> Iterator[Callable[..., Site]]:
    """Makes sites; keywords are blocks of the settings."""
    sites: list[Site] = []

    def make(**settings: Any) -> Site:
        sites.append(Site(tmp_path, **settings))
        return sites[-1]

    yield make
    for site in sites:
        site.close()


def png(tone: int, width: int = 64, height: int = 48) -> bytes:
    """A grey picture of one tone, which the played detector tells back."""
    return cv2.imencode(".png", np.full((height, width, 3), tone, np.uint8))[1].tobytes()


@pytest.fixture
def picture() -> Callable[..., bytes]:
    return png


@pytest.fixture
def picture64() -> Callable[..., str]:
    """The same as base64."""
    return lambda *arguments: base64.b64encode(png(*arguments)).decode()
