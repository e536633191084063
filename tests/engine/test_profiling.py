"""Where the time of a step goes: parts, collectives, traces."""

from __future__ import annotations

import gzip
import json
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from mien import engine
from mien.engine.clock import StepClock
from mien.engine.profiling import communication
from mien.engine.rundir import RunFolder

from .processes import ranks
from .runs import differences, metrics, only_run, overrides, state
from .toy import toy_recipe


def test_parts_of_a_step_add_up_over_its_micro_batches() -> None:
    clock = StepClock(torch.device("cpu"))
    for _ in range(3):
        began = time.perf_counter()
        for _ in range(2):
            clock.begin()
            time.sleep(0.01)
            clock.mark("forward")
            time.sleep(0.02)
            clock.mark("backward")
            time.sleep(0.005)  # between a mark and the next begin: nobody's
        whole = time.perf_counter() - began
        clock.step()
    row = clock.row()
    assert row.keys() == {"perf/forward_s", "perf/backward_s"}
    assert row["perf/forward_s"] >= 0.02
    assert row["perf/backward_s"] >= 0.04
    assert sum(row.values()) < whole


def event(name: str, start: float, end: float) -> SimpleNamespace:
    return SimpleNamespace(name=name, time_range=SimpleNamespace(start=start, end=end))


def test_collectives_count_once_and_only_what_nothing_hides_is_alone() -> None:
    events = [
        event("gloo:all_reduce", 0, 4e6), event("gloo:all_reduce", 2e6, 6e6),
        event("nccl:broadcast", 8e6, 9e6), event("aten::mm", 1e6, 3e6),
        event("aten::addmm", 2e6, 2.5e6), event("aten::add", 8.5e6, 20e6),
        event("ProfilerStep", 0, 20e6),
    ]  # fmt: skip
    found = communication(events)
    assert found["perf/comm_s"] == pytest.approx(7)
    assert found["perf/comm_alone_s"] == pytest.approx(7 - 2 - 0.5)


def test_rows_split_the_step_and_two_ranks_see_their_collectives(
    sets: dict[str, Path], tmp_path: Path
) -> None:
    keys = ("engine.max_steps=9", "engine.profile.start=7", "engine.profile.steps=2", "data.val=null")
    for session in ranks(2, overrides(sets, tmp_path, *keys), tmp_path):
        assert session.wait() == 0, session.said()
    run = only_run(tmp_path)
    last = metrics(run)[-1]
    parts = [last[f"perf/{part}_s"] for part in ("data", "forward", "backward", "optimizer")]
    assert all(part > 0 for part in parts[1:])
    assert sum(parts) < 1.5 * last["perf/step_s"]
    assert 0 < last["perf/comm_alone_s"] <= last["perf/comm_s"]
    assert "perf/comm_s" not in metrics(run)[3]
    for rank in (0, 1):
        with gzip.open(run.path / "profile" / f"trace-rank{rank}.json.gz", "rt") as file:
            names = {entry.get("name", "") for entry in json.load(file)["traceEvents"]}
        assert any(name.startswith("gloo:") for name in names)
        assert "aten::" in (run.path / "profile" / f"ops-rank{rank}.txt").read_text()


def test_a_trace_changes_nothing(sets: dict[str, Path], tmp_path: Path) -> None:
    runs = []
    for name, keys in (("with", ("engine.profile.start=19", "engine.profile.steps=9")), ("without", ())):
        root = tmp_path / name
        root.mkdir()
        runs.append(RunFolder(engine.run(toy_recipe(sets, root, *keys))))
    assert differences(*(state(run) for run in runs)) == []
    assert (runs[0].path / "profile" / "trace-rank0.json.gz").is_file()  # the run ended before the trace did
    assert not (runs[1].path / "profile").exists()
