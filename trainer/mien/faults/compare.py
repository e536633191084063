"""Whether two runs are the same run, bit by bit."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import torch

from mien.engine.rundir import RunFolder


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


def samples(run: RunFolder) -> list[tuple[int, int, int, int, int]]:
    """(step, position, epoch, index, uid) of every logged sample of all ranks, by position."""
    rows = []
    for file in run.path.glob("samples-rank*.csv"):
        with file.open() as lines:
            rows += [_whole(row) for row in list(csv.reader(lines))[1:]]
    return sorted(rows, key=lambda row: row[1])


def _whole(row: list[str]) -> tuple[int, int, int, int, int]:
    step, position, epoch, index, uid = (int(cell) for cell in row)
    return step, position, epoch, index, uid
