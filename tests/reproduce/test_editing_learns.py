"""The experiment with edits in five minutes: an editor of 32 pixels learns to edit people never seen."""

from __future__ import annotations

import csv
from pathlib import Path

from mien.reproduce import editing

COMMON = (
    "model.image_size=32", "data.val=null", "engine.val_every=null", "data.workers=0", "tracking.wandb=off",
)  # fmt: skip
READER = (*COMMON, "engine.max_steps=250")
EDITOR = (*COMMON, "engine.max_steps=200", "engine.ema=0.97")


def test_edits_of_people_never_seen_show_what_was_asked(tmp_path: Path) -> None:
    editing.reproduce(
        tmp_path, seeds=1, people=3, parallel=2, threads=1, images=1600, overrides=EDITOR,
        reader_overrides=READER,
    )  # fmt: skip
    with (tmp_path / "editing.csv").open() as file:
        values = {(row["method"], row["measure"]): float(row["value"]) for row in csv.DictReader(file)}
    edits = "MagicFace, pasted"
    assert values[edits, "of no edit"] < 0.75
    assert values[edits, "correlation"] > 0.45
