"""Split a set into parts with no person in two of them, classes as even as the persons allow."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mien.data.reader import Sample, ShardSet
from mien.data.staging import staged
from mien.data.writer import ShardWriter
from mien.errors import DataError

FILE = "split.json"
"""How a split was made, beside its parts: source, key, parts, seed, and the counts of each part by class."""

_Values = tuple[list[str], NDArray[np.int64]]
"""Distinct values, and for each sample the place of its value among them."""

_NAME = re.compile(r"[A-Za-z0-9_\-]{1,40}")
_UNPLAIN = re.compile(r"[^A-Za-z0-9_\-]")


def parse_parts(text: str) -> dict[str, float]:
    """Parts as the command line has them: `train=0.8,test=0.2`.

    Raises:
        DataError: for anything else, or as `split`.
    """
    parts: dict[str, float] = {}
    for piece in text.split(","):
        name, equals, value = piece.strip().partition("=")
        try:
            fraction = float(value)
        except ValueError:
            fraction = math.nan
        if not equals or math.isnan(fraction) or name in parts:
            raise DataError(
                f"part {piece!r}", where="parts", fix="write them like train=0.8,val=0.1,test=0.1"
            )
        parts[name] = fraction
    check_parts(parts)
    return parts


def split(
    folder: Path,
    out: Path,
    *,
    parts: Mapping[str, float],
    by: str = "group",
    seed: int = 0,
    samples_per_shard: int = 2500,
) -> dict[str, Path]:
    """Copy a set's samples into the sets `out/<part>`, in the order of the set.

    The same set, parts and seed give the same bytes. Groups are dealt out large ones first, those of like
    size in an order that the seed decides, each to the part whose class counts it brings nearest to their
    share.

    Args:
        folder: the set.
        out: absent or empty; appears when every part is complete.
        parts: share of the samples by name of the part, in (0, 1], sum 1.
        by: key of the record whose values stay together; `uid` splits sample by sample.
        seed: of the draw, >= 0.
        samples_per_shard: samples in every shard but the last of a part.

    Returns:
        Folder of each part.

    Raises:
        DataError: for parts that are no shares, a record without `by`, a damaged sample, a part that would be
            empty, or an `out` in use.
    """
    check_parts(parts)
    with staged(out) as partial:
        shards = ShardSet(folder)
        groups, labels = _read_keys(shards, by)
        names = list(parts)
        shares = np.array(list(parts.values()))
        part_of = deal(_count(groups, labels), shares, seed)[groups[1]]
        if empty := [name for number, name in enumerate(names) if not (part_of == number).any()]:
            what = f"nothing is left for {', '.join(empty)}: the set has {len(groups[0])} values of {by!r}"
            raise DataError(what, where=folder, fix="give fewer or larger parts")
        tables = {}
        for number, name in enumerate(names):
            chosen = np.flatnonzero(part_of == number)
            _copy(shards, chosen, partial / name, samples_per_shard)
            tables[name] = {"fraction": parts[name], **_describe(chosen, groups, labels)}
        about = {"source": shards.sha, "by": by, "seed": seed, "parts": tables}
        (partial / FILE).write_text(json.dumps(about, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    return {name: out / name for name in names}


def _count(groups: _Values, labels: _Values) -> NDArray[np.int64]:
    """Samples by group and class, int64 [groups, classes]."""
    counts = np.zeros((len(groups[0]), len(labels[0])), dtype=np.int64)
    np.add.at(counts, (groups[1], labels[1]), 1)
    return counts


def _describe(chosen: NDArray[np.int64], groups: _Values, labels: _Values) -> dict[str, Any]:
    held = np.bincount(labels[1][chosen], minlength=len(labels[0])).tolist()
    by_class = dict(zip(labels[0], held, strict=True))
    return {"samples": len(chosen), "groups": len(np.unique(groups[1][chosen])), "labels": by_class}


def deal(counts: NDArray[np.int64], fractions: NDArray[np.float64], seed: int) -> NDArray[np.int64]:
    """Part of each group.

    Args:
        counts: samples by group and class, int64 [groups, classes].
        fractions: share of each part, float64 [parts], > 0.
        seed: >= 0.

    Returns:
        int64 [groups].
    """
    # The total counts as one more class, else every class could round the same way.
    counts = np.hstack([counts, counts.sum(1, keepdims=True)])
    # A group costs a part the growth of sum over classes of (held - wanted)^2 / wanted: Pearson's chi-square
    # of the part, so a rare class weighs as much as a common one.
    wanted = fractions[:, None] * np.maximum(counts.sum(0), 1)
    held = np.zeros_like(wanted)
    parts = np.empty(len(counts), dtype=np.int64)
    for group in _large_first(counts[:, -1], seed):
        new = counts[group]
        growth = (new * (new + 2 * (held - wanted)) / wanted).sum(1)
        parts[group] = part = int(growth.argmin())
        held[part] += new
    return parts


def _large_first(sizes: NDArray[np.int64], seed: int) -> NDArray[np.int64]:
    """Groups by falling power of two of their size, in random order where it is the same."""
    bits = np.random.Philox(key=seed).random_raw(len(sizes))
    return np.lexsort((bits, -np.floor(np.log2(sizes))))


def _read_keys(shards: ShardSet, by: str) -> tuple[_Values, _Values]:
    """Group and class of each sample."""
    groups, labels = [], []
    for sample in shards:
        value = sample.record.get(by)
        if not isinstance(value, str | int) or isinstance(value, bool):
            what = f"record has no text or whole number {by!r}"
            raise DataError(what, where=sample.where, fix=f"split by one of: {_keys(sample)}")
        groups.append(str(value))
        labels.append(sample.record["label"])
    return _distinct(groups), _distinct(labels)


def _distinct(values: list[str]) -> _Values:
    names, places = np.unique(values, return_inverse=True)
    return names.tolist(), places


def _keys(sample: Sample) -> str:
    return ", ".join(key for key, value in sample.record.items() if isinstance(value, str | int))


def _copy(shards: ShardSet, chosen: NDArray[np.int64], out: Path, samples_per_shard: int) -> None:
    with ShardWriter(out, shards.schema, samples_per_shard) as writer:
        for index in chosen.tolist():
            sample = shards.read(index)
            key = sample.key
            if _UNPLAIN.search(key) or len(key) > 80:  # sets made by others may have folders and dots in keys
                key = f"{_UNPLAIN.sub('_', key)[-60:]}-{index}"
            writer.write(key, sample.members)


def check_parts(parts: Mapping[str, float]) -> None:
    """Refuse parts that are no shares.

    Raises:
        DataError: for a name that is not plain, a share outside (0, 1], or a sum that is not 1.
    """
    for name, fraction in parts.items():
        if not _NAME.fullmatch(name):
            raise DataError(
                f"part name {name!r}", where="parts", fix="use letters, digits, _ and -, at most 40"
            )
        if not 0 < fraction <= 1:
            raise DataError(f"part {name} is {fraction}", where="parts", fix="give shares in (0, 1]")
    if not parts or not math.isclose(sum(parts.values()), 1, abs_tol=1e-6):
        raise DataError(f"shares add up to {sum(parts.values()):g}", where="parts", fix="make the sum 1")
