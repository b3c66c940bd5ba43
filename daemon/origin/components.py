# SPDX-License-Identifier: AGPL-3.0-or-later
"""Which component of the plant a place belongs to: the probability that the foot lies in each polygon.

share(c) = Σ over the picture of w(p) · [p in c] · (1 / area(c)) / Σ over all components at p of 1 / area, where w is the normal
density around the foot with the place's standard deviations, cut at the picture's edges. Where polygons overlap, the
smaller one, which says more, has the larger part. What lies in none is the unnamed area's; all shares make 1.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from daemon.origin.outline import UNNAMED, Outline
from daemon.origin.picture import Mask, Point
from daemon.origin.place import Place
from daemon.origin.record import Candidate, Component
from daemon.origin.view import View
from daemon.polygon import area

LEAST_SHARE = 1 / 3  # of a component that is named: below, the unnamed area is the better answer
REACH_SIGMAS = 3.0
SAMPLES = 61  # along each axis


def component_of(place: Place, components: Sequence[Outline], size_px: tuple[int, int], view: View | None) -> Component:
    """By the place's foot in a picture of that size (width, height); `view` is None where no components are drawn.

    A moved camera has no candidates: the polygons lie anywhere. Where the view cannot be told they are listed, for whoever knows
    that the camera stood still, and none is named.
    """
    if view is not None and view.verdict == "moved":
        return Component(None, 0.0, (), view.why)
    name, share, candidates = _best(place, components, size_px)
    if view is not None and view.verdict == "cannot_tell":
        return Component(None, 0.0, candidates, f"{view.why}; the candidates hold only if the camera has not moved")
    return Component(name, share, candidates, "")


def _best(
    place: Place, components: Sequence[Outline], size_px: tuple[int, int]
) -> tuple[str, float, tuple[Candidate, ...]]:
    x, y, weight = _samples(place, size_px)
    shares = _shares(x / size_px[0], y / size_px[1], weight, components)
    unnamed = max(0.0, 1.0 - sum(shares))
    found = [Candidate(each.name, share) for each, share in zip(components, shares, strict=True)]
    candidates = tuple(
        sorted(
            (each for each in (*found, Candidate(UNNAMED, unnamed)) if each.share >= 0.01), key=lambda each: -each.share
        )
    )
    best = next((each for each in candidates if each.name != UNNAMED and each.share >= LEAST_SHARE), None)
    named = best or Candidate(UNNAMED, unnamed)
    return named.name, named.share, candidates


def _samples(
    place: Place, size_px: tuple[int, int]
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Places around the foot, in pixels, and the weight of each; all weights make 1."""
    steps = np.linspace(-REACH_SIGMAS, REACH_SIGMAS, SAMPLES)
    down, across = np.meshgrid(steps, steps, indexing="ij")
    x = place.point_px[0] + across.ravel() * place.sigma_px[0]
    y = place.point_px[1] + down.ravel() * place.sigma_px[1]
    weight = np.exp(-(across.ravel() ** 2 + down.ravel() ** 2) / 2)
    weight[(x < 0) | (x > size_px[0]) | (y < 0) | (y > size_px[1])] = 0.0
    total = weight.sum()
    return x, y, weight / total if total > 0 else weight


def _shares(
    x: NDArray[np.float64], y: NDArray[np.float64], weight: NDArray[np.float64], components: Sequence[Outline]
) -> list[float]:
    if not components:
        return []
    claims = np.stack([_holds(each.polygon, x, y) / max(area(each.polygon), 1e-9) for each in components])
    total = claims.sum(axis=0)
    parts = np.divide(claims, total, out=np.zeros_like(claims), where=total > 0)
    return [float(share) for share in parts @ weight]


def _holds(polygon: Sequence[Point], x: NDArray[np.float64], y: NDArray[np.float64]) -> Mask:
    """Which places lie inside, by the even-odd rule."""
    inside = np.zeros(x.shape, np.bool_)
    for (x1, y1), (x2, y2) in zip(polygon, (*polygon[1:], polygon[0]), strict=True):
        if y1 != y2:
            crosses = (y1 > y) != (y2 > y)
            with np.errstate(over="ignore"):  # of an edge that is all but level, beyond which nothing crosses
                inside ^= crosses & (x < x1 + (y - y1) * (x2 - x1) / (y2 - y1))
    return inside
