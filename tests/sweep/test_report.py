"""The report and the table of trials in every state, also of a sweep that has hardly begun."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from xml.etree import ElementTree

import pytest
from optuna.trial import TrialState

from mien.sweep import claims, figures, load
from mien.sweep.report import importances, write_report
from mien.sweep.status import best_point, print_status, rows
from mien.sweep.study import Sweep

RATE, WEIGHT = "engine.optimizer.lr", "objective.local.weight"


def _begun(file: Path, count: int) -> Sweep:
    sweep = Sweep.begin(load.load(file), file)
    for number in range(count):
        sweep.take(claims.process())
        sweep.root(number).mkdir()
    return sweep


def _value(sweep: Sweep, number: int) -> float:
    params = sweep.trials()[number].params
    return 1 + 100 * params[RATE] + 0.01 * number


def test_every_state_is_in_the_tables_and_on_the_page(make) -> None:
    sweep = _begun(make(method="random", trials=7, space={RATE: {"low": 0.001, "high": 0.01}}), 5)
    for number in (0, 1, 2):
        sweep.note(number, 4, 3.0)
    sweep.tell(0, TrialState.COMPLETE, 1.5, steps=12, seconds=61.0)
    sweep.tell(1, TrialState.PRUNED, 3.0, steps=4, reason="behind at step 4")
    sweep.tell(2, TrialState.FAIL, reason="5 steps <not> finite")
    last = sweep.claims.newest(4)
    assert last is not None
    sweep.claims.free(last)
    page = write_report(sweep)
    states = ["finished", "pruned", "failed", "running", "interrupted"]
    told = json.loads((page.parent / "trials.json").read_text())
    assert [trial["state"] for trial in told["trials"]] == states
    with (page.parent / "trials.csv").open() as file:
        assert [row["state"] for row in csv.DictReader(file)] == states
    text = page.read_text()
    assert all(f'<span class="state">{state}</span>' in text for state in states)
    assert "1 of 7" in text
    assert "5 steps &lt;not&gt; finite" in text
    assert "<script" not in text
    assert "src=" not in text
    assert "http" not in text.replace("http://www.w3.org/2000/svg", "")


def test_a_sweep_that_has_hardly_begun_has_a_page(make, capsys: pytest.CaptureFixture[str]) -> None:
    sweep = _begun(make(), 1)
    assert "0 of 4" in write_report(sweep).read_text()
    print_status(sweep)
    assert "small: 4 trials; 1 running, 3 to begin" in capsys.readouterr().out


@pytest.mark.parametrize("mode", ["min", "max"])
def test_pictures_put_the_better_end_on_top_and_the_best_in_front(make, mode: str) -> None:
    sweep = _begun(make(mode=mode, seeds=[0, 1]), 8)
    for number in range(8):
        sweep.note(number, 4, 2.0 + number)
        sweep.tell(number, TrialState.COMPLETE, _value(sweep, number), steps=12)
    found = rows(sweep)
    top = best_point(sweep, found)
    assert {row.point for row in top} == {0 if mode == "min" else 3}
    for drawn in (
        figures.parallel(found, sweep.config, [row.number for row in top]),
        figures.curves(found, sweep.config, [row.number for row in top]),
    ):
        paths = [e for e in ElementTree.fromstring(drawn) if (e.get("class") or "").startswith("line")]
        assert len(paths) == 8
        ends = [float(path.get("d", "").rpartition(",")[2]) for path in paths]
        assert "best" in str(paths[ends.index(min(ends))].get("class"))
    assert ElementTree.fromstring(figures.history(found, sweep.config)).findall(".//{*}circle")


def test_importance_names_the_parameter_that_matters_and_waits_for_enough_trials(make) -> None:
    space = {RATE: {"low": 0.001, "high": 0.01}, WEIGHT: {"low": 0.0, "high": 1.0}}
    sweep = _begun(make(method="random", trials=20, space=space), 20)
    for number in range(20):
        assert (importances(sweep) == {}) is (number < 8)
        sweep.tell(number, TrialState.COMPLETE, 1 + 100 * sweep.trials()[number].params[RATE], steps=12)
    shares = importances(sweep)
    assert shares[RATE] > 0.8
    assert sum(shares.values()) == pytest.approx(1)
