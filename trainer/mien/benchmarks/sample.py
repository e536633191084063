"""Generated sets: a benchmark's own maker, whole or not at all, and marked as ours."""

from __future__ import annotations

from pathlib import Path

from mien.benchmarks.base import MADE, Benchmark, Making
from mien.data.staging import staged


def make_sample(benchmark: Benchmark, out: Path, how: Making) -> None:
    """Write a synthetic set in the exact layout of a benchmark.

    Args:
        benchmark: whose layout.
        out: folder, absent or empty; appears when the set is complete.
        how: its size and seed.

    Raises:
        DataError: if `out` is in use, or the benchmark cannot be of that size.
    """
    with staged(out) as partial:
        benchmark.make(partial, how)
        text = f"Synthetic faces in the layout of {benchmark.title}, {how}; no picture of the real set.\n"
        (partial / MADE).write_text(text, encoding="utf-8")
