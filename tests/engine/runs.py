"""Small recipes, and what a run left on disk."""

from __future__ import annotations

import csv
from pathlib import Path

from mien.engine.rundir import RunFolder
from mien.faults.compare import differences, last_step, only_run, samples, state

__all__ = ["differences", "last_step", "learned", "metrics", "only_run", "overrides", "samples", "state"]

TOWERS = (
    "model.image_size=32", "model.tiny.widths=[8,8,16,16]", "model.tiny.embed=12",
    "model.tiny.vocabulary_width=8", "model.tiny.text_width=16", "model.tiny.text_heads=2",
    "model.tiny.text_layers=1", "objective.local.sentences=2",
    "objective.mining.hold_steps=8", "objective.mining.ramp_steps=8",
)  # fmt: skip
LOOP = (
    "engine.threads=1", "engine.global_batch=16", "engine.schedule.warmup=4", "engine.log_every=1",
    "engine.val_every=10", "data.log_samples=true", "tracking.wandb=off",
)  # fmt: skip
STEPS = 30
EVERY = 5


def overrides(sets: dict[str, Path], root: Path, *more: str) -> list[str]:
    """A tiny recipe of `STEPS` steps; later keys win."""
    own = (f"data.train.shards={sets['train']}", f"data.val.shards={sets['val']}", f"run.root={root}")
    length = (f"engine.max_steps={STEPS}", f"engine.checkpoint_every={EVERY}", "data.workers=0")
    return [*TOWERS, *LOOP, *own, *length, *more]


def metrics(run: RunFolder) -> list[dict[str, float]]:
    """Rows of metrics.csv; empty cells are left out."""
    with (run.path / "metrics.csv").open() as file:
        return [{key: float(cell) for key, cell in row.items() if cell} for row in csv.DictReader(file)]


def learned(run: RunFolder) -> list[dict[str, float]]:
    """Rows of metrics.csv without speeds, which no two runs share."""
    return [{k: v for k, v in row.items() if not k.startswith("perf/")} for row in metrics(run)]
