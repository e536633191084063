"""One recipe computed in several ways: how far losses and weights are apart."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from mien.engine.rundir import RunFolder
from mien.engine.tracking import read_metrics
from mien.errors import RunError
from mien.reproduce.jobs import Job, run_all


@dataclass(frozen=True)
class Way:
    """A way to compute a recipe."""

    name: str
    overrides: tuple[str, ...]


RANKS = tuple(
    Way("1 process" if world == 1 else f"{world} processes", (f"engine.devices={world}",))
    for world in (1, 2, 4)
)
BACKENDS = tuple(Way(name, (f"objective.backend={name}",)) for name in ("dense", "chunked"))
CASES: dict[str, tuple[str, ...]] = {
    "recipe, float32": (),
    "recipe, float64": ("engine.precision=64",),
    "rate 1e-4, float32": ("engine.optimizer.lr=1e-4",),
}
"""The recipe as it is; without rounding; and at a rate that lets rounding grow slowly. The control beside
them changes rounding alone: the first way of the first case with another number of threads."""
SLOW = {"rate 1e-5, float32": ("engine.optimizer.lr=1e-5",)}


def compare(
    data: Path,
    out: Path,
    ways: Sequence[Way],
    *,
    steps: int,
    cases: Mapping[str, tuple[str, ...]],
    overrides: tuple[str, ...] = (),
) -> str:
    """Train `emocapclip/tiny` in every case and every way; write and return `curves.md`.

    Args:
        data: folder with the set `train`.
        out: folder for runs and the table.
        ways: each is compared with the first.
        steps: steps of a run.
        cases: overrides by name.
        overrides: further `key=value` of every run.

    Raises:
        MienError: if the set cannot be used or a run fails.
    """
    always = (
        f"data.train.shards={data / 'train'}", "data.val=null", "engine.val_every=null", "engine.log_every=1",
        f"engine.max_steps={steps}", f"engine.checkpoint_every={steps}", "tracking.wandb=off",
        "data.log_samples=true",
    )  # fmt: skip

    def job(name: str, way: Way, case: tuple[str, ...]) -> Job:
        return Job("emocapclip/tiny", (*always, *way.overrides, *case, *overrides), out / name)

    pairs = [(place, case, way) for place, case in enumerate(cases) for way in ways]
    jobs = [job(f"{place}-{way.name.replace(' ', '-')}", way, cases[case]) for place, case, way in pairs]
    folders = run_all(jobs, parallel=1, threads=1, what="runs")
    runs = {(case, way.name): folder for (_, case, way), folder in zip(pairs, folders, strict=True)}
    name = next(iter(cases))
    control = run_all([job("control", ways[0], cases[name])], parallel=1, threads=2, what="control")[0]
    lines = [
        f"| {steps} steps | compared | same samples | loss, largest relative difference | of steps 1-10 "
        "| weights, largest difference |",
        "|---|---|---|---:|---:|---:|",
        _row(f"{name} (control)", "2 threads / 1", runs[name, ways[0].name], control),
    ]
    for case in cases:
        alone = runs[case, ways[0].name]
        lines += [_row(case, f"{way.name} / {ways[0].name}", alone, runs[case, way.name]) for way in ways[1:]]
    table = "\n".join(lines) + "\n"
    (out / "curves.md").write_text(table, encoding="utf-8")
    return table


def _row(case: str, compared: str, one: Path, other: Path) -> str:
    apart = _relative(_losses(one), _losses(other))
    same = "yes" if _samples(one) == _samples(other) else "no"
    losses = " | ".join(f"{value:.1e}" if value else "below 1e-8" for value in (max(apart), max(apart[:10])))
    return f"| {case} | {compared} | {same} | {losses} | {_weights_apart(one, other):.1e} |"


def _losses(run: Path) -> list[float]:
    return [row["train/loss"] for row in read_metrics(run / "metrics.csv")]


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
