"""One recipe on one process and on several: how far losses and weights are apart."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

from torch import Tensor

from mien.engine.rundir import RunFolder
from mien.errors import RunError
from mien.reproduce.jobs import Job, run_all

CASES: dict[str, tuple[str, ...]] = {
    "recipe, float32": (),
    "recipe, float64": ("engine.precision=64",),
    "rate 1e-4, float32": ("engine.optimizer.lr=1e-4",),
}
"""The recipe as it is; without rounding; and at a rate that lets rounding grow slowly. The control beside
them changes rounding alone: one process, another number of threads."""


def reproduce(
    data: Path, out: Path, *, worlds: Sequence[int], steps: int, overrides: tuple[str, ...] = ()
) -> str:
    """Train `emocapclip/tiny` in every case on every number of CPU processes; write and return `ranks.md`.

    Args:
        data: folder with the set `train`.
        out: folder for runs and the table.
        worlds: numbers of processes; each is compared with the first.
        steps: steps of a run.
        overrides: further `key=value` of every run.

    Raises:
        MienError: if the set cannot be used or a run fails.
    """
    always = (
        f"data.train.shards={data / 'train'}", "data.val=null", "engine.val_every=null", "engine.log_every=1",
        f"engine.max_steps={steps}", f"engine.checkpoint_every={steps}", "tracking.wandb=off",
        "data.log_samples=true",
    )  # fmt: skip
    jobs = [
        Job(
            "emocapclip/tiny",
            (*always, f"engine.devices={world}", *case, *overrides),
            out / f"{place}-{world}",
        )
        for place, case in enumerate(CASES.values())
        for world in worlds
    ]
    folders = run_all(jobs, parallel=1, threads=1, what="runs")
    name, first = next(iter(CASES.items()))
    options = (*always, f"engine.devices={worlds[0]}", *first, *overrides)
    control = Job("emocapclip/tiny", options, out / "threads")
    threaded = run_all([control], parallel=1, threads=2, what="control")[0]
    lines = [
        f"| {steps} steps | compared | same samples | loss, largest relative difference | of steps 1-10 "
        "| weights, largest difference |",
        "|---|---:|---|---:|---:|---:|",
        _row(f"{name} (control)", "2 threads / 1", folders[0], threaded),
    ]
    for place, case in enumerate(CASES):
        alone, *others = folders[place * len(worlds) : (place + 1) * len(worlds)]
        lines += [
            _row(case, f"{world} processes / {worlds[0]}", alone, other)
            for world, other in zip(worlds[1:], others, strict=True)
        ]
    table = "\n".join(lines) + "\n"
    (out / "ranks.md").write_text(table, encoding="utf-8")
    return table


def _row(case: str, compared: str, one: Path, other: Path) -> str:
    apart = _relative(_losses(one), _losses(other))
    same = "yes" if _samples(one) == _samples(other) else "no"
    losses = " | ".join(f"{value:.1e}" if value else "below 1e-8" for value in (max(apart), max(apart[:10])))
    return f"| {case} | {compared} | {same} | {losses} | {_weights_apart(one, other):.1e} |"


def _losses(run: Path) -> list[float]:
    with (run / "metrics.csv").open(encoding="utf-8") as file:
        return [float(row["train/loss"]) for row in csv.DictReader(file)]


def _samples(run: Path) -> list[tuple[str, ...]]:
    """What every rank logged of its samples, by global position."""
    rows: list[tuple[str, ...]] = []
    for log in run.glob("samples-rank*.csv"):
        with log.open(encoding="utf-8") as file:
            rows += [tuple(row) for row in list(csv.reader(file))[1:]]
    return sorted(rows, key=lambda row: int(row[1]))


def _relative(one: list[float], other: list[float]) -> list[float]:
    if len(one) != len(other):
        raise RunError(
            f"{len(one)} and {len(other)} steps in the logs", where="metrics.csv", fix="use an empty --out"
        )
    return [abs(a - b) / abs(a) for a, b in zip(one, other, strict=True)]


def _weights_apart(one: Path, other: Path) -> float:
    """Largest absolute difference between the last weights of two runs; NaN (not known yet) equals NaN."""
    first, second = (RunFolder.open(run).checkpoint().weights(ema=False) for run in (one, other))

    def apart(name: str) -> float:
        a: Tensor = first[name].double().nan_to_num()
        return float((a - second[name].double().nan_to_num()).abs().max())

    return max(apart(name) for name in first)
