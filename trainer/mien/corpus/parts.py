"""Stage 6: the split by movie, and what two parts have in common."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

import numpy as np

from mien.corpus.ledger import Row
from mien.corpus.options import Options
from mien.data.split import check_parts, deal

Faces = Mapping[str, list[Row]]
"""Samples of each movie, by the movie's name."""


def split_movies(faces: Faces, options: Options) -> dict[str, str]:
    """Part of each movie that has samples; the same movies and seed give the same parts.

    Parts are filled by samples, large movies first (`mien.data.split.deal`). With few movies small parts stay
    empty.

    Raises:
        DataError: for parts that are no shares.
    """
    check_parts(options.parts)
    names = sorted(name for name, rows in faces.items() if rows)
    if not names:
        return {}
    counts = np.array([[len(faces[name])] for name in names], dtype=np.int64)
    places = deal(counts, np.array(list(options.parts.values())), options.seed)
    parts = list(options.parts)
    return {name: parts[place] for name, place in zip(names, places.tolist())}


def describe_split(faces: Faces, parts: Mapping[str, str], options: Options) -> dict[str, Any]:
    """Movies and samples of each part, and `near_copies`: pictures of one part that another one has, too.

    Two pictures are near copies if their perceptual hashes differ in `hash_bits` bits or fewer; films quote
    each other, and a trailer is a movie of its own.
    """
    told: dict[str, Any] = {}
    for part in options.parts:
        movies = [name for name, where in parts.items() if where == part]
        told[part] = {"movies": len(movies), "samples": sum(len(faces[name]) for name in movies)}
    pairs = Counter[str]()
    names = [part for part in options.parts if told[part]["samples"]]
    for place, first in enumerate(names):
        for second in names[place + 1 :]:
            pairs[f"{first}/{second}"] = _near(
                _hashes(faces, parts, first), _hashes(faces, parts, second), options
            )
    return {"parts": told, "near_copies": dict(pairs)}


def _hashes(faces: Faces, parts: Mapping[str, str], part: str) -> np.ndarray:
    codes = [int(row["phash"], 16) for name, rows in faces.items() if parts.get(name) == part for row in rows]
    return np.array(codes, dtype=np.uint64)


def _near(first: np.ndarray, second: np.ndarray, options: Options) -> int:
    """How many of `second` are near copies of one of `first`."""
    apart = (np.bitwise_count(first ^ code).min() for code in second)
    return sum(int(bits <= options.hash_bits) for bits in apart)
