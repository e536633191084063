"""What a benchmark's folder holds, in a few lines."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from mien.benchmarks.base import Benchmark, Item


def summary(benchmark: Benchmark, folder: Path) -> str:
    """Items by split and class, people, folds.

    Raises:
        DataError: that says what the folder lacks.
    """
    items = benchmark.open(folder)
    people = len({item.group for item in items})
    lines = [f"{folder}: {benchmark.title}, {len(items)} items, {people} groups"]
    for split in ("train", "val", "test"):
        chosen = [item for item in items if item.split == split]
        if chosen:
            lines.append(f"  {split}: {len(chosen)}; {_counts(benchmark, chosen)}")
    if benchmark.folds:
        folds = Counter(item.fold for item in items)
        lines.append("  folds: " + ", ".join(f"{n} {folds[n]}" for n in range(1, benchmark.folds + 1)))
    return "\n".join(lines)


def _counts(benchmark: Benchmark, items: list[Item]) -> str:
    if benchmark.task == "au":
        present = Counter(n for item in items for n, value in (item.units or {}).items() if value > 0)
        return ", ".join(f"AU{n} {present[n]}" for n in benchmark.units)
    if benchmark.task == "mcq":
        kinds = Counter(item.question.kind for item in items if item.question)
        return ", ".join(f"{kind} {count}" for kind, count in sorted(kinds.items()))
    labels = Counter(item.label for item in items)
    return ", ".join(f"{name} {labels[name]}" for name in benchmark.classes)
