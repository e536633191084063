"""Pairs of a video's labelled pictures, and who is who in it."""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from dataclasses import dataclass

import numpy as np

from mien.corpus.ledger import Row
from mien.corpus.scan import Movie
from mien.pairs.options import PairOptions
from mien.systems.editing.pair_rules import choose


@dataclass(frozen=True)
class Pair:
    """Two labelled pictures of one track; `person` is the first track of the same person."""

    source: Row
    target: Row
    person: str


def pairs_of(movie: Movie, rows: list[Row], options: PairOptions) -> tuple[list[Pair], Counter[str]]:
    """Pairs of all tracks of a video, and tracks by what came of them.

    A track is `kept`, has `too_few_faces` left (fewer than two), or is `unmoved`: no two of its faces differ
    enough.

    Args:
        movie: the video.
        rows: of stage `labels`.
        options: rules; the choice is a function of `seed`, the video's content and the track alone.
    """
    tracks = defaultdict[tuple[int, int], list[Row]](list)
    for row in rows:
        if row["reason"] is None:
            tracks[row["shot"], row["track"]].append(row)
    people = _people({track: faces for track, faces in tracks.items() if len(faces) > 1}, options.alike)
    pairs, counts = list[Pair](), Counter[str]()
    for track, faces in sorted(tracks.items()):
        if len(faces) < 2:
            counts["too_few_faces"] += 1
            continue
        found = _pairs_of_track(movie, track, faces, options)
        counts["kept" if found else "unmoved"] += 1
        shot, number = people[track]
        pairs += [Pair(faces[first], faces[second], f"{shot}-{number}") for first, second in found]
    return pairs, counts


def _pairs_of_track(
    movie: Movie, track: tuple[int, int], faces: list[Row], options: PairOptions
) -> list[tuple[int, int]]:
    rng = np.random.default_rng([options.seed, movie.number, *track])
    found = choose(np.array([row["units"] for row in faces]), options.pairs, rng, options.rules)
    # Of a track where nothing moves only pictures with themselves come back: no lesson on its own.
    return found if any(first != second for first, second in found) else []


def _people(tracks: dict[tuple[int, int], list[Row]], alike: float) -> dict[tuple[int, int], tuple[int, int]]:
    """First track of the person of each track: those whose mean rows are near are joined, unless they met."""
    names = sorted(tracks)
    means = [np.mean([row["who"] for row in tracks[name]], axis=0) for name in names]
    rows = np.array([mean / max(float(np.linalg.norm(mean)), 1e-9) for mean in means])
    person = list(range(len(names)))
    for second in range(len(names)):
        for first in range(second):
            near = person[first] != person[second] and rows[first] @ rows[second] >= alike
            if near and not _met(tracks, names, person, person[first], person[second]):
                low, high = sorted((person[first], person[second]))
                person = [low if each == high else each for each in person]
    return {name: names[person[place]] for place, name in enumerate(names)}


def _met(
    tracks: dict[tuple[int, int], list[Row]], names: list[tuple[int, int]], person: list[int], *pair: int
) -> bool:
    """Whether two people are in the picture at the same time, and so are two."""
    spans = [
        [_span(tracks[names[place]]) for place, each in enumerate(person) if each == one] for one in pair
    ]
    return any(a[0] <= b[1] and b[0] <= a[1] for a in spans[0] for b in spans[1])


def _span(faces: list[Row]) -> tuple[int, int]:
    frames = [row["frame"] for row in faces]
    return min(frames), max(frames)


def uid_of(name: str) -> int:
    """63 bits of a name's hash: the same pair has the same uid in every build."""
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big") >> 1
