"""The experiment with edits from sets to tables, with networks that have learnt nothing."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from editing_runs import SMALL
from mien.evaluation.edit_table import COLUMNS, STILL
from mien.reproduce import editing

READER = (
    "model.image_size=32", "model.widths=[8,8,8,8]", "model.changes=[8,8,8,8]", "model.embed=8",
    "engine.max_steps=2", "engine.schedule.warmup=1", "engine.global_batch=8", "engine.val_every=null",
    "data.val=null", "data.workers=0", "tracking.wandb=off",
)  # fmt: skip


def test_the_experiment_measures_every_method(
    forked: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys = ("model.condition={width: 12, injection: pad}",)
    monkeypatch.setattr(
        editing, "VARIANTS", {"by padding": keys, editing.NO_PHOTO: ("model.unet.photo=none",)}
    )
    monkeypatch.setattr(editing, "SCALES", (1.5,))
    given = {"seeds": 2, "people": 2, "parallel": 1, "threads": 1, "images": 32, "variants": True}
    editor = (*SMALL, "engine.max_steps=2")
    text = editing.reproduce(tmp_path, **given, overrides=editor, reader_overrides=READER)
    assert text == (tmp_path / "editing.md").read_text()
    with (tmp_path / "editing.csv").open() as file:
        rows = list(csv.DictReader(file))
    methods = {
        row["method"]: {line["seed"] for line in rows if line["method"] == row["method"]} for row in rows
    }
    alone = {"0"}
    assert methods == {
        STILL: alone, "codec round trip": alone, "true picture": alone, "MagicFace, crop": {"0", "1"},
        "true picture, codec round trip": alone, "MagicFace, pasted": {"0", "1"}, "by padding": alone,
        "no photo": alone, "ControlNet, denoiser frozen": alone, "guidance 1.5": alone,
    }  # fmt: skip
    values = {(row["method"], row["seed"], row["measure"]): float(row["value"]) for row in rows}
    assert len(values) == 12 * len(COLUMNS)
    assert values[STILL, "0", "of no edit"] == 1
    assert values[STILL, "0", "background"] == 0
    assert values["MagicFace, pasted", "0", "background"] < 0.01  # the rim of the paste
    assert values["true picture", "0", "picture"] == 0 < values["codec round trip", "0", "picture"] < 0.05
    assert values["MagicFace, crop", "0", "picture"] != values["MagicFace, crop", "1", "picture"]
    assert values["MagicFace, crop", "0", "picture"] > values["MagicFace, pasted", "0", "picture"]
    with Image.open(tmp_path / "sheet.png") as sheet, Image.open(tmp_path / "leakage.png") as matrix:
        assert np.asarray(sheet.convert("L")).std() > 10
        assert min(matrix.size) > 300
    runs = sorted(path.name for path in (tmp_path / "runs").iterdir())
    editors = ["ControlNet,-denoiser-frozen", "by-padding", "no-photo", "seed-0", "seed-1"]
    assert runs == sorted([*editors, "judge", "reader"])
