"""A rank that hangs takes the others along, and all say where they stood."""

from __future__ import annotations

from pathlib import Path

import pytest

from .processes import ranks
from .runs import differences, last_step, only_run, overrides, state


@pytest.mark.parametrize("hung", [0, 1])
def test_a_hung_rank_ends_the_run_with_the_stacks_of_all(
    sets: dict[str, Path], tmp_path: Path, hung: int
) -> None:
    keys = overrides(sets, tmp_path, "engine.hang_s=4", "engine.max_steps=12")
    sessions = ranks(2, keys, tmp_path, hang={hung: 7})
    assert [session.wait() for session in sessions] == [1, 1]
    run = only_run(tmp_path)
    stacks = [(run.path / f"stacks-rank{rank}.txt").read_text() for rank in range(2)]
    assert "wait_for_ever" in stacks[hung]
    assert "wait_for_ever" not in stacks[1 - hung]
    assert all("most recent call first" in text for text in stacks)
    assert last_step(tmp_path) == 7
    assert run.checkpoint().step == 5

    for session in ranks(2, keys, tmp_path, resume=True):
        assert session.wait() == 0, session.said()
    calm = tmp_path / "calm"
    for session in ranks(2, overrides(sets, calm, "engine.max_steps=12"), tmp_path):
        assert session.wait() == 0, session.said()
    assert not list(only_run(calm).path.glob("stacks-*"))
    assert differences(state(run), state(only_run(calm))) == []
