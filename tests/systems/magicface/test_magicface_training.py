"""MagicFace through the engine: it learns, ends as if it had not been killed, and two ranks are one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from editing_runs import SMALL
from engine.processes import Session, ranks
from engine.runs import differences, last_step, metrics, only_run, samples, state
from mien.data.reader import ShardSet
from mien.engine.rundir import RunFolder
from mien.errors import DataError
from mien.export import export
from mien.systems.editing.face import Face
from mien.systems.editing.face_pairs import make_pairs
from mien.systems.editing.importing import Beside, import_release
from mien.systems.editing.noise import Guidance
from mien.systems.editing.pair_samples import labels, picture
from mien.systems.editing.sampler import SampleConfig
from mien.systems.magicface.load import load
from mien.systems.weights import state_for_export

RECIPE = "magicface/tiny"


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("pairs") / "set"
    return make_pairs(out, people=4, images=48, seed=3, size=32, workers=1, progress=False)


def keys(pairs: Path, root: Path, *more: str) -> list[str]:
    return [*SMALL, f"data.train.shards={pairs}", f"run.root={root}", *more]


def forty(pairs: Path, root: Path) -> list[str]:
    """Of a run of 40 steps that is validated on what it learns."""
    seen = (f"data.val={{shards: {pairs}}}", "engine.val_every=10")
    return keys(pairs, root, *seen, "engine.max_steps=40", "engine.checkpoint_every=10")


@pytest.fixture(scope="module")
def undisturbed(pairs: Path, tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    root = tmp_path_factory.mktemp("undisturbed")
    session = Session(forty(pairs, root), root / "log", recipe=RECIPE)
    assert session.wait() == 0, session.said()
    return only_run(root)


def test_it_learns(undisturbed: RunFolder) -> None:
    losses = [row["val/loss"] for row in metrics(undisturbed) if "val/loss" in row]
    assert losses == sorted(losses, reverse=True)
    assert losses[-1] < 0.75 * losses[0]


def test_a_killed_run_ends_bitwise_equal(undisturbed: RunFolder, pairs: Path, tmp_path: Path) -> None:
    own = forty(pairs, tmp_path / "runs")
    session = Session(own, tmp_path / "killed.log", recipe=RECIPE)
    session.until(lambda: last_step(tmp_path / "runs") >= 17)
    session.kill()
    session = Session(own, tmp_path / "resumed.log", recipe=RECIPE, resume=True)
    assert session.wait() == 0, session.said()
    run = only_run(tmp_path / "runs")
    assert differences(state(run), state(undisturbed)) == []
    assert samples(run) == samples(undisturbed)


@pytest.mark.parametrize(
    "layout", ["engine.strategy=ddp", "engine.strategy=deepspeed", "engine.strategy=fsdp2"]
)
def test_two_ranks_are_one_process(pairs: Path, tmp_path: Path, layout: str) -> None:
    """DDP, ZeRO-2 and FSDP2; a small rate, at which float32 rounding does not grow."""
    quiet = (
        "engine.max_steps=8",
        "engine.optimizer.lr=1e-4",
        "engine.optimizer.kind=adamw",
        "engine.schedule.kind=constant",
    )
    curves = []
    for world, strategy in ((1, ()), (2, (layout,))):
        root = tmp_path / str(world)
        root.mkdir()
        for session in ranks(world, keys(pairs, root, *quiet, *strategy), root, recipe=RECIPE):
            assert session.wait() == 0, session.said()
        curves.append([row["train/loss"] for row in metrics(only_run(root)) if "train/loss" in row])
    assert len(curves[0]) == 8
    np.testing.assert_allclose(curves[1], curves[0], rtol=2e-4)


def test_edits_of_a_run(undisturbed: RunFolder, pairs: Path) -> None:
    editor = load(undisturbed.path)
    sample = ShardSet(pairs).read(0)
    face = Face(
        picture(sample, "src", 32)[0].permute(1, 2, 0).numpy(),
        labels(sample, "src", 32),
        np.asarray(sample.record["jaw_src"]),
        np.asarray(sample.record["jaw_rest_src"]),
    )
    vectors = torch.zeros(3, 12)
    vectors[1, 6], vectors[2, 6] = 3, -3
    config = SampleConfig(steps=4, guidance=Guidance(scale=1.5))
    told: list[int] = []
    made = editor.edit(face, vectors, config, told.append)
    assert made.shape == (3, 3, 32, 32)
    assert sum(told) == 4
    assert torch.equal(made, editor.edit(face, vectors, config))
    assert not torch.equal(made[1], made[2])
    one = editor.edit(face, vectors[1:2], config)
    assert int((one[0].int() - made[1].int()).abs().max()) <= 1  # company changes no edit but by rounding
    other = editor.edit(face, vectors, config.model_copy(update={"seed": 1}))
    assert not torch.equal(made, other)
    with pytest.raises(ValueError, match="the photo is"):
        editor.edit(Face(np.zeros((16, 16, 3), np.uint8), *[np.zeros(1)] * 3), vectors, config)


def test_a_trained_run_is_exported_and_imported_to_the_bit(undisturbed: RunFolder, tmp_path: Path) -> None:
    """Averaged weights, to diffusers and back; the card tells of a training."""
    export(undisturbed.path, tmp_path / "out", to="diffusers")
    card = (tmp_path / "out" / "README.md").read_text()
    assert "| checkpoint | last, step 40 of 40 |" in card
    assert "exponential moving average, decay 0.9" in card
    assert "squares of 4 x 4 pixels" in card
    recipe = str(undisturbed.path / "recipe.yaml")
    run = import_release("magicface", tmp_path / "out", tmp_path / "runs", Beside(), recipe=recipe)
    before, after = state_for_export(undisturbed), state_for_export(run)
    assert before.keys() == after.keys()
    assert any(name.startswith("near.") for name in before)
    assert all(torch.equal(after[name], value) for name, value in before.items())
    assert load(run.path).config.codec.kind == "cosines"
    (tmp_path / "out" / "near.safetensors").unlink()
    with pytest.raises(DataError, match="falloffs of attention are missing"):
        import_release("magicface", tmp_path / "out", tmp_path / "more", Beside(), recipe=recipe)
