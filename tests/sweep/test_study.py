"""The sweep on disk: begun once by many, continued or refused, whole after a torn write."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from optuna.trial import TrialState

from mien.errors import RunError
from mien.sweep import claims, load
from mien.sweep.study import Sweep


def _begin(file: Path, *overrides: str) -> Sweep:
    return Sweep.begin(load.load(file, overrides), file)


def _take_all(sweep: Sweep) -> list[int]:
    taken = []
    while (claim := sweep.take(claims.process())[0]) is not None:
        taken.append(claim.trial)
    return taken


def test_many_workers_begin_one_sweep_and_share_its_trials(make, tmp_path: Path) -> None:
    file = make()
    start = threading.Barrier(6)

    def work() -> list[int]:
        start.wait()
        return _take_all(_begin(file))

    with ThreadPoolExecutor(6) as pool:
        taken = [pool.submit(work) for _ in range(6)]
    assert sorted(number for future in taken for number in future.result()) == [0, 1, 2, 3]
    assert [path.name for path in (tmp_path / "sweeps").iterdir()] == ["small"]
    sweep = Sweep.open(tmp_path / "sweeps" / "small")
    assert [tuple(trial.params.values()) for trial in sweep.trials()] == [
        (0.001, 0.0), (0.001, 0.5), (0.004, 0.0), (0.004, 0.5),
    ]  # fmt: skip


def test_a_trial_of_a_dead_worker_is_taken_before_a_new_one(make) -> None:
    sweep = _begin(make())
    first = sweep.take(claims.process())[0]
    assert first is not None
    sweep.claims.free(first)
    again = sweep.take(claims.process())[0]
    assert again is not None
    assert (again.trial, again.generation) == (0, 1)
    assert sweep.take(claims.process())[0].trial == 1  # type: ignore[union-attr]


def test_the_recipe_of_a_trial_carries_its_point_its_root_and_its_group(make) -> None:
    sweep = _begin(make(seeds=[5, 6], set={"tracking.tags": ["mine"]}))
    assert len(_take_all(sweep)) == 8
    recipe = sweep.recipe(3, ["engine.devices=1"])
    assert (recipe.seed, recipe.engine.optimizer.lr, recipe.dump()["objective"]["local"]["weight"]) == (
        6,
        0.001,
        0.5,
    )
    assert recipe.run.root == str(sweep.root(3))
    assert (recipe.tracking.group, recipe.tracking.tags) == ("small", ("mine", "trial-0003"))
    assert (recipe.name, recipe.engine.devices) == ("emocapclip/tiny", 1)
    assert sweep.trials()[2].params == sweep.trials()[3].params


def test_going_on_with_another_sweep_is_refused_and_more_trials_are_not(make) -> None:
    sweep = _begin(make(method="random", trials=2))
    _take_all(sweep)
    with pytest.raises(RunError, match=r"differs .* in seed, engine\.schedule\.warmup; take the change back"):
        _begin(make(method="random", trials=2, seed=1, set={"engine.schedule.warmup": 3}))
    longer = _begin(make(method="random", trials=3, set={"data.workers": 1}))
    assert _take_all(longer) == [2]
    assert Sweep.open(sweep.folder).config.trials == 3


def test_a_torn_line_of_the_journal_is_cut_off(make) -> None:
    sweep = _begin(make())
    sweep.take(claims.process())
    with (sweep.folder / "journal.log").open("a") as journal:
        journal.write('{"op_code":4,"worker_id":"x","stud')  # a worker killed in a write
    again = Sweep.open(sweep.folder)
    assert again.take(claims.process())[0].trial == 1  # type: ignore[union-attr]
    assert len(Sweep.open(sweep.folder).trials()) == 2


def test_a_result_is_told_once(make) -> None:
    sweep = _begin(make())
    _take_all(sweep)
    sweep.root(0).mkdir()
    sweep.tell(0, TrialState.COMPLETE, 1.5, steps=12)
    Sweep.open(sweep.folder).tell(0, TrialState.FAIL, reason="a worker that thought itself alive")
    trial = Sweep.open(sweep.folder).trials()[0]
    assert (trial.state, trial.value, trial.user_attrs.get("reason")) == (TrialState.COMPLETE, 1.5, None)


def test_tpe_goes_where_results_were_good(make) -> None:
    wanted = {"engine.optimizer.lr": {"low": 1e-4, "high": 1e-2, "log": True}}
    sweep = _begin(make(method="tpe", trials=40, space=wanted))
    for number in range(40):
        claim = sweep.take(claims.process())[0]
        assert claim is not None
        sweep.root(number).mkdir()
        rate = sweep.trials()[number].params["engine.optimizer.lr"]
        sweep.tell(number, TrialState.COMPLETE, abs(rate - 0.005))
    rates = [trial.params["engine.optimizer.lr"] for trial in sweep.trials()]
    late = sum(abs(rate - 0.005) < 0.0025 for rate in rates[20:])
    assert late > 2 * sum(abs(rate - 0.005) < 0.0025 for rate in rates[:10])
