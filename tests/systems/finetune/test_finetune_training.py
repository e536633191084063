"""Fine-tuning from a run, to a classifier that scores people never seen; resumed, on two ranks, on clips."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from face_sets import CLASSES, encode, write_clips, write_images

from engine.processes import Session, ranks
from engine.runs import LOOP, TOWERS, differences, last_step, metrics, only_run, state
from mien import engine, recipe, systems
from mien.data.reader import ShardSet
from mien.data.video import read_frames, spread
from mien.engine.rundir import RunFolder
from mien.errors import DataError, RecipeError, RunError
from mien.evaluation import evaluate
from mien.faults.sets import write_set

TOWER = tuple(key for key in TOWERS if key.startswith("model."))
QUICK = (
    "engine.threads=1", "engine.global_batch=8", "engine.schedule.warmup=2", "engine.log_every=1",
    "engine.val_every=15", "engine.checkpoint_every=5", "data.workers=0", "tracking.wandb=off",
    "tracking.images=0", "engine.ema=null", "engine.optimizer.lr=1e-2",
)  # fmt: skip


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("images")
    write_images(root / "train")
    write_images(root / "test", {"red": 6, "green": 6, "blue": 6}, seed=1, first=500)
    return root


@pytest.fixture(scope="module")
def pretrained(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """Two steps of EmoCapCLIP."""
    root = tmp_path_factory.mktemp("pretrained")
    sets = write_set(root / "set", 32)
    keys = (
        *TOWERS, *LOOP, f"data.train.shards={sets}", "data.val=null", "data.workers=0", f"run.root={root}",
        "engine.max_steps=2", "engine.schedule.warmup=1", "engine.val_every=null", "tracking.images=0",
    )  # fmt: skip
    return RunFolder(engine.run(recipe.load("emocapclip/tiny", keys)))


def keys(images: Path, root: Path, *more: str) -> tuple[str, ...]:
    sets = (f"data.train.shards={images / 'train'}", f"data.val.shards={images / 'test'}", f"run.root={root}")
    return (*TOWER, *QUICK, *sets, f"model.classes=[{','.join(CLASSES)}]", *more)


def fit(images: Path, root: Path, *more: str) -> RunFolder:
    return RunFolder(engine.run(recipe.load("emocapclip_finetune/tiny", keys(images, root, *more))))


def last(run: RunFolder, name: str) -> float:
    return [row[name] for row in metrics(run) if name in row][-1]


@pytest.mark.parametrize("how", ["lora", "adapter", "full"])
def test_it_learns_classes_and_is_scored_by_them(
    images: Path, pretrained: RunFolder, tmp_path: Path, how: str
) -> None:
    steps = 80 if how == "adapter" else 30  # it hardly reaches what the frozen norms take away, colour
    more = (f"engine.max_steps={steps}", f"model.adapt.how={how}", f"model.init_from={pretrained.path}")
    run = fit(images, tmp_path, *more, "objective.balance=logits")
    report = evaluate(run.path, "classify", images / "test", baselines=("majority",))
    own, majority = report.rows
    assert own.metrics["uar"].value > (0.6 if how == "adapter" else 0.8)
    assert 0.6 > majority.metrics["uar"].value == pytest.approx(1 / 3)
    assert own.metrics["uar"].value == pytest.approx(last(run, "val/uar"), abs=1e-6)
    assert own.metrics["war"].value == pytest.approx(last(run, "val/war"), abs=1e-6)
    assert "Classes" in (run.path / "evaluation" / "classify" / "report.html").read_text()


def test_a_linear_probe_leaves_the_tower_alone(images: Path, pretrained: RunFolder, tmp_path: Path) -> None:
    more = ("engine.max_steps=4", "model.adapt.how=linear", f"model.init_from={pretrained.path}")
    run = fit(images, tmp_path, *more)
    before = pretrained.checkpoint().weights()
    after = run.checkpoint().weights()
    tower = [name for name in after if name.startswith("model.image.")]
    assert tower
    assert all(torch.equal(after[name], before[name]) for name in tower)
    assert not torch.equal(after["model.head.weight"], torch.zeros_like(after["model.head.weight"]))


def test_two_ranks_and_a_kill_change_nothing(images: Path, pretrained: RunFolder, tmp_path: Path) -> None:
    more = (
        "engine.max_steps=12", "engine.val_every=null", "data.val=null", "model.adapt.how=lora",
        f"model.init_from={pretrained.path}", "model.dropout=0.1", "objective.balance=inverse",
    )  # fmt: skip
    name = "emocapclip_finetune/tiny"
    alone = Session(keys(images, tmp_path / "alone", *more), tmp_path / "alone.log", recipe=name)
    assert alone.wait() == 0, alone.said()
    first = Session(keys(images, tmp_path / "killed", *more), tmp_path / "killed.log", recipe=name)
    first.until(lambda: last_step(tmp_path / "killed") >= 7)
    first.kill()
    again = Session(
        keys(images, tmp_path / "killed", *more), tmp_path / "again.log", recipe=name, resume=True
    )
    assert again.wait() == 0, again.said()
    one = only_run(tmp_path / "alone")
    assert differences(state(only_run(tmp_path / "killed")), state(one)) == []
    calm = (*more, "model.dropout=0", "engine.optimizer.lr=1e-3")
    for world in (1, 2):
        root = tmp_path / f"ranks{world}"
        root.mkdir()
        for session in ranks(world, list(keys(images, root, *calm)), root, recipe=name):
            assert session.wait() == 0, session.said()
    losses = [[row["train/loss"] for row in metrics(only_run(tmp_path / f"ranks{n}"))] for n in (1, 2)]
    assert losses[1] == pytest.approx(losses[0], rel=1e-4)


@pytest.mark.parametrize("head", ["transformer", "gru"])
def test_order_in_time_is_learnt(tmp_path: Path, head: str) -> None:
    """Both classes have the same frames: the mean of them cannot tell."""
    write_clips(tmp_path / "train")
    write_clips(tmp_path / "test", each=4, seed=1)
    clip = f"model.clip={{frames: 6, head: {head}, layers: 1, heads: 2}}"
    more = ("engine.max_steps=40", "model.classes=[rise,fall]", clip, "data.augment.flip=0.5")
    run = fit(tmp_path, tmp_path / "runs", *more)
    report = evaluate(run.path, "classify", tmp_path / "test", baselines=("majority",))
    assert report.rows[0].metrics["uar"].value > 0.8


def test_the_mean_over_frames_ignores_their_order(tmp_path: Path) -> None:
    write_clips(tmp_path / "train", each=4)
    write_clips(tmp_path / "test", each=2, seed=1)
    more = ("engine.max_steps=2", "model.classes=[rise,fall]", "model.clip={frames: 6, head: mean}")
    run = fit(tmp_path, tmp_path / "runs", *more)
    model = systems.load_classifier(run.path).model
    frames = torch.randint(0, 256, (1, 6, 3, 32, 32), dtype=torch.uint8)
    torch.testing.assert_close(model(frames), model(frames.flip(1)))


def test_wrong_uses_are_told(images: Path, pretrained: RunFolder, tmp_path: Path) -> None:
    run = fit(images, tmp_path, "engine.max_steps=2")
    with pytest.raises(RunError, match=r"no encoder of images and texts.*--protocol classify"):
        systems.load(run.path)
    with pytest.raises(RunError, match="has no classes of its own"):
        systems.load_classifier(pretrained.path)
    with pytest.raises(RunError, match="no training sample of 'violet'"):
        fit(images, tmp_path, "model.classes=[red,green,blue,violet]", "objective.balance=inverse")
    for more, words in (
        (("model.adapt.how=lora",), "give init_from or weights"),
        (("model.classes=[red]",), "name two labels or more"),
    ):
        with pytest.raises(RecipeError, match=words):
            recipe.load("emocapclip_finetune/tiny", keys(images, tmp_path, *more))
    with pytest.raises(RunError, match="nothing to start from"):
        fit(images, tmp_path, "model.init_from=absent")


def test_a_label_that_the_recipe_does_not_name_is_quarantined(images: Path, tmp_path: Path) -> None:
    more = (
        "engine.max_steps=5",
        "model.classes=[red,green]",
        "data.quarantine_fraction=0.5",
        "data.val=null",
    )
    run = fit(images, tmp_path, *more)
    lines = [json.loads(line) for line in (run.path / "quarantine.jsonl").read_text().splitlines()]
    assert lines
    assert all("'blue' is not in model.classes" in line["reason"] for line in lines)


def test_frames_of_a_video_are_the_chosen_ones_and_faults_are_told(tmp_path: Path) -> None:
    import numpy as np

    levels = [20 * n + 10 for n in range(12)]
    data = encode([np.full((32, 32, 3), level, np.uint8) for level in levels])
    frames = read_frames(data, spread(4))
    assert frames.shape == (4, 3, 32, 32)
    found = frames.float().mean((1, 2, 3)).tolist()
    assert found == pytest.approx([levels[n] for n in (1, 4, 7, 10)], abs=6)
    assert read_frames(data, spread(24)).shape[0] == 24
    for bad in (b"", b"not a video", data[:200]):
        with pytest.raises(DataError, match=r"here: (no video that can|file is empty).*; copy"):
            read_frames(bad, spread(4), "here")
    clips = ShardSet(write_clips(tmp_path / "set", each=1))
    assert clips.schema == "clip/1"
