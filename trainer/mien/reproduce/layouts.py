"""One recipe under every strategy, and a checkpoint moved from each layout to each other one."""

from __future__ import annotations

import shutil
from pathlib import Path

from mien.engine.tracking import read_metrics
from mien.reproduce.curves import Way, compare
from mien.reproduce.jobs import Job, run_all

_ZERO = "engine.strategy=deepspeed"
STRATEGIES = (
    Way("1 process", ("engine.devices=1",)),
    Way("ddp", ("engine.devices=2",)),
    Way("fsdp2", ("engine.devices=2", "engine.strategy=fsdp2")),
    Way("zero1", ("engine.devices=2", _ZERO, "engine.zero.stage=1")),
    Way("zero2", ("engine.devices=2", _ZERO)),
    Way("zero2 offload", ("engine.devices=2", _ZERO, "engine.zero.offload=true")),
    Way("zero3", ("engine.devices=2", _ZERO, "engine.zero.stage=3")),
)
"""Two processes under each strategy, beside one."""
LAYOUTS = tuple(
    Way(f"{name} x {world}", (f"engine.devices={world}", *keys))
    for name, keys in (("ddp", ()), ("fsdp2", ("engine.strategy=fsdp2",)), ("zero2", (_ZERO,)))
    for world in (1, 2, 4)
)
"""Those between which checkpoints move."""
CASES = {
    "rate 1e-4, float32": ("engine.optimizer.lr=1e-4",),
    "rate 1e-5, float32": ("engine.optimizer.lr=1e-5",),
    "rate 1e-4, no mining, float32": ("engine.optimizer.lr=1e-4", "objective.mining.rule=null"),
    "recipe, float32": (),
}
"""Rates at which rounding grows slowly, with and without the thresholds of mining; and the recipe itself."""
_CONSTANT = ("engine.schedule.kind=constant", "engine.schedule.warmup=1", "engine.optimizer.lr=1e-5")


def parity(data: Path, out: Path, *, steps: int, overrides: tuple[str, ...] = ()) -> str:
    """Table of the strategies against one process; see `curves.compare`."""
    return compare(data, out, STRATEGIES, steps=steps, cases=CASES, overrides=overrides)


def moved(data: Path, out: Path, *, steps: int, overrides: tuple[str, ...] = ()) -> str:
    """Train half of the steps in each layout and the other half in each; write and return `moved.md`.

    Args:
        data: folder with the set `train`.
        out: folder for runs and the table; empty, or what an interrupted call left.
        steps: steps of a whole run.
        overrides: further `key=value` of every run.

    Returns:
        A row for each layout that wrote the checkpoint, a column for each that took it up: the largest
        relative difference of the losses to one process that was never interrupted.

    Raises:
        MienError: if the set cannot be used or a run fails.
    """
    always = (
        f"data.train.shards={data / 'train'}", "data.val=null", "engine.val_every=null", "engine.log_every=1",
        "engine.checkpoint_every=1000000", "tracking.wandb=off", *_CONSTANT, *overrides,
    )  # fmt: skip

    def job(root: Path, way: Way, length: int) -> Job:
        return Job("emocapclip/tiny", (*always, *way.overrides, f"engine.max_steps={length}"), root)

    alone = run_all([job(out / "alone", LAYOUTS[0], steps)], parallel=1, threads=1, what="one process")[0]
    begun = [job(out / f"from-{_file(way)}", way, steps // 2) for way in LAYOUTS]
    run_all(begun, parallel=1, threads=1, what="first halves")
    rows = []
    for first, start in zip(LAYOUTS, begun, strict=True):
        jobs = [job(out / f"{start.root.name}-to-{_file(way)}", way, steps) for way in LAYOUTS]
        for going in jobs:
            if not going.root.is_dir():
                shutil.copytree(start.root, going.root)
        folders = run_all(jobs, parallel=1, threads=1, what=f"from {first.name}")
        rows.append([_apart(alone, folder) for folder in folders])
    heads = [way.name for way in LAYOUTS]
    lines = [f"| from \\ to | {' | '.join(heads)} |", f"|---|{'---:|' * len(heads)}"]
    for head, row in zip(heads, rows, strict=True):
        lines.append(f"| {head} | {' | '.join(f'{value:.1e}' for value in row)} |")
    table = "\n".join(lines) + "\n"
    (out / "moved.md").write_text(table, encoding="utf-8")
    return table


def _file(way: Way) -> str:
    return way.name.replace(" ", "")


def _apart(one: Path, other: Path) -> float:
    a, b = ([row["train/loss"] for row in read_metrics(run / "metrics.csv")] for run in (one, other))
    return max(abs(x - y) / abs(x) for x, y in zip(a, b, strict=True))
