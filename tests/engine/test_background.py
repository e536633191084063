"""Checkpoints written beside the loop."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
import torch

from mien.engine.background import BackgroundWriter, HostCopy
from mien.engine.checkpoint import CheckpointStore
from mien.engine.pieces import Piece
from mien.engine.store_io import Saving, StoreIO
from mien.errors import RunError

from .processes import Session
from .runs import differences, metrics, only_run, overrides, state

STATE = {"mien": {"ema": None, "tied": {}}}


def tree(value: float) -> dict:
    weight = torch.full((3, 2), value)
    generators = [torch.tensor([1, 2], dtype=torch.uint8)]
    own = {"rng": generators, "step": 4, "pair": (weight, "text"), "none": None}
    return {"state_dict": {"w": weight, "view": weight[1:].T}, "mien": own}


def test_a_copy_is_whole_and_apart_and_takes_no_new_memory() -> None:
    copy, original = HostCopy(), tree(1.0)
    first = copy(original)
    assert differences(first, original) == []
    original["state_dict"]["w"].fill_(2.0)
    assert first["state_dict"]["w"].eq(1).all()
    place = first["state_dict"]["w"].data_ptr()
    again = copy(original)
    assert again["state_dict"]["w"].data_ptr() == place
    assert differences(again, original) == []
    assert copy({"w": torch.ones(2, dtype=torch.bfloat16)})["w"].dtype == torch.bfloat16


def test_the_caller_goes_on_while_a_write_waits_and_the_next_one_waits_for_it() -> None:
    writer, go, seen = BackgroundWriter(), threading.Event(), []

    def write(state: dict) -> None:
        assert go.wait(30)
        seen.append(float(state["w"].sum()))

    weight = torch.ones(2)
    writer.submit({"w": weight}, write)
    weight.fill_(5)
    assert seen == []
    go.set()
    writer.submit({"w": weight}, write)
    writer.wait()
    assert seen == [2.0, 10.0]


def test_an_error_reaches_the_loop(tmp_path: Path) -> None:
    io = StoreIO(background=True)
    target = tmp_path / "checkpoints"
    target.write_text("a file in the way")
    io.save_checkpoint(STATE, target / "step-00000001", Saving({}, 2))
    with pytest.raises(RunError, match="checkpoint cannot be written"):
        io.wait()
    io.check()  # told once


def test_old_checkpoints_go_only_after_the_new_one_is_there(tmp_path: Path) -> None:
    io, store = StoreIO(background=True), CheckpointStore(tmp_path)
    for step in range(1, 6):
        pieces = {"weights/w": Piece.whole(torch.full((3, 2), float(step)))}
        io.save_checkpoint(STATE, store.path(step), Saving({"consumed": step}, 2, 1, step == 2, pieces))
    io.wait()
    assert store.steps() == [2, 4, 5]
    assert store.best_step() == 2
    assert store.verify(5).load()["state_dict"]["w"].eq(5).all()


def test_runs_with_and_without_it_are_the_same(sets: dict[str, Path], tmp_path: Path) -> None:
    runs = []
    for name in ("true", "false"):
        keys = overrides(sets, tmp_path / name, f"engine.checkpoint_async={name}", "engine.max_steps=11")
        session = Session(keys, tmp_path / f"{name}.log")
        assert session.wait() == 0, session.said()
        runs.append(only_run(tmp_path / name))
    for which in ("last", "10"):
        assert differences(*(state(run, which) for run in runs)) == []
    assert all(any(row.get("perf/save_s", 0) > 0 for row in metrics(run)) for run in runs)
