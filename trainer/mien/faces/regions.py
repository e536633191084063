"""Labels of the parts of a face in the picture."""

from __future__ import annotations

from functools import cache

import numpy as np
from PIL import Image, ImageDraw

from mien.faces.fields import stroke
from mien.faces.fragments import Fragments
from mien.faces.head_features import landmark_chart

LABELS = ("background", "skin", "brow", "eye", "lips", "mouth", "hair", "occluder")
"""Region names by label; "mouth" is what shows between the lips: teeth, tongue and the dark behind."""

_SKIN, _BROW, _EYE, _LIPS, _MOUTH, _HAIR, OCCLUDER = range(1, len(LABELS))
# The map of the chart: extent in u and v from the origin, cells per cm.
_EXTENT, _CELLS = 9.0, 24


def label(seen: Fragments) -> np.ndarray:
    """Labels of the samples without occluders, uint8 [side, side]."""
    labels = np.full(len(seen.pixel), _SKIN, np.uint8)
    skin = seen.of("skin")
    cell = ((seen.chart[skin] + _EXTENT) * _CELLS).astype(np.int64)
    last = round(2 * _EXTENT * _CELLS) - 1
    found = _chart_map()[np.clip(cell[:, 1], 0, last), np.clip(cell[:, 0], 0, last)]
    rim_of_lip = (seen.rim[skin] > 0.5) & (seen.chart[skin, 1] < 0)
    labels[skin] = np.where(rim_of_lip, _LIPS, found)
    labels[seen.of("eye_left", "eye_right")] = _EYE
    labels[seen.of("teeth_upper", "teeth_lower", "tongue", "cavity")] = _MOUTH
    labels[seen.of("hair")] = _HAIR
    return seen.scatter(labels)


@cache
def _chart_map() -> np.ndarray:
    """Label of skin by chart cell (row v, column u), uint8."""
    count = round(2 * _EXTENT * _CELLS)
    chart = landmark_chart()[0].astype(float)
    canvas = Image.new("L", (count, count), _SKIN)
    outline = [tuple(place) for place in ((chart[48:60] + _EXTENT) * _CELLS).tolist()]
    ImageDraw.Draw(canvas).polygon(outline, fill=_LIPS)
    labels = np.array(canvas)
    at = (np.arange(count) + 0.5) / _CELLS - _EXTENT
    u, v = np.meshgrid(at, at)
    for brow in (chart[17:22], chart[22:27]):
        points = [(float(a), float(b)) for a, b in brow]
        labels[stroke(u, v, points, 0.33) > 0.5] = _BROW
    return labels
