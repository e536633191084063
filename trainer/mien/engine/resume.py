"""Which changes a resumed recipe may bring, and how the logs are cut back to the restored step."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from mien.engine.rundir import RunFolder, truncate_lines
from mien.errors import RunError

if TYPE_CHECKING:
    from mien.engine.checkpoint import Checkpoint
    from mien.recipe import Recipe

FREE = (
    "run",
    "tracking",
    "data.workers",
    "data.prefetch",
    "data.log_samples",
    "data.quarantine_fraction",
    "data.remote",
    "data.val",
    "engine.max_steps",
    "engine.accelerator",
    "engine.devices",
    "engine.nodes",
    "engine.strategy",
    "engine.zero",
    "engine.compile",
    "engine.threads",
    "engine.deterministic",
    "engine.guard",
    "engine.profile",
    "engine.log_every",
    "engine.val_every",
    "engine.val_batch",
    "engine.checkpoint_every",
    "engine.checkpoint_async",
    "engine.keep_last",
    "engine.best",
    "engine.signals",
    "engine.grace_s",
    "engine.hang_s",
    "model.guidance",
)
"""Keys (with all below them) that a continued run may change: they do not alter what a step learns."""


def changed_keys(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Dotted keys that differ between two recipes and may not, in order."""
    old, new = flat(before), flat(now)
    keys = sorted(key for key in old.keys() | new.keys() if old.get(key) != new.get(key))
    return [key for key in keys if not any(key == free or key.startswith(f"{free}.") for free in FREE)]


def check(folder: RunFolder, recipe: Recipe, train_sha: str) -> None:
    """Refuse to continue a run with a recipe or with samples that would make it another run.

    Args:
        folder: the run.
        recipe: what is asked for now.
        train_sha: `ShardSet.sha` of the training set as it is now (of a mixture, with its weights); a moved
            set is fine, a changed one is not.

    Raises:
        RunError: naming the keys that differ; for a run that was made of given weights.
    """
    if "imported" in folder.info:
        raise RunError(
            "was made of given weights: it has no training to go on with",
            where=folder.path,
            fix="start a new run from it, without --resume",
        )
    keys = changed_keys(folder.recipe.dump(), recipe.dump())
    known = folder.info.get("train_sha")
    if known == train_sha:
        keys = [key for key in keys if not key.startswith("data.train.")]
    if keys:
        raise RunError(
            f"the recipe differs from the run's in {', '.join(keys)}",
            where=folder.path,
            fix="take the change back, or start a new run without --resume",
        )
    if known not in (None, train_sha):
        raise RunError(
            "the training set is not the one that the run began with",
            where=folder.path,
            fix="bring back the shards, or start a new run without --resume",
        )


def rewind(folder: RunFolder, checkpoint: Checkpoint | None) -> None:
    """Cut samples, skipped steps and checkpoints back to where a run continues: logs tell the truth."""
    from mien.engine import remining  # torch loads slowly, and those who only compare recipes need none

    step = checkpoint.step if checkpoint else 0
    folder.store.rewind(step)
    remining.forget_after(folder.path, step)
    for file in folder.path.glob("samples-rank*.csv"):
        truncate_lines(file, lambda line: _first_number(line) <= step)
    for ledger in ("nonfinite.jsonl", "spikes.jsonl"):
        truncate_lines(folder.path / ledger, lambda line: _ledger_step(line) <= step, header=False)


def flat(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Values of a tree of sections by dotted key."""
    values: dict[str, Any] = {}
    for key, value in tree.items():
        if isinstance(value, Mapping):
            values |= flat(value, f"{prefix}{key}.")
        else:
            values[f"{prefix}{key}"] = value
    return values


def _first_number(line: str) -> float:
    head = line.partition(",")[0]
    return int(head) if head.isdecimal() else float("inf")


def _ledger_step(line: str) -> float:
    try:
        return float(json.loads(line)["step"])
    except (ValueError, KeyError, TypeError):
        return float("inf")
