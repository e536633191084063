"""What a continued run may change of its recipe."""

from __future__ import annotations

import pytest

from mien import recipe as recipes
from mien.engine.resume import changed_keys


@pytest.mark.parametrize(
    ("key", "refused"),
    [
        ("model.guidance=2", []),
        ("engine.max_steps=90", []),
        ("tracking.wandb=off", []),
        ("model.jaw=expression", ["model.jaw"]),
        ("engine.global_batch=8", ["engine.global_batch"]),
        ("objective.noise.drop=0.2", ["objective.noise.drop"]),
    ],
)
def test_only_what_no_step_learns_from_may_change(key: str, refused: list[str]) -> None:
    before, now = (recipes.load("magicface/tiny", keys).dump() for keys in ((), (key,)))
    assert before != now
    assert changed_keys(before, now) == refused
