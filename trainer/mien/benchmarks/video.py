"""Benchmarks of clips."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from mien.benchmarks.afew import AFEW
from mien.benchmarks.base import Benchmark, Item
from mien.benchmarks.crema_d import CREMA_D
from mien.benchmarks.dfew import DFEW
from mien.benchmarks.enterface05 import ENTERFACE05
from mien.benchmarks.ferv39k import FERV39K
from mien.benchmarks.mafw import MAFW, MAFW_COMPOUND
from mien.benchmarks.ravdess import RAVDESS
from mien.benchmarks.words import emotion


def plain(benchmark: Benchmark) -> Benchmark:
    """The same with the words that all sets share: a set's `happy` is `happiness`."""

    def read(root: Path) -> list[Item]:
        items = benchmark.read(root)
        return [replace(item, label=emotion(item.label) if item.label else None) for item in items]

    return replace(benchmark, classes=tuple(map(emotion, benchmark.classes)), read=read)


VIDEO: dict[str, Benchmark] = {
    benchmark.name: plain(benchmark)
    for benchmark in (DFEW, FERV39K, MAFW, AFEW, MAFW_COMPOUND, CREMA_D, RAVDESS, ENTERFACE05)
}
"""By name."""
