"""A benchmark's split as shards, to fine-tune on: pictures as `labelled/1`, clips as `clip/1`."""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track

from mien.benchmarks.base import Benchmark, Item
from mien.data.decode import decode
from mien.data.images import load_image
from mien.data.staging import staged
from mien.data.tar import MAX_MEMBER
from mien.data.video import iterate_frames, read_frames, to_mp4
from mien.data.writer import ShardWriter
from mien.errors import DataError

_KEPT = {".mp4": "mp4", ".webm": "webm"}


@dataclass(frozen=True)
class Packed:
    """What was written."""

    out: Path
    classes: dict[str, int]
    people: int

    def __str__(self) -> str:
        counts = ", ".join(f"{name} {count}" for name, count in self.classes.items())
        return f"{self.out}: {sum(self.classes.values())} samples of {self.people} people: {counts}"


def choose(benchmark: Benchmark, items: Sequence[Item], split: str, fold: int) -> list[Item]:
    """Items of a split; where folds take turns at the test, those of the others are for training.

    Raises:
        DataError: for a split or fold that the benchmark has not.
    """
    if benchmark.task == "mcq":
        raise DataError(
            f"{benchmark.title} has questions, not classes", where="benchmark", fix="choose another"
        )
    if not 0 <= fold <= benchmark.folds:
        have = f"1 to {benchmark.folds}" if benchmark.folds else "none: leave --fold out"
        raise DataError(f"no fold {fold} of {benchmark.title}", where="--fold", fix=f"there are {have}")
    if benchmark.folds and not fold and any(item.fold for item in items):
        raise DataError(
            f"{benchmark.title} is scored in {benchmark.folds} folds", where="--fold", fix="give one"
        )
    if fold:
        chosen = [item for item in items if item.fold and (item.fold == fold) == (split == "test")]
    else:
        chosen = [item for item in items if item.split == split]
    if not chosen:
        have = ", ".join(sorted({item.split for item in items}))
        raise DataError(f"{benchmark.title} has no {split} items", where="--split", fix=f"there are: {have}")
    return chosen


def pack_items(
    benchmark: Benchmark, items: Sequence[Item], out: Path, *, per_shard: int = 2500, progress: bool = False
) -> Packed:
    """Write items as a set; a reader sees nothing or the whole set.

    Args:
        benchmark: whose items they are.
        items: with labels, or with units (label "face" then).
        out: absent or empty folder.
        per_shard: samples a shard.
        progress: show a bar.

    Raises:
        DataError: for media that cannot be used, or a folder in use.
    """
    video = benchmark.task == "dynamic" or any(_is_video(item) for item in items)
    shown: Iterator[Item] = iter(items)
    if progress:
        shown = iter(track(items, "pack", console=Console(stderr=True), transient=True))
    counts: Counter[str] = Counter()
    with staged(out) as partial:
        with ShardWriter(partial, "clip/1" if video else "labelled/1", per_shard) as writer:
            for number, item in enumerate(shown):
                record = _record(item)
                counts[record["label"]] += 1
                extension, data = _clip(item) if video else _picture(item)
                writer.write(_key(number, item), {extension: data, "json": json.dumps(record).encode()})
    return Packed(out, dict(sorted(counts.items())), len({item.group for item in items}))


def _record(item: Item) -> dict[str, Any]:
    uid = int.from_bytes(hashlib.blake2b(item.key.encode(), digest_size=8).digest(), "big") >> 1
    record: dict[str, Any] = {"uid": uid, "label": item.label or "face", "group": item.group or item.key}
    if item.units is not None:
        record["au"] = {str(number): [value, value] for number, value in item.units.items()}
    return record | {"source": item.key}


def _key(number: int, item: Item) -> str:
    return f"{number:07d}_{re.sub(r'[^A-Za-z0-9_-]', '-', item.key)[-60:]}"


def _is_video(item: Item) -> bool:
    return len(item.media) > 1 or item.media[0].suffix.lower() in (*_KEPT, ".avi", ".flv", ".mov", ".mkv")


def _picture(item: Item) -> tuple[str, bytes]:
    try:
        return load_image(item.media[0])
    except DataError as error:
        raise DataError(error.what, where=item.media[0], fix=error.fix) from error


def _clip(item: Item) -> tuple[str, bytes]:
    """An mp4 or webm byte for byte once its last frame is known to decode; everything else as mp4."""
    first = item.media[0]
    if len(item.media) > 1:
        return "mp4", to_mp4(_frame(path) for path in item.media)
    kept = _KEPT.get(first.suffix.lower())
    if kept is not None and first.stat().st_size <= MAX_MEMBER:
        read_frames(first, lambda total: [total - 1], first)
        return kept, first.read_bytes()
    return "mp4", to_mp4(iterate_frames(first, first))


def _frame(path: Path) -> NDArray[np.uint8]:
    try:
        _, data = load_image(path)
        return decode(data, path).permute(1, 2, 0).numpy()
    except DataError as error:
        raise DataError(error.what, where=path, fix=error.fix) from error
