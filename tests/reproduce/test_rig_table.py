"""The experiment with edits by a 3D face from sets to tables, with networks that have learnt nothing."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from editing_runs import SMALL
from mien.evaluation.edit_table import STILL
from mien.evaluation.rig_table import COLUMNS
from mien.reproduce import rig_editing

READER = (
    "model.image_size=32", "model.widths=[8,8,8,8]", "model.changes=[8,8,8,8]", "model.embed=8",
    "engine.max_steps=2", "engine.schedule.warmup=1", "engine.global_batch=8", "engine.val_every=null",
    "data.val=null", "data.workers=0", "tracking.wandb=off",
)  # fmt: skip


@pytest.mark.usefixtures("forked")
def test_the_experiment_measures_every_method(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rig_editing, "VARIANTS", {"places weigh alike": ("objective.face_weight=1",)})
    given = {"seeds": 2, "people": 2, "parallel": 1, "threads": 1, "images": 32, "variants": True}
    editor = (*SMALL, "engine.max_steps=2")
    text = rig_editing.reproduce(tmp_path, **given, overrides=editor, reader_overrides=READER)
    assert text == (tmp_path / "rig_editing.md").read_text()
    assert text.count("another person") == text.count("same person") == 7
    with (tmp_path / "rig_editing.csv").open() as file:
        rows = list(csv.DictReader(file))
    methods = [row["method"] for row in rows[:: len(COLUMNS)]]
    assert methods == [
        STILL, "codec round trip", "rendering pasted", "true picture", "true picture, codec round trip",
        "RigFace, crop", "RigFace, crop", "RigFace, pasted", "RigFace, pasted", "places weigh alike",
    ]  # fmt: skip
    values = {(row["method"], row["seed"], row["measure"]): float(row["value"]) for row in rows}
    assert values[STILL, "0", "expression"] == 1
    assert values[STILL, "0", "background"] == 0
    assert values["true picture", "0", "picture"] == 0
    assert values["true picture", "0", "light"] > 0.8
    assert values["rendering pasted", "0", "light"] > 0.8
    assert values["RigFace, crop", "0", "picture"] != values["RigFace, crop", "1", "picture"]
    with Image.open(tmp_path / "sheet.png") as sheet:
        assert np.asarray(sheet.convert("L")).std() > 10
