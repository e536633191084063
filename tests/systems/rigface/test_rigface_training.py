"""RigFace through the engine and at rest: it learns, ends as if it had not been killed, and edits a photo."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from editing_releases import published
from editing_runs import SMALL
from engine.processes import Session, ranks
from engine.runs import differences, last_step, metrics, only_run, samples, state
from mien.data.reader import ShardSet
from mien.engine.rundir import RunFolder
from mien.errors import RunError
from mien.systems.editing.config import ConditionConfig, EditObjective
from mien.systems.editing.noise import Guidance
from mien.systems.editing.pair_samples import labels, picture
from mien.systems.editing.sampler import SampleConfig
from mien.systems.rigface.background import GREY, person_mask
from mien.systems.rigface.codes import Codes
from mien.systems.rigface.config import RigFaceModel
from mien.systems.rigface.load import PLAIN, RigFace, load
from mien.systems.rigface.model import build
from mien.systems.rigface.modes import mix
from mien.systems.rigface.pairs import make_rig_pairs
from mien.systems.rigface.records import from_record
from mien.systems.rigface.sliders import Sliders

RECIPE = "rigface/tiny"
LENGTH = ("engine.max_steps=40", "engine.checkpoint_every=10")


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("rig_pairs") / "set"
    return make_rig_pairs(out, people=3, images=48, seed=3, size=32, workers=1, progress=False)


def keys(pairs: Path, root: Path) -> list[str]:
    return [*SMALL, *LENGTH, f"data.train.shards={pairs}", f"run.root={root}"]


@pytest.fixture(scope="module")
def undisturbed(pairs: Path, tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    root = tmp_path_factory.mktemp("undisturbed")
    session = Session(keys(pairs, root), root / "log", recipe=RECIPE)
    assert session.wait() == 0, session.said()
    return only_run(root)


@pytest.fixture(scope="module")
def editor(undisturbed: RunFolder) -> Iterator[RigFace]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # networks this small wait for threads longer than they compute
    yield load(undisturbed.path)
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def photo(pairs: Path) -> tuple[np.ndarray, np.ndarray, Codes, Codes]:
    """Picture, labels, its codes, and codes that differ in everything an edit moves."""
    stored = ShardSet(pairs)
    found = [stored.read(place) for place in range(len(stored))]
    ends = [[from_record(s.record[key]) for key in ("codes_src", "codes_tgt")] for s in found]
    place = next(
        n for n, (a, b) in enumerate(ends)
        if a.pose != b.pose and not np.array_equal(a.light, b.light)
        and not np.array_equal(a.expression, b.expression)
    )  # fmt: skip
    shown = picture(found[place], "src", 32)[0].permute(1, 2, 0).numpy()
    return shown, labels(found[place], "src", 32), *ends[place]


def test_it_learns(undisturbed: RunFolder) -> None:
    losses = [row["train/loss"] for row in metrics(undisturbed)]
    assert np.mean(losses[-5:]) < 0.5 * losses[0]


def test_a_killed_run_ends_bitwise_equal(undisturbed: RunFolder, pairs: Path, tmp_path: Path) -> None:
    """The dilations are drawn again as they were: they are part of every background."""
    own = keys(pairs, tmp_path / "runs")
    session = Session(own, tmp_path / "killed.log", recipe=RECIPE)
    session.until(lambda: last_step(tmp_path / "runs") >= 17)
    session.kill()
    session = Session(own, tmp_path / "resumed.log", recipe=RECIPE, resume=True)
    assert session.wait() == 0, session.said()
    run = only_run(tmp_path / "runs")
    assert differences(state(run), state(undisturbed)) == []
    assert samples(run) == samples(undisturbed)


def curve(pairs: Path, root: Path, world: int, *strategy: str) -> list[float]:
    """Losses of eight steps; a small rate, at which float32 rounding does not grow."""
    quiet = ("engine.max_steps=8", "engine.optimizer.lr=1e-4", "engine.schedule.kind=constant")
    for session in ranks(world, [*keys(pairs, root), *quiet, *strategy], root, recipe=RECIPE):
        assert session.wait() == 0, session.said()
    return [row["train/loss"] for row in metrics(only_run(root)) if "train/loss" in row]


@pytest.fixture(scope="module")
def alone(pairs: Path, tmp_path_factory: pytest.TempPathFactory) -> list[float]:
    return curve(pairs, tmp_path_factory.mktemp("alone"), 1)


@pytest.mark.parametrize("strategy", ["ddp", "deepspeed", "fsdp2"])
def test_two_ranks_are_one_process(pairs: Path, tmp_path: Path, alone: list[float], strategy: str) -> None:
    """DDP, ZeRO-2 and FSDP2."""
    assert len(alone) == 8
    together = curve(pairs, tmp_path, 2, f"engine.strategy={strategy}")
    np.testing.assert_allclose(together, alone, rtol=2e-4)


def test_edits_of_a_run(editor: RigFace, photo: tuple[np.ndarray, np.ndarray, Codes, Codes]) -> None:
    shown, parts, source, target = photo
    edited = [source, *(mix(source, target, modes) for modes in ("exp", "light", "exp+pose+light"))]
    config = PLAIN.model_copy(update={"steps": 4})
    told: list[int] = []
    made = editor.edit(shown, parts, source, edited, config, told.append)
    assert made.shape == (4, 3, 32, 32)
    assert made.dtype == torch.uint8
    assert sum(told) == 4
    assert torch.equal(made, editor.edit(shown, parts, source, edited, config))
    assert len({made[place].numpy().tobytes() for place in range(4)}) == 4
    for place in (1, 3):
        alone = editor.edit(shown, parts, source, [edited[place]], config)[0]
        assert int((alone.int() - made[place].int()).abs().max()) <= 1  # but for rounding
    guided = config.model_copy(update={"guidance": Guidance(scale=3.0)})
    assert PLAIN.guidance.scale == 1
    assert not torch.equal(made, editor.edit(shown, parts, source, edited, guided))


def test_the_photo_is_read_once_for_all_edits(
    editor: RigFace, photo: tuple[np.ndarray, np.ndarray, Codes, Codes], monkeypatch: pytest.MonkeyPatch
) -> None:
    shown, parts, source, target = photo
    passes: list[int] = []
    monkeypatch.setattr(
        editor.editor, "features", lambda x, real=editor.editor.features: passes.append(len(x)) or real(x)
    )
    edited = [mix(source, target, "exp", strength) for strength in (0.0, 0.5, 1.0)]
    editor.edit(shown, parts, source, edited, SampleConfig(steps=2, batch=1))
    assert passes == [1]


def test_only_a_turn_greys_where_the_head_will_be(
    editor: RigFace, photo: tuple[np.ndarray, np.ndarray, Codes, Codes]
) -> None:
    shown, parts, source, target = photo
    parts = parts * (np.arange(32) < 16)  # half a person, so that the head leaves the mask
    own = person_mask(parts)
    for modes in ("exp", "light", "exp+light"):
        grey, drawn = editor.maps(shown, parts, source, mix(source, target, modes))
        assert (grey[own] == GREY).all()
        np.testing.assert_array_equal(grey[~own], shown[~own])
    for codes in (mix(source, target, "pose"), Sliders(yaw=20).apply(source)):
        grey, drawn = editor.maps(shown, parts, source, codes)
        np.testing.assert_array_equal(drawn, editor.rig.render(codes, 32).image)
        covered = drawn.max(2) > 0
        assert (covered & ~own).any()
        assert (grey[covered] == GREY).all()


def test_what_cannot_be_edited_is_told(
    editor: RigFace, photo: tuple[np.ndarray, np.ndarray, Codes, Codes]
) -> None:
    shown, parts, source, _ = photo
    with pytest.raises(ValueError, match="the photo is"):
        editor.edit(shown[:16, :16], parts, source, [source])
    with pytest.raises(ValueError, match="no edit"):
        editor.edit(shown, parts, source, [])
    with pytest.raises(RunError, match="has psi in the codes"):
        editor.edit(shown, parts, source, [source], psi=np.zeros((1, 50)))
    other = editor.config.model_copy(update={"backend": "ict"})
    with pytest.raises(RunError, match="trained with backend ict, and the rig is builtin"):
        RigFace(editor.editor, other, EditObjective(), editor.rig)


def test_weights_of_another_backend_are_no_start(undisturbed: RunFolder, tmp_path: Path) -> None:
    config = undisturbed.recipe.model
    assert isinstance(config, RigFaceModel)
    again = config.model_copy(update={"init_from": str(undisturbed.path)})
    first = next(iter(load(undisturbed.path).editor.parameters()))
    assert torch.equal(next(iter(build(again).parameters())), first)
    with pytest.raises(RunError, match="read backend builtin, the recipe says ict"):
        build(again.model_copy(update={"backend": "ict"}))
    published("rigface", tmp_path)
    with pytest.raises(RunError, match="read backend bfm64, the recipe says builtin"):
        build(config.model_copy(update={"init_from": str(tmp_path)}))
    released = ConditionConfig(width=64, maps=2)
    wide = config.model_copy(update={"backend": "bfm64", "condition": released})
    assert build(wide).denoiser.class_embedding.weight.shape[1] == 64
