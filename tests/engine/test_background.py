"""Checkpoints written beside the loop."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path

import pytest
import torch

from mien.engine.background import BackgroundWriter, HostCopy
from mien.engine.checkpoint import CheckpointStore
from mien.engine.holdings import Replicated
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


def test_large_tensors_of_any_layout_are_copied() -> None:
    whole = torch.arange(240_000.0)
    layouts = {
        "flat": whole, "strided": whole[::2], "turned": whole.view(300, 800).T,
        "expanded": whole[:1].expand(3, 40_000),
        "last": whole.view(2, 3, 200, 200).to(memory_format=torch.channels_last), "half": whole.bfloat16(),
    }  # fmt: skip
    assert differences(HostCopy()(layouts), layouts) == []


_THREADS = """
import os, torch
from concurrent.futures import ThreadPoolExecutor
from mien.engine.background import BackgroundWriter

def threads():
    return len(os.listdir("/proc/self/task"))

torch.set_num_threads(2)
weights = {"w": torch.zeros(2_000_000) + 1, "turned": torch.zeros(1000, 2000).T}
writer, other, held = BackgroundWriter(), ThreadPoolExecutor(1), []
other.submit(int).result()
before = threads()
writer.submit(weights, weights, lambda now, later: held.append(later))
writer.wait()
after = threads()
other.submit(torch.zeros(2_000_000).copy_, held[0]["w"]).result()
print(after - before, threads() - before)
"""


def test_the_thread_gets_no_helpers_that_would_slow_the_loop_for_the_rest_of_the_run() -> None:
    told = subprocess.run([sys.executable, "-c", _THREADS], capture_output=True, text=True, check=True)
    after, plain = map(int, told.stdout.split())
    assert plain > after, "a plain copy in a thread of its own gets none either: this test sees nothing"
    assert after == 0


def test_the_caller_goes_on_while_a_write_waits_and_the_next_one_waits_for_it() -> None:
    writer, go, seen = BackgroundWriter(), threading.Event(), []

    def write(now: dict, later: dict) -> None:
        assert go.wait(30)
        seen.append((float(now["w"].sum()), float(later["w"].sum())))

    fleeting, weight = torch.ones(2), torch.ones(2)
    writer.submit({"w": fleeting}, {"w": weight}, write)
    fleeting.fill_(3)
    writer.settle()
    weight.fill_(5)
    assert seen == []
    go.set()
    writer.submit({"w": fleeting}, {"w": weight}, write)
    writer.wait()
    assert seen == [(2.0, 2.0), (6.0, 10.0)]


def test_settling_waits_for_the_copy() -> None:
    writer, go, settled = BackgroundWriter(), threading.Event(), threading.Event()
    writer._later = lambda tree: go.wait(30)  # a copy that takes long
    writer.submit({}, {}, lambda now, later: None)
    waiting = threading.Thread(target=lambda: (writer.settle(), settled.set()))
    waiting.start()
    assert not settled.wait(0.2)
    go.set()
    waiting.join(30)
    assert settled.is_set()
    writer.settle()  # nothing to wait for
    writer.wait()


def test_buffers_are_copied_before_the_loop_goes_on(tmp_path: Path) -> None:
    """A forward pass may change them; weights wait for the optimiser."""
    io, store = StoreIO(background=True), CheckpointStore(tmp_path)
    model = torch.nn.BatchNorm1d(4)
    holdings = Replicated(model, torch.optim.AdamW(model.parameters()))
    io.save_checkpoint(STATE, store.path(1), Saving({}, 2, pieces=holdings.pieces()))
    model(torch.randn(8, 4))
    io.settle()
    with torch.no_grad():
        model.weight.fill_(7)
    io.wait()
    found = store.verify(1).load()["state_dict"]
    assert found["running_mean"].eq(0).all()
    assert found["num_batches_tracked"] == 0
    assert found["weight"].eq(1).all()


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
