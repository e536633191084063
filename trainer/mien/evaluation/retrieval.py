"""Caption retrieval both ways, with equal captions counted as one text (spec emocapclip, section 6.3)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from mien.errors import DataError
from mien.evaluation.encoding import embed_faces, embed_texts, unit
from mien.evaluation.faceset import FaceSet
from mien.evaluation.metrics import Interval, bootstrap, hit_counts, hit_rate
from mien.evaluation.report import Row
from mien.systems.encoder import Encoder

LEVELS = ("global", "summary", "averaged")
"""Texts that are retrieved: the two sentences, and the unit mean of their vectors."""

CUTS = (1, 5, 10)
"""Ranks k of R@k."""

TILE = 512
"""Queries scored at once: memory stays linear in the set."""

Floats = npt.NDArray[np.floating]
Ints = npt.NDArray[np.int64]


def ranks(queries: Floats, candidates: Floats, query_text: Ints, candidate_text: Ints) -> Ints:
    """Wrong candidates that score at least as high as the best right one, per query, [Q].

    A candidate is right when it has the query's text number. Ties count against the query: vectors that are
    all equal find nothing.

    Args:
        queries: [Q, D].
        candidates: [C, D].
        query_text: text number of each query, [Q]; each occurs among the candidates.
        candidate_text: text number of each candidate, [C].
    """
    found = np.empty(len(queries), dtype=np.int64)
    for start in range(0, len(queries), TILE):
        rows = slice(start, start + TILE)
        scores = queries[rows] @ candidates.T
        right = query_text[rows, None] == candidate_text[None, :]
        best = np.where(right, scores, -np.inf).max(1, keepdims=True)
        found[rows] = (~right & (scores >= best)).sum(1)
    return found


def recall_both_ways(
    images: Floats, texts: Floats, text_numbers: Ints, groups: Sequence[str], seed: int = 0
) -> dict[str, Interval]:
    """R@1, R@5, R@10 from image to text (`i2t_r1`, ...) and from text to image (`t2i_r1`, ...).

    Args:
        images: unit vectors, [N, D].
        texts: unit vector of each image's own text, [N, D].
        text_numbers: equal for equal texts, [N]. Image to text searches the distinct texts; text to image
            searches all images, and any image with an equal text is right.
        groups: person of each image, [N].
        seed: of the bootstrap.
    """
    numbers, first = np.unique(text_numbers, return_index=True)
    found = {
        "i2t": ranks(images, texts[first], text_numbers, numbers),
        "t2i": ranks(texts, images, text_numbers, text_numbers),
    }
    return {
        f"{way}_r{k}": bootstrap(hit_rate, hit_counts(place < k), groups, seed=seed)
        for way, place in found.items()
        for k in CUTS
    }


def chance(text_numbers: Ints, groups: Sequence[str], seed: int = 0) -> dict[str, Interval]:
    """The same metrics for a random order, exactly: k / U; 1 - C(N - m, k) / C(N, k) with m right images."""
    _, number, count = np.unique(text_numbers, return_inverse=True, return_counts=True)
    total, right = len(text_numbers), count[number].astype(np.float64)
    metrics = {}
    for k in CUTS:
        missed = np.ones(total)
        for draw in range(min(k, total)):
            missed *= np.maximum(total - right - draw, 0) / (total - draw)
        rates = {"i2t": np.full(total, min(k / len(count), 1.0)), "t2i": 1 - missed}
        for way, rate in rates.items():
            counts = np.stack([rate, np.ones(total)], axis=1)
            metrics[f"{way}_r{k}"] = bootstrap(hit_rate, counts, groups, seed=seed)
    return {f"{way}_r{k}": metrics[f"{way}_r{k}"] for way in ("i2t", "t2i") for k in CUTS}


def retrieval(encoder: Encoder, test: FaceSet, *, seed: int = 0) -> list[Row]:
    """One row per level that the captions have, and chance on the first of them.

    Raises:
        DataError: when no sample has a caption.
    """
    sentences = {level: test.texts(level) for level in ("global", "summary")}
    keep = {level: [i for i, text in enumerate(texts) if text] for level, texts in sentences.items()}
    keep["averaged"] = sorted(set(keep["global"]) & set(keep["summary"]))
    if not keep["global"] and not keep["summary"]:
        raise DataError(
            "no sample has a `global` or `summary` caption",
            where=test.name,
            fix="retrieval needs a captioned set",
        )
    images = embed_faces(encoder, test)
    vectors = {
        level: embed_texts(encoder, [text or "" for text in texts])
        for level, texts in sentences.items()
        if keep[level]
    }
    if keep["averaged"]:
        vectors["averaged"] = unit(vectors["global"] + vectors["summary"])
    rows = []
    for level in (level for level in LEVELS if keep[level]):
        chosen = keep[level]
        texts = list(zip(*(sentences[part] for part in (sentences if level == "averaged" else [level]))))
        numbers = _numbers([texts[i] for i in chosen])
        groups = [test.groups[i] for i in chosen]
        metrics = recall_both_ways(images[chosen], vectors[level][chosen], numbers, groups, seed)
        note = f"{len(chosen)} images, {numbers.max() + 1} distinct texts"
        rows.append(Row(f"retrieval/{level}", metrics, note=note))
        if len(rows) == 1:
            baseline = Row(
                f"chance/{level}", chance(numbers, groups, seed), "baseline", note="random order, exact"
            )
    return [*rows, baseline]


def _numbers(texts: Sequence[tuple[str | None, ...]]) -> Ints:
    places = {text: i for i, text in enumerate(dict.fromkeys(texts))}
    return np.array([places[text] for text in texts], dtype=np.int64)
