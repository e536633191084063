"""Whole plans of a small recipe, and the command."""

import json
import sys
from dataclasses import replace

import pytest

from mien import cli
from mien.errors import MienError
from mien.plan.assume import Assumptions
from mien.plan.gpus import Gpu, gpu_of
from mien.plan.layouts import chosen, evaluate_all, ranked
from mien.plan.report import does_not_fit, make
from mien.plan.scaling import breaking
from plan.plan_recipes import SMALL, small

H100 = gpu_of("h100")


@pytest.fixture(scope="module")
def plan():
    return make(small("engine.precision=bf16"), H100, 1, 8, Assumptions())


@pytest.fixture
def mien(monkeypatch, capsys):
    def run(*args):
        monkeypatch.setattr(sys, "argv", ["mien", "plan", "emocapclip/tiny", *SMALL, *map(str, args)])
        with pytest.raises(SystemExit) as left:
            cli.main()
        out, err = capsys.readouterr()
        return left.value.code or 0, out, err

    return run


def test_the_choice_fits_and_trains_as_the_recipe_says(plan):
    best = plan.best
    assert best.fits
    assert best.layout.accumulate == 1
    assert best.negatives == 32
    usable = [one for one in plan.layouts if one.fits and one.same_training]
    assert best.cost.gpu_hours <= 1.03 * min(one.cost.gpu_hours for one in usable)
    assert ranked(list(plan.layouts))[0] == plan.layouts[0]


def test_smaller_micro_batches_are_another_training(plan):
    others = [one for one in plan.layouts if one.layout.accumulate > 1]
    assert others
    assert not any(one.same_training for one in others)
    assert all(one.negatives < 32 for one in others)


def test_smaller_micro_batches_need_less_memory(plan):
    for strategy in ("ddp", "zero3"):
        rows = [
            (one.layout.micro, one.memory.activations)
            for one in plan.layouts
            if one.layout.name == strategy and not one.layout.checkpointing
        ]
        needs = [need for _, need in sorted(rows)]
        assert needs == sorted(needs)
        assert len(needs) == 3


def test_the_cheapest_takes_no_more_gpu_hours(plan):
    assert plan.cheapest.cost.gpu_hours <= plan.best.cost.gpu_hours


def test_the_ladder_raises_a_batch_that_is_too_small(plan):
    by_world = {rung.world: rung for rung in plan.rungs}
    assert set(by_world) == {1, 8, 64, 512, 4096}
    assert not by_world[8].raised
    assert (by_world[64].raised, by_world[64].global_batch) == (True, 64)
    assert breaking(by_world[64])[0].name == "samples a GPU"
    assert breaking(by_world[64])[0].load == 2
    assert by_world[1].efficiency == 1


def test_limits_follow_what_is_there(plan):
    """A slower network, loader or disk and a worse machine are what breaks then."""
    work, starved = plan.work, Assumptions(loader=0.001, storage=1.0, gpu_hours_between_failures=1e-3)
    from mien.plan.scaling import ladder

    slow = Gpu(**{**vars(H100), "link": 1e3})
    (rung,) = ladder(work, slow, 8, starved, (8,))
    loads = {limit.name: limit.load for limit in rung.limits}
    for name in ("network", "loader", "checkpoint writes", "failures"):
        assert loads[name] > 1, name
    (usual,) = ladder(work, H100, 8, Assumptions(), (8,))
    before = {limit.name: limit.load for limit in usual.limits}
    assert before["failures"] < 0.01
    assert before["network"] < loads["network"]


def test_nothing_fits_and_what_would(plan):
    small_gpu = Gpu(**{**vars(H100), "memory": 1.1 * (1 << 30)})
    found = evaluate_all(plan.work, small_gpu, 8, 8, Assumptions())
    assert chosen(found) is None
    lost = replace(plan, gpu=small_gpu, layouts=tuple(ranked(found)), best=None)
    message = str(does_not_fit(lost))
    assert "no layout fits on 8 x h100" in message
    assert "--gpu l4 would hold it" in message


@pytest.mark.parametrize(("kind", "size"), [("adamw8bit", 2 * (1 + 4 / 256)), ("muon", 4)])
def test_optimisers_that_step_whole_weights_keep_smaller_moments_under_ddp_alone(plan, kind, size):
    recipe = plan.work.recipe
    optimizer = recipe.engine.optimizer.model_copy(update={"kind": kind})
    engine = recipe.engine.model_copy(update={"optimizer": optimizer})
    work = replace(plan.work, recipe=recipe.model_copy(update={"engine": engine}))
    found = evaluate_all(work, H100, 8, 8, Assumptions())
    assert {one.layout.strategy for one in found} == {"ddp"}
    usual = [
        one for one in evaluate_all(plan.work, H100, 8, 8, Assumptions()) if one.layout.strategy == "ddp"
    ]
    for one, other in zip(found, usual, strict=True):
        assert one.memory.optimizer == size * plan.work.weights.trained
        assert one.memory.optimizer / other.memory.optimizer == pytest.approx(size / 8)


def test_gpus_that_the_batch_does_not_divide_by():
    with pytest.raises(MienError, match="32 samples do not divide by 24 GPUs"):
        make(small(), H100, 3, 8, Assumptions())


def test_command_prints_tables_and_writes_files(mien, tmp_path):
    data, picture = tmp_path / "plan.json", tmp_path / "memory.png"
    code, out, err = mien(
        "--nodes", 2, "--gpus-per-node", 2, "--gpu", "a100-40", "--json", data, "--plot", picture
    )
    assert (code, err) == (0, "")
    for words in ("layout to take", "GiB a GPU by part", "layouts by GPU-hours", "breaks first"):
        assert words in out
    saved = json.loads(data.read_text())
    assert saved["gpu"]["name"] == "a100-40"
    assert saved["best"]["layout"]["world"] == 4
    assert saved["best"]["memory"]["total"] == pytest.approx(
        sum(value for name, value in saved["best"]["memory"].items() if name != "total")
    )
    assert [row["gpus"] for row in saved["scaling"]] == [1, 4, 8, 64, 512, 4096]
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_command_names_the_nearest_gpu(mien):
    code, out, err = mien("--gpu", "h10")
    assert (code, out) == (2, "")
    assert "no GPU called 'h10'; did you mean 'h100'?" in err
    assert len(err.splitlines()) == 1


def test_command_says_what_is_missing(mien, monkeypatch):
    from mien.plan import gpus

    monkeypatch.setitem(gpus.GPUS, "toy", Gpu(**{**vars(H100), "name": "toy", "memory": 1e9}))
    code, out, err = mien("--gpu", "toy")
    assert code == 2
    assert "none fits" in out
    assert err.startswith("memory: no layout fits on 8 x toy")
    assert len(err.splitlines()) == 1


def test_options_change_the_plan(mien, tmp_path):
    data = tmp_path / "plan.json"
    arguments = ("--efficiency", 0.3, "--bandwidth", 10, "--loader", 50, "--mtbf", 1000, "--restart", 60,
                 "--storage", 2)  # fmt: skip
    assert mien(*arguments, "--json", data)[0] == 0
    saved = json.loads(data.read_text())
    rates = saved["assumptions"]
    assert (rates["efficiency"], rates["loader"], rates["storage"]) == (0.3, 50, 2e9)
    assert (rates["gpu_hours_between_failures"], rates["restart_s"]) == (1000, 60)
    assert saved["gpu"]["nic"] == 10e9


def test_help_shows_an_example(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["mien", "plan", "--help"])
    with pytest.raises(SystemExit) as left:
        cli.main()
    assert left.value.code in (0, None)
    assert "Example: mien plan" in " ".join(capsys.readouterr().out.split())
