"""What the engine does around the steps, with a toy system inside this process."""

from __future__ import annotations

import json
import logging
import shutil
from pathlib import Path

import pytest
import torch

from mien import engine
from mien.engine import checkpoint, rng
from mien.engine.rundir import RunFolder
from mien.errors import DataError, RunError
from mien.faults.sets import write_set

from .runs import differences, learned, only_run, samples, state
from .toy import PowerCut, ToyModule, cut_at, toy_recipe


def nan_at(*steps: int) -> None:
    ToyModule.interfere = lambda loss, at: loss * float("nan") if at in steps else loss


@pytest.fixture(scope="module")
def whole(sets: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    return RunFolder(engine.run(toy_recipe(sets, tmp_path_factory.mktemp("whole"))))


def test_a_run_leaves_its_folder(whole: RunFolder) -> None:
    names = {entry.name for entry in whole.path.iterdir()}
    logs = {"metrics.csv", "samples-rank0.csv", "samples"}
    assert names == {"recipe.yaml", "run.json", "lock", "checkpoints", *logs}
    assert whole.path.parent.name == "toy"
    assert whole.info["state"] == "finished"
    assert whole.info["recipe_hash"] == whole.recipe.hash
    manifest = whole.checkpoint().manifest
    assert manifest["consumed"] == 320
    assert manifest["recipe_hash"] == whole.recipe.hash
    assert [row["step"] for row in learned(whole)] == list(range(1, 21))
    assert all(row["train/twice"] == pytest.approx(2 * row["train/loss"]) for row in learned(whole))


def test_dropout_goes_on_as_if_nothing_happened(
    sets: dict[str, Path], whole: RunFolder, tmp_path: Path
) -> None:
    cut_at(13)
    with pytest.raises(PowerCut):
        engine.run(toy_recipe(sets, tmp_path))
    assert only_run(tmp_path / "runs").info["state"] == "failed"
    ToyModule.interfere = None
    torch.manual_seed(99)  # whatever the new process has drawn before
    run = RunFolder(engine.run(toy_recipe(sets, tmp_path), resume=True))
    assert differences(state(run), state(whole)) == []
    assert learned(run) == learned(whole)
    assert samples(run) == samples(whole)


@pytest.mark.parametrize("damage", ["flip", "cut", "manifest", "state"])
def test_a_damaged_newest_checkpoint_falls_back_to_the_one_before(
    sets: dict[str, Path], whole: RunFolder, tmp_path: Path, caplog: pytest.LogCaptureFixture, damage: str
) -> None:
    cut_at(13)
    with pytest.raises(PowerCut):
        engine.run(toy_recipe(sets, tmp_path))
    ToyModule.interfere = None
    newest = only_run(tmp_path / "runs").store.path(10)
    data = (newest / "state.pt").read_bytes()
    if damage == "flip":
        (newest / "state.pt").write_bytes(data[:500] + bytes([data[500] ^ 1]) + data[501:])
    elif damage == "cut":
        (newest / "state.pt").write_bytes(data[:-1])
    else:
        (newest / {"manifest": "manifest.json", "state": "state.pt"}[damage]).unlink()
    with caplog.at_level(logging.WARNING, "mien.engine"):
        run = RunFolder(engine.run(toy_recipe(sets, tmp_path), resume=True))
    assert "checkpoint passed over" in caplog.text
    assert str(newest) in caplog.text
    assert (newest.parent / "step-00000010.damaged").is_dir()
    assert differences(state(run), state(whole)) == []
    assert samples(run) == samples(whole)


def test_an_end_between_write_and_rename_leaves_the_checkpoint_before(
    sets: dict[str, Path], whole: RunFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def cut(source: Path, target: Path) -> None:
        if Path(target).name == "step-00000010":
            raise PowerCut
        rename(source, target)

    rename = checkpoint.os.rename
    with monkeypatch.context() as patch:
        patch.setattr(checkpoint.os, "rename", cut)
        with pytest.raises(PowerCut):
            engine.run(toy_recipe(sets, tmp_path))
    store = only_run(tmp_path / "runs").store
    assert (store.root / "step-00000010.tmp" / "manifest.json").is_file()  # whole, but never named
    found = store.newest_valid()
    assert found is not None
    assert found.step == 5
    run = RunFolder(engine.run(toy_recipe(sets, tmp_path), resume=True))
    assert not list(store.root.glob("*.tmp"))
    assert differences(state(run), state(whole)) == []


def test_resume_without_a_run_starts_one_and_a_finished_run_stays(
    sets: dict[str, Path], tmp_path: Path
) -> None:
    path = engine.run(toy_recipe(sets, tmp_path), resume=True)
    before = {file: file.stat().st_mtime_ns for file in path.rglob("*")}
    assert engine.run(toy_recipe(sets, tmp_path), resume=True) == path
    assert before == {file: file.stat().st_mtime_ns for file in path.rglob("*")}
    longer = RunFolder(engine.run(toy_recipe(sets, tmp_path, "engine.max_steps=23"), resume=True))
    assert longer.path == path
    assert longer.checkpoint().step == 23
    assert longer.recipe.engine.max_steps == 23
    assert engine.run(toy_recipe(sets, tmp_path)) != path  # without --resume it is another run
    assert len(samples(longer)) == 23 * 16


def test_a_changed_recipe_is_refused_by_the_names_of_its_keys(sets: dict[str, Path], tmp_path: Path) -> None:
    path = engine.run(toy_recipe(sets, tmp_path, "engine.max_steps=2"))
    changed = ("engine.optimizer.lr=0.02", "model.width=9", "engine.log_every=2", "data.workers=1")
    with pytest.raises(RunError) as error:
        engine.run(toy_recipe(sets, tmp_path, *changed), resume=True)
    assert "differs from the run's in engine.optimizer.lr, model.width;" in str(error.value)
    assert str(path) in str(error.value)
    assert "without --resume" in str(error.value)
    assert RunFolder(path).recipe.engine.optimizer.lr == 0.01


def test_a_moved_set_is_fine_and_another_is_not(sets: dict[str, Path], tmp_path: Path) -> None:
    engine.run(toy_recipe(sets, tmp_path, "engine.max_steps=2"))
    moved = shutil.copytree(sets["train"], tmp_path / "moved")
    engine.run(toy_recipe(sets | {"train": moved}, tmp_path, "engine.max_steps=3"), resume=True)
    other = write_set(tmp_path / "other", 96, seed=5)
    with pytest.raises(RunError, match=r"data\.train\.shards"):
        engine.run(toy_recipe(sets | {"train": other}, tmp_path), resume=True)
    shutil.rmtree(moved)
    other.rename(moved)
    with pytest.raises(RunError, match="training set is not the one"):
        engine.run(toy_recipe(sets | {"train": moved}, tmp_path), resume=True)


def test_nothing_is_made_before_the_sets_are_known_to_be_there(sets: dict[str, Path], tmp_path: Path) -> None:
    for key in ("data.train.shards", "data.val.shards"):
        with pytest.raises(DataError, match=key):
            engine.run(toy_recipe(sets, tmp_path, f"{key}={tmp_path}/absent"))
    with pytest.raises(RunError, match=r"data\.train"):
        engine.run(toy_recipe(sets, tmp_path, "data.train=null"))
    assert not (tmp_path / "runs").exists()


def test_a_step_that_is_not_finite_is_skipped_and_named(sets: dict[str, Path], tmp_path: Path) -> None:
    nan_at(7)
    keys = ("engine.checkpoint_every=1", "engine.keep_last=99", "model.dropout=0")
    run = RunFolder(engine.run(toy_recipe(sets, tmp_path, *keys)))
    before, after = state(run, "7"), state(run, "8")
    for part in ("state_dict", "ema"):
        assert differences(before[part], after[part]) == []
    assert after["guard"] == {"skips": 1, "in_a_row": 1}
    assert state(run, "9")["guard"] == {"skips": 1, "in_a_row": 0}
    assert differences(state(run, "9")["state_dict"], before["state_dict"])
    (entry,) = [json.loads(line) for line in (run.path / "nonfinite.jsonl").read_text().splitlines()]
    assert entry["step"] == 7
    assert entry["ranks"][0]["uids"] == [uid for step, *_, uid in samples(run) if step == 8]
    rows = learned(run)
    assert [row["train/skipped"] for row in rows] == [0.0] * 7 + [1.0] * 13
    assert "train/loss" not in rows[7]


@pytest.mark.parametrize(
    ("steps", "last", "key"), [(range(4, 99), 6, "max_in_a_row"), (range(4, 99, 2), 10, "max_skips")]
)
def test_the_guard_stops_beyond_its_bounds(
    sets: dict[str, Path], tmp_path: Path, steps: range, last: int, key: str
) -> None:
    nan_at(*steps)
    with pytest.raises(RunError, match=key) as error:
        engine.run(toy_recipe(sets, tmp_path, "engine.guard.max_in_a_row=3", "engine.guard.max_skips=4"))
    run = only_run(tmp_path / "runs")
    ledger = [json.loads(line)["step"] for line in (run.path / "nonfinite.jsonl").read_text().splitlines()]
    assert ledger == list(steps[: len(ledger)])
    assert ledger[-1] == last
    assert "nonfinite.jsonl" in str(error.value)
    assert run.info["state"] == "failed"


def test_accumulated_micro_batches_give_the_step_of_the_large_batch(
    sets: dict[str, Path], tmp_path: Path
) -> None:
    """A mean over samples; a contrast over the batch is another loss when the batch is cut."""
    found = {}
    for accumulate in (1, 4):
        root = tmp_path / str(accumulate)
        root.mkdir()
        recipe = toy_recipe(sets, root, f"engine.accumulate={accumulate}", "model.dropout=0")
        found[accumulate] = RunFolder(engine.run(recipe))
    assert samples(found[1]) == samples(found[4])
    one, four = state(found[1]), state(found[4])
    assert four["step"] == one["step"] == 20
    torch.testing.assert_close(four["state_dict"], one["state_dict"], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(four["ema"], one["ema"], rtol=1e-4, atol=1e-5)
    losses = [[row["train/loss"] for row in learned(run)] for run in found.values()]
    assert losses[1] == pytest.approx(losses[0], rel=1e-4)


def test_the_average_follows_its_definition(sets: dict[str, Path], tmp_path: Path) -> None:
    keys = ("engine.checkpoint_every=1", "engine.keep_last=99", "engine.max_steps=12")
    run = RunFolder(engine.run(toy_recipe(sets, tmp_path, *keys)))
    rng.seed(run.recipe.seed)
    mean = {name: weight.detach().clone() for name, weight in ToyModule(run.recipe).named_parameters()}
    for step in range(12):
        decay = min(0.9, (1 + step) / (10 + step))
        live = state(run, str(step + 1))["state_dict"]
        mean = {name: decay * mean[name] + (1 - decay) * live[name] for name in mean}
        torch.testing.assert_close(state(run, str(step + 1))["ema"], mean)
    last = run.checkpoint()
    torch.testing.assert_close(last.weights(), mean)
    assert differences(last.weights(ema=False), last.load()["state_dict"]) == []


def test_the_best_checkpoint_survives(sets: dict[str, Path], tmp_path: Path) -> None:
    keys = (f"data.val.shards={sets['val']}", "engine.val_every=1", "engine.best.mode=max", "engine.ema=null")
    run = RunFolder(engine.run(toy_recipe(sets, tmp_path, *keys, "engine.checkpoint_every=4")))
    values = [row["val/loss"] for row in learned(run)]
    step = values.index(max(values)) + 1
    assert run.checkpoint("best").step == step
    assert state(run)["best"] == pytest.approx(max(values))
    assert set(run.store.steps()) >= {step, 20}
    assert len(run.store.steps()) <= 3


def test_validation_leaves_training_alone(sets: dict[str, Path], whole: RunFolder, tmp_path: Path) -> None:
    keys = (f"data.val.shards={sets['val']}", "engine.val_every=3")
    run = RunFolder(engine.run(toy_recipe(sets, tmp_path, *keys)))
    assert differences(state(run)["state_dict"], state(whole)["state_dict"]) == []
    assert differences(state(run)["rng"], state(whole)["rng"]) == []


def test_compiled_blocks_learn_the_same(sets: dict[str, Path], tmp_path: Path) -> None:
    curves = []
    for compiled in ("false", "true"):
        root = tmp_path / compiled
        root.mkdir()
        keys = (f"engine.compile={compiled}", "engine.max_steps=6", "model.dropout=0")
        curves.append(
            [row["train/loss"] for row in learned(RunFolder(engine.run(toy_recipe(sets, root, *keys))))]
        )
    assert curves[1] == pytest.approx(curves[0], rel=1e-5)


def test_numbers_too_small_for_full_precision_are_zero_while_it_trains(
    sets: dict[str, Path], tmp_path: Path
) -> None:
    """CPUs are slow at those; whoever called the engine gets them back."""
    tiny, seen = torch.tensor(1e-40), []

    def look(loss: torch.Tensor, at: int) -> torch.Tensor:
        seen.append(float(tiny * 0.5))
        return loss

    assert float(tiny * 0.5) > 0
    ToyModule.interfere = look
    engine.run(toy_recipe(sets, tmp_path))
    assert seen == [0] * 20
    assert float(tiny * 0.5) > 0
