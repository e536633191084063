"""The store of checkpoints by itself."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from mien.engine import checkpoint as checkpoints
from mien.engine.checkpoint import CheckpointStore
from mien.engine.rundir import RunFolder
from mien.errors import RunError

STATE = {"mien": {"ema": None, "tied": {}}}
PART = ({"weights/w": torch.ones(3)}, {"weights/w": [0, [3]]})


def test_checkpoints_are_pruned_but_for_the_best(tmp_path: Path) -> None:
    store = CheckpointStore(tmp_path / "checkpoints")
    for step in (1, 2, 3, 4):
        store.write(STATE, PART, step, {})
        if step == 1:
            store.mark_best(1)
        store.prune(2)
    assert store.steps() == [1, 3, 4]
    assert (store.root / "latest").read_text() == "step-00000004\n"
    assert store.find("best").step == 1
    assert store.find("3").step == 3
    for which, said in (("2", "incomplete"), ("x", "use last, best or a step")):
        with pytest.raises(RunError, match=said):
            store.find(which)
    with pytest.raises(RunError, match="no usable checkpoint"):
        CheckpointStore(tmp_path / "empty").find()


def test_the_newest_regular_checkpoint_stays_beside_those_of_stop_signals(tmp_path: Path) -> None:
    store = CheckpointStore(tmp_path)
    for step in (5, 10, 11, 12, 13):
        store.write(STATE, PART, step, {})
        store.prune(2, every=5)
    assert store.steps() == [10, 12, 13]
    regular, newest = store.newest_valid(5), store.newest_valid()
    assert regular is not None
    assert newest is not None
    assert (regular.step, newest.step) == (10, 13)


def test_a_full_disk_is_said_and_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = CheckpointStore(tmp_path)
    store.write(STATE, PART, 1, {})
    with monkeypatch.context() as patch:
        usage = checkpoints.shutil.disk_usage(tmp_path)
        patch.setattr(checkpoints.shutil, "disk_usage", lambda path: usage._replace(free=100))
        with pytest.raises(RunError, match="no room for a checkpoint"):
            store.write(STATE, PART, 2, {})

    def full(*args: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(checkpoints.torch, "save", full)
    with pytest.raises(RunError, match="No space left on device"):
        store.write(STATE, PART, 2, {})
    assert [entry.name for entry in tmp_path.iterdir() if entry.is_dir()] == ["step-00000001"]


def test_a_checkpoint_with_code_in_it_is_not_opened(tmp_path: Path) -> None:
    store = CheckpointStore(tmp_path)
    store.write({"mien": {"ema": None, "path": Path("x")}}, PART, 1, {})
    with pytest.raises(RunError, match="cannot be read"):
        store.find().load()
    store.write({"state_dict": {}}, PART, 2, {})
    with pytest.raises(RunError, match="not a checkpoint of mien"):
        store.find().load()


def test_a_folder_that_is_no_run_is_said(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"no run\.json"):
        RunFolder.open(tmp_path)
    (tmp_path / "run.json").write_text("{")
    with pytest.raises(RunError, match="cannot be read"):
        _ = RunFolder.open(tmp_path).info
