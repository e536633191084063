"""One recipe under every strategy, and a checkpoint moved from each layout to each other one."""

from __future__ import annotations

import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

from rich.progress import track

from mien.engine.rundir import RunFolder
from mien.engine.tracking import read_metrics
from mien.faults.lab import Lab
from mien.reproduce.curves import Way, compare

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


@dataclass(frozen=True)
class Layout:
    """A strategy on so many processes."""

    name: str
    world: int
    keys: tuple[str, ...]


LAYOUTS = tuple(
    Layout(f"{name} x {world}", world, keys)
    for name, keys in (("ddp", ()), ("fsdp2", ("engine.strategy=fsdp2",)), ("zero2", (_ZERO,)))
    for world in (1, 2, 4)
)
"""Those between which checkpoints move."""
CASES = {"rate 1e-5, float32": ("engine.optimizer.lr=1e-5",), "recipe, float32": ()}
"""A rate at which rounding grows slowly, and the recipe itself."""
_QUIET = (
    "engine.optimizer.lr=5e-5", "engine.schedule.kind=constant", "engine.schedule.warmup=1", "data.val=null",
    "engine.val_every=null", "engine.checkpoint_every=1000000", "objective.mining.rule=null",
)  # fmt: skip
"""The same rate for a run of any length, and one at which rounding does not grow in small towers. No mining:
a pair at its threshold counts or not by the last digit, and then two runs differ by 2e-4 in one step."""


def parity(data: Path, out: Path, *, steps: int, overrides: tuple[str, ...] = ()) -> str:
    """Table of the strategies against one process; see `curves.compare`."""
    return compare(data, out, STRATEGIES, steps=steps, cases=CASES, overrides=overrides)


def moved(out: Path, *, steps: int) -> str:
    """Train half of the steps in each layout and the other half in each; write and return `moved.md`.

    The towers and the set are small ones that are made for it, in a temporary folder: 90 runs in minutes.

    Args:
        out: folder for the table.
        steps: steps of a whole run, even.

    Returns:
        A row for each layout that wrote the checkpoint, a column for each that took it up: the largest
        relative difference of the losses to one process that was never interrupted.
    """
    with tempfile.TemporaryDirectory(prefix="mien-layouts-") as folder:
        lab = Lab(Path(folder))
        whole, half = (f"engine.max_steps={steps}", f"engine.max_steps={steps // 2}")
        alone = _losses(lab.finish(lab.root / "alone", *_QUIET, whole))
        rows: list[list[float]] = []
        for first in track(LAYOUTS, "moved from each layout to each"):
            begun = lab.root / "begun"
            lab.finish(begun, *_QUIET, *first.keys, half, world=first.world)
            rows.append([])
            for then in LAYOUTS:
                going = lab.root / "going"
                shutil.copytree(begun, going)
                run = lab.finish(going, *_QUIET, *then.keys, whole, world=then.world)
                rows[-1].append(_apart(alone, _losses(run)))
                shutil.rmtree(going)
            shutil.rmtree(begun)
    table = _table(rows)
    out.mkdir(parents=True, exist_ok=True)
    (out / "moved.md").write_text(table, encoding="utf-8")
    return table


def _table(rows: list[list[float]]) -> str:
    heads = [layout.name for layout in LAYOUTS]
    lines = [f"| from \\ to | {' | '.join(heads)} |", f"|---|{'---:|' * len(heads)}"]
    for head, row in zip(heads, rows, strict=True):
        lines.append(f"| {head} | {' | '.join(f'{value:.1e}' for value in row)} |")
    return "\n".join(lines) + "\n"


def _losses(run: RunFolder) -> list[float]:
    return [row["train/loss"] for row in read_metrics(run.path / "metrics.csv")]


def _apart(one: list[float], other: list[float]) -> float:
    return max(abs(a - b) / abs(a) for a, b in zip(one, other, strict=True))
