"""The experiment with edits in five minutes: an editor of 32 pixels learns to edit people never seen."""

from __future__ import annotations

import csv
from pathlib import Path

from mien.reproduce import editing

COMMON = (
    "model.image_size=32", "data.val=null", "engine.val_every=null", "data.workers=0", "tracking.wandb=off",
)  # fmt: skip
READER = (*COMMON, "engine.max_steps=500")
EDITOR = (*COMMON, "engine.max_steps=350", "engine.ema=0.98")


def test_edits_of_people_never_seen_show_what_was_asked(forked: None, tmp_path: Path) -> None:
    text = editing.reproduce(
        tmp_path, seeds=1, people=4, parallel=2, threads=1, images=3200, overrides=EDITOR,
        reader_overrides=READER,
    )  # fmt: skip
    print(text)
    with (tmp_path / "editing.csv").open() as file:
        values = {(row["method"], row["measure"]): float(row["value"]) for row in csv.DictReader(file)}
    edits = "MagicFace, pasted"
    assert values[edits, "of no edit"] < 0.85
    assert values[edits, "correlation"] > 0.5
