"""A judge grades pictures by what a reader sees, lets gradients pass, and is no part of the editor."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch

from editing_runs import SMALL, Mien, command, untrained
from engine.processes import Session
from engine.runs import metrics, only_run
from mien import recipe as recipes
from mien import systems
from mien.data.collate import collate_plain
from mien.errors import RunError
from mien.systems.editing.config import JudgeConfig
from mien.systems.editing.face_pairs import make_pairs
from mien.systems.editing.judge import Judge
from mien.systems.editing.module import EditModule
from mien.systems.editing.noise import NoiseConfig, alphas, cleaned, goal, noised
from mien.systems.magicface.load import load

READER = ("model.image_size=32", "model.widths=[8,8,16,16]", "model.changes=[8,8,16,16]", "model.embed=8")
mien = pytest.fixture(command)


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return untrained(tmp_path_factory.mktemp("reader"), "facereader/tiny", *READER)


def module(*more: str) -> EditModule:
    loaded = recipes.load("magicface/tiny", [*SMALL, *more])
    torch.manual_seed(0)
    built = systems.get("magicface").build(loaded)
    assert isinstance(built, EditModule)
    return built


def batch(count: int = 3) -> dict:
    drawn = torch.Generator().manual_seed(0)
    pictures = torch.randint(0, 256, (count, 3, 3, 32, 32), dtype=torch.uint8, generator=drawn)
    items = [
        {
            **dict(zip(("src", "tgt", "cond"), one, strict=True)),
            "face": torch.ones(1, 32, 32, dtype=torch.uint8),
            "vector": torch.ones(12),
            "uid": place,
        }
        for place, one in enumerate(pictures)
    ]
    return {**collate_plain(items), "valid": torch.ones(count, dtype=torch.bool)}


def test_true_pictures_have_no_error_and_others_learn_from_theirs(reader: Path) -> None:
    judge = Judge(JudgeConfig(run=str(reader), codes=3.0))
    before, true = torch.rand(2, 2, 3, 32, 32) * 2 - 1
    errors = judge(before, true.clone(), true)
    assert set(errors) == {"changes", "units", "pose", "identity"}
    assert all(not error.any() for error in errors.values())
    made = (0.5 * true).requires_grad_()
    errors = judge(before, made, true)
    assert all((error > 0).all() for error in errors.values())
    weighed = judge.weighed(errors)
    expected = 0.1 * errors["changes"] + 0.03 * errors["units"] + errors["pose"] + errors["identity"]
    torch.testing.assert_close(weighed, expected)
    weighed.sum().backward()
    assert made.grad is not None
    assert made.grad.flatten(1).any(1).all()
    assert not any(weight.requires_grad for weight in judge.network.parameters())


def test_pictures_of_another_size_are_brought_to_the_readers(reader: Path) -> None:
    judge = Judge(JudgeConfig(run=str(reader)))
    small = torch.rand(1, 3, 32, 32) * 2 - 1
    large = torch.nn.functional.interpolate(small, scale_factor=2, mode="nearest")
    errors = judge(large, large.roll(8, 3), large)
    assert float(errors["changes"]) > 0


def test_readings_of_no_weight_are_not_made(reader: Path) -> None:
    judge = Judge(JudgeConfig(run=str(reader), units=0, pose=0, identity=0))
    before, made, true = torch.rand(3, 2, 3, 32, 32) * 2 - 1
    with torch.no_grad():
        everything = Judge(JudgeConfig(run=str(reader)))(before, made, true)
    errors = judge(before, made, true)
    assert set(errors) == {"changes"}
    torch.testing.assert_close(errors["changes"], everything["changes"])


def test_a_reader_of_codes_judges_by_them_too(tmp_path: Path) -> None:
    run = untrained(tmp_path, "facereader/rig_tiny", *READER)
    judge = Judge(JudgeConfig(run=str(run)))
    before, made, true = torch.rand(3, 2, 3, 32, 32) * 2 - 1
    errors = judge(before, made, true)
    only = JudgeConfig(run=str(run), changes=0, units=0, pose=0, identity=0, codes=2)
    judge.config = only
    torch.testing.assert_close(judge.weighed(errors), 2 * errors["codes"])


def test_its_weights_are_not_the_editors_and_dropped_samples_are_not_graded(reader: Path) -> None:
    key = f"objective.judge.run={reader}"
    plain, judged = module(), module(key)
    assert list(plain.state_dict()) == list(judged.state_dict())
    assert len(list(plain.parameters())) == len(list(judged.parameters()))
    given = batch()
    alone, logs = plain.loss(given, 0)
    assert logs == {}
    total, logs = judged.loss(given, 0)
    torch.testing.assert_close(logs["latents"], alone)
    assert total > alone
    total.backward()
    untold, _ = module(key, "objective.noise.drop=1").loss(given, 0)
    torch.testing.assert_close(untold, module("objective.noise.drop=1").loss(given, 0)[0])


@pytest.mark.parametrize("prediction", ["epsilon", "v", "sample"])
def test_the_clean_latent_of_a_right_prediction_is_the_target(prediction: str) -> None:
    config = NoiseConfig(prediction=prediction)
    clean, noise = torch.randn(2, 4, 3, 8, 8)
    alpha = alphas(config)[[0, 300, 700, 999]].float()
    said = goal(config, clean, noise, alpha)
    found = cleaned(config, said, noised(clean, noise, alpha), alpha)
    torch.testing.assert_close(found, clean, rtol=1e-4, atol=1e-4)


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("pairs") / "set"
    return make_pairs(out, people=1, images=16, seed=3, size=32, workers=1, progress=False)


def test_a_run_logs_every_reading_and_the_judge_need_not_be_there_afterwards(
    pairs: Path, tmp_path: Path
) -> None:
    judge = untrained(tmp_path / "judge", "facereader/tiny", *READER)
    keys = [
        *SMALL, f"data.train.shards={pairs}", f"run.root={tmp_path / 'runs'}", f"objective.judge.run={judge}",
        "engine.max_steps=2", "engine.checkpoint_every=2",
    ]  # fmt: skip
    session = Session(keys, tmp_path / "log", recipe="magicface/tiny")
    assert session.wait() == 0, session.said()
    run = only_run(tmp_path / "runs")
    for row in metrics(run):
        assert {f"train/judged_{name}" for name in ("changes", "units", "pose", "identity")} < set(row)
        assert row["train/loss"] > row["train/latents"] > 0
    shutil.rmtree(judge)
    assert load(run.path).size == 32


def test_what_cannot_judge_is_named(reader: Path, pairs: Path, tmp_path: Path, mien: Mien) -> None:
    blind = untrained(tmp_path / "blind", "facereader/tiny", *READER, "model.changes=null")
    with pytest.raises(RunError, match=r"no changes.*facereader/tiny"):
        Judge(JudgeConfig(run=str(blind)))
    assert Judge(JudgeConfig(run=str(blind), changes=0)).config.changes == 0
    with pytest.raises(RunError, match=r"objective.judge: nothing .* has a weight; give changes"):
        Judge(JudgeConfig(run=str(reader), changes=0, units=0, pose=0, identity=0))
    keys = (*SMALL, f"data.train.shards={pairs}", f"run.root={tmp_path / 'runs'}")
    code, _, said = mien("train", "magicface/tiny", *keys, f"objective.judge.run={tmp_path / 'none'}")
    assert code == 2
    assert f"{tmp_path / 'none'}" in said
    assert len(said.strip().splitlines()) == 1
    assert only_run(tmp_path / "runs").info["state"] == "failed"
