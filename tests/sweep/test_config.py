"""A sweep file: what it means, and what is said of a bad one before anything is written."""

from __future__ import annotations

from pathlib import Path

import pytest

from mien import recipe as recipes
from mien.errors import RecipeError
from mien.recipe import RECIPES
from mien.sweep import load, space
from mien.sweep.config import SweepConfig
from mien.sweep.study import Sweep

RATE = "engine.optimizer.lr"


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"trails": 3}, "trails: unknown key; did you mean 'trials'?"),
        ({"method": "tpe"}, "trials is missing: say how many points tpe draws"),
        ({"method": "bayes"}, "method: should be 'grid', 'random' or 'tpe', not 'bayes'"),
        ({"metric": 3}, "metric: should be a valid string, not 3"),
        ({"space": {RATE: {"low": 2, "high": 1}}}, f"space.{RATE}: low 2 is not below high 1"),
        ({"space": {RATE: {"low": 0, "high": 1, "log": True}}}, "begins above 0"),
        (
            {"space": {RATE: {"low": 1, "high": 2, "lag": True}}},
            f"space.{RATE}.lag: unknown key; did you mean 'log'?",
        ),
        ({"space": {RATE: {"low": 0.1, "high": 1}}}, f"{RATE}: a grid needs values, or a range with a step"),
        ({"space": {RATE: {"values": [1, 1]}}}, "values are at least one, each once"),
        ({"space": {}}, "space: "),
        (
            {"space": {"engine.optimizer.lrr": {"values": [1]}}},
            "unknown key; did you mean 'engine.optimizer.lr'?",
        ),
        ({"space": {RATE: {"values": [0.1, 99]}}}, f"{RATE}: should be less than or equal to 10, not 99"),
        (
            {"space": {"engine.accumulate": {"values": [1, 3]}}},
            "global_batch 16 must be a multiple of accumulate 3",
        ),
        ({"space": {"run.root": {"values": ["a"]}}}, "run.root is the sweep's to choose"),
        ({"set": {"engine.max_step": 4}}, "engine.max_step: unknown key; did you mean 'engine.max_steps'?"),
        ({"set": {RATE: 0.1}}, f"{RATE} is both set and in the space"),
        ({"recipe": "emocapclip/tyny"}, "no such recipe; did you mean 'emocapclip/tiny'?"),
        ({"set": {"data.val": None}}, "val/loss needs a validation set; set data.val.shards"),
        ({"set": {"engine.val_every": None}, "pruning": {"rule": "median"}}, "nothing to prune by"),
        ({"name": "../up"}, "name: "),
        ({"seeds": [1, 1]}, "a seed is there twice"),
    ],
)
def test_a_bad_sweep_is_refused_before_anything_is_written(make, tmp_path: Path, changes, said) -> None:
    file = make(**changes)
    with pytest.raises(RecipeError) as error:
        Sweep.begin(load.load(file), file)
    assert said in str(error.value)
    assert str(file) in str(error.value) or "tyny" in said or "tyny" in str(error.value)
    assert not (tmp_path / "sweeps").exists()


def test_all_problems_are_told_at_once(make) -> None:
    with pytest.raises(RecipeError) as error:
        load.load(make(mode="least", seed=-1, pruning={"rule": "none", "warmup": 3}))
    assert len(str(error.value).splitlines()) == 3


def test_keys_on_the_command_line_change_the_sweep_or_its_recipe(make) -> None:
    config = load.load(
        make(), ["method=random", "trials=7", "pruning.rule=median", "engine.max_steps=20", f"{RATE}=0.5"]
    )
    assert (config.trials, config.pruning.rule, config.set["engine.max_steps"]) == (7, "median", 20)
    assert list(config.space) == ["objective.local.weight"]
    assert config.set[RATE] == 0.5


def test_nested_and_dotted_keys_are_the_same(make) -> None:
    nested = {
        "engine": {"optimizer": {"lr": {"values": [0.001, 0.004]}}},
        "objective": {"local": {"weight": {"values": [0.0, 0.5]}}},
    }
    assert load.load(make(space=nested)) == load.load(make())


def test_a_sweep_survives_being_written(make, config: SweepConfig) -> None:
    space_ = {
        RATE: {"low": 1, "high": 9, "int": True, "step": 2},
        "engine.optimizer.betas": {"values": [[0.9, 0.98], [0.9, 0.99]]},
    }
    for one in (config, load.load(make(method="random", trials=3, space=space_, seeds=[3, 4]))):
        assert load.from_tree(one.dump(), Path("x")) == one


@pytest.mark.parametrize("method", ["grid", "random"])
def test_a_point_depends_on_the_seed_and_its_number_alone(make, method: str) -> None:
    config = load.load(make(method=method, trials=4))
    points = [space.drawn(config, number) for number in range(4)]
    assert [space.drawn(config, number) for number in (3, 2, 1, 0)] == points[::-1]
    other = [space.drawn(config.model_copy(update={"seed": 1}), number) for number in range(4)]
    assert (other == points) is (method == "grid")
    if method == "grid":
        assert [tuple(point.values()) for point in points] == [
            (0.001, 0.0),
            (0.001, 0.5),
            (0.004, 0.0),
            (0.004, 0.5),
        ]


def test_draws_stay_in_their_ranges_and_lists_come_back_as_lists(make) -> None:
    wanted = {
        RATE: {"low": 1e-4, "high": 1e-2, "log": True},
        "engine.schedule.warmup": {"low": 2, "high": 8, "int": True},
        "engine.clip": {"low": 0.5, "high": 2.0, "step": 0.5},
        "engine.optimizer.betas": {"values": [[0.9, 0.98], [0.8, 0.99]]},
    }
    config = load.load(make(method="random", trials=60, space=wanted))
    points = [space.values(config, space.drawn(config, number)) for number in range(60)]
    assert all(1e-4 <= point[RATE] <= 1e-2 for point in points)
    assert sum(point[RATE] < 1e-3 for point in points) > 15  # half, were it all chance
    assert {point["engine.schedule.warmup"] for point in points} == set(range(2, 9))
    assert {point["engine.clip"] for point in points} == {0.5, 1.0, 1.5, 2.0}
    assert all(point["engine.optimizer.betas"] in ([0.9, 0.98], [0.8, 0.99]) for point in points)


@pytest.mark.parametrize("file", sorted((RECIPES / "sweeps").glob("*.yaml")), ids=lambda file: file.stem)
def test_the_sweeps_of_the_house_fit_their_recipes(file: Path) -> None:
    config = load.load(file)
    base = load.base_recipe(config, file)
    load.try_points(config, base, file)
    assert isinstance(base, recipes.Recipe)
