"""Split a set into parts with no person in two of them, classes as even as the persons allow."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mien.data.reader import Sample, ShardSet
from mien.data.staging import staged
from mien.data.writer import ShardWriter
from mien.errors import DataError

FILE = "split.json"
"""How a split was made, beside its parts: source, key, parts, seed, and the counts of each part by class."""

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
    _check_parts(parts)
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
    _check_parts(parts)
    shards = ShardSet(folder)
    groups, labels = _read_keys(shards, by)
    group_names, group_of = np.unique(groups, return_inverse=True)
    label_names, label_of = np.unique(labels, return_inverse=True)
    counts = np.zeros((len(group_names), len(label_names)), dtype=np.int64)
    np.add.at(counts, (group_of, label_of), 1)
    part_of = deal(counts, np.array(list(parts.values())), seed)[group_of]
    if empty := [name for number, name in enumerate(parts) if not (part_of == number).any()]:
        what = f"nothing is left for {', '.join(empty)}: the set has {len(group_names)} values of {by!r}"
        raise DataError(what, where=folder, fix="give fewer or larger parts")
    with staged(out) as partial:
        tables = {}
        for number, name in enumerate(parts):
            chosen = np.flatnonzero(part_of == number)
            _copy(shards, chosen, partial / name, samples_per_shard)
            held = np.bincount(label_of[chosen], minlength=len(label_names)).tolist()
            persons = len(np.unique(group_of[chosen]))
            by_class = dict(zip(label_names.tolist(), held, strict=True))
            tables[name] = {
                "fraction": parts[name],
                "samples": len(chosen),
                "groups": persons,
                "labels": by_class,
            }
        about = {"source": shards.sha, "by": by, "seed": seed, "parts": tables}
        (partial / FILE).write_text(json.dumps(about, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    return {name: out / name for name in parts}


def deal(counts: NDArray[np.int64], fractions: NDArray[np.float64], seed: int) -> NDArray[np.int64]:
    """Part of each group.

    Args:
        counts: samples by group and class, int64 [groups, classes].
        fractions: share of each part, float64 [parts], > 0.
        seed: >= 0.

    Returns:
        int64 [groups].
    """
    # A group costs a part the growth of sum over classes of (held - wanted)^2 / wanted: Pearson's chi-square
    # of the part, so a rare class weighs as much as a common one.
    wanted = fractions[:, None] * np.maximum(counts.sum(0), 1)
    held = np.zeros_like(wanted)
    parts = np.empty(len(counts), dtype=np.int64)
    for group in _large_first(counts.sum(1), seed):
        new = counts[group]
        growth = (new * (new + 2 * (held - wanted)) / wanted).sum(1)
        parts[group] = part = int(growth.argmin())
        held[part] += new
    return parts


def _large_first(sizes: NDArray[np.int64], seed: int) -> NDArray[np.int64]:
    """Groups by falling power of two of their size, in random order where it is the same."""
    bits = np.random.Philox(key=seed).random_raw(len(sizes))
    return np.lexsort((bits, -np.floor(np.log2(sizes))))


def _read_keys(shards: ShardSet, by: str) -> tuple[list[str], list[str]]:
    groups, labels = [], []
    for sample in shards:
        value = sample.record.get(by)
        if not isinstance(value, str | int) or isinstance(value, bool):
            what = f"record has no text or whole number {by!r}"
            raise DataError(what, where=sample.where, fix=f"split by one of: {_keys(sample)}")
        groups.append(str(value))
        labels.append(sample.record["label"])
    return groups, labels


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


def _check_parts(parts: Mapping[str, float]) -> None:
    for name, fraction in parts.items():
        if not _NAME.fullmatch(name):
            raise DataError(
                f"part name {name!r}", where="parts", fix="use letters, digits, _ and -, at most 40"
            )
        if not 0 < fraction <= 1:
            raise DataError(f"part {name} is {fraction}", where="parts", fix="give shares in (0, 1]")
    if not parts or not math.isclose(sum(parts.values()), 1, abs_tol=1e-6):
        raise DataError(f"shares add up to {sum(parts.values()):g}", where="parts", fix="make the sum 1")
