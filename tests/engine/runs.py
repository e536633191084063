"""Small recipes, and what a run left on disk."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import torch

from mien.engine.rundir import RunFolder

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


def only_run(root: Path) -> RunFolder:
    """The one run below a root."""
    (file,) = root.glob("*/*/*/run.json")
    return RunFolder(file.parent)


def last_step(root: Path) -> int:
    """Last step in metrics.csv, 0 before the first; safe while the run goes on."""
    for file in root.glob("*/*/*/metrics.csv"):
        steps = [line.partition(",")[0] for line in file.read_text().splitlines(keepends=True)[1:]]
        return max((int(step) for step in steps if step.isdecimal()), default=0)
    return 0


def state(run: RunFolder, which: str = "last") -> dict[str, Any]:
    """Everything in a checkpoint that a resumed run must repeat."""
    saved = run.checkpoint(which).load()
    keys = ("global_step", "state_dict", "exp_avg", "exp_avg_sq", "ema", "lr_schedulers")
    own = ("step", "consumed", "rng", "adam_steps", "guard", "window", "best")
    own_state = {key: saved["mien"][key] for key in own} | {"ema_updates": saved["mien"]["ema"]}
    return {key: saved[key] for key in keys} | own_state


def differences(one: Any, other: Any, place: str = "") -> list[str]:
    """Where two trees differ in a single bit; NaN equals NaN."""
    if isinstance(one, torch.Tensor):
        alike = one.dtype == other.dtype and torch.equal(one.isnan(), other.isnan())
        return [] if alike and torch.equal(one.nan_to_num(), other.nan_to_num()) else [place]
    if isinstance(one, dict):
        if one.keys() != other.keys():
            return [f"{place}: keys"]
        return [found for key in one for found in differences(one[key], other[key], f"{place}/{key}")]
    if isinstance(one, list | tuple):
        if len(one) != len(other):
            return [f"{place}: length"]
        pairs = enumerate(zip(one, other, strict=True))
        return [found for number, (a, b) in pairs for found in differences(a, b, f"{place}/{number}")]
    return [] if one == other else [place]


def metrics(run: RunFolder) -> list[dict[str, float]]:
    """Rows of metrics.csv; empty cells are left out."""
    with (run.path / "metrics.csv").open() as file:
        return [{key: float(cell) for key, cell in row.items() if cell} for row in csv.DictReader(file)]


def learned(run: RunFolder) -> list[dict[str, float]]:
    """Rows of metrics.csv without speeds, which no two runs share."""
    return [{k: v for k, v in row.items() if not k.startswith("perf/")} for row in metrics(run)]


def samples(run: RunFolder) -> list[tuple[int, int, int, int, int]]:
    """(step, position, epoch, index, uid) of every logged sample of all ranks, by position."""
    rows = []
    for file in run.path.glob("samples-rank*.csv"):
        with file.open() as lines:
            rows += [tuple(int(cell) for cell in row) for row in list(csv.reader(lines))[1:]]
    return sorted(rows, key=lambda row: row[1])
