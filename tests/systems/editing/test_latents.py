"""Latents made ahead: the same training as on pairs but for half precision, and what is refused."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pytest
import torch

from editing_releases import autoencoder
from editing_runs import SMALL, Mien, command
from engine.processes import Session
from engine.runs import metrics, only_run
from mien import recipe as recipes
from mien import systems
from mien.data.reader import Sample, ShardSet
from mien.errors import DataError, RunError
from mien.recipe import Recipe
from mien.systems.editing.encode import encode_sets
from mien.systems.editing.face_pairs import make_pairs
from mien.systems.editing.latents import ARRAYS, item, members
from mien.systems.editing.module import EditModule
from mien.systems.rigface.pairs import make_rig_pairs

mien = pytest.fixture(command)
NAMES = ("magicface/tiny", "rigface/tiny")
MAKERS = dict(zip(NAMES, (make_pairs, make_rig_pairs), strict=True))


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("sets")
    return {
        name: make(root / name, people=2, images=8, seed=3, size=32, workers=1, progress=False)
        for name, make in MAKERS.items()
    }


@pytest.fixture(scope="module")
def vae(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return autoencoder(tmp_path_factory.mktemp("codec") / "vae")


def small(name: str, shards: Path, vae: Path | None, *more: str) -> Recipe:
    codec = f"{{kind: vae, folder: {vae or 'null'}, factor: 2, target_scale: 0.18215}}"
    keys = (f"data.train.shards={shards}", f"model.codec={codec}", "model.unet.latent_channels=4")
    return recipes.load(name, [*SMALL, *keys, *more])


def batch(recipe: Recipe) -> dict:
    """All samples of the training set, as the stream would give them."""
    system, shards = systems.get(recipe.system), ShardSet(recipe.data.train.shards)
    transform = system.transform(recipe, "val")
    rows = [transform(shards.read(place), np.random.default_rng(0), 0) for place in range(len(shards))]
    return system.collate(recipe)(rows) | {"valid": torch.ones(len(rows), dtype=torch.bool)}


def loss(recipe: Recipe) -> float:
    torch.manual_seed(0)
    module = systems.get(recipe.system).build(recipe)
    assert isinstance(module, EditModule)
    with torch.no_grad():
        return float(module.loss(batch(recipe), 3)[0])


@pytest.mark.parametrize("name", NAMES)
def test_the_loss_is_that_of_the_pairs(name: str, pairs: dict[str, Path], vae: Path, tmp_path: Path) -> None:
    weights = ("objective.face_weight=4", "objective.change_weight=20")
    recipe = small(name, pairs[name], vae, *weights)
    (folder,) = encode_sets(recipe, tmp_path / "latents", batch=3)
    assert ShardSet(folder).schema == "latents/1"
    alone = small(name, folder, None, *weights)
    assert loss(alone) == pytest.approx(loss(recipe), rel=2e-3)
    other = small(name, folder, None, "objective.face_weight=1", "objective.change_weight=0")
    assert loss(other) != pytest.approx(loss(recipe), rel=0.05)


def test_a_command_writes_them_a_run_trains_on_them_and_a_second_call_keeps_them(
    pairs: dict[str, Path], vae: Path, tmp_path: Path, mien: Mien
) -> None:
    name, out = NAMES[0], tmp_path / "latents"
    keys = small(name, pairs[name], vae).model_dump(mode="json")["model"]["codec"]
    given = [
        *SMALL, f"data.train.shards={pairs[name]}", f"data.val={{shards: {pairs[name]}}}",
        f"model.codec={json.dumps(keys)}", "model.unet.latent_channels=4",
    ]  # fmt: skip
    code, said, _ = mien("data", "encode", name, out, *given)
    assert (code, said.split()) == (0, [str(out / "train"), str(out / "val")])
    assert mien("data", "check", out / "train")[0] == 0
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*.tar")}
    assert mien("data", "encode", name, out, *given)[0] == 0
    assert {path: path.stat().st_mtime_ns for path in out.rglob("*.tar")} == before
    root = tmp_path / "runs"
    blind = json.dumps(keys | {"folder": None})
    more = [
        *SMALL, f"data.train.shards={out / 'train'}", f"data.val={{shards: {out / 'val'}}}",
        f"model.codec={blind}", "model.unet.latent_channels=4", "engine.max_steps=4", "engine.val_every=2",
        f"run.root={root}",
    ]  # fmt: skip
    session = Session(more, tmp_path / "log", recipe=name)
    assert session.wait() == 0, session.said()
    rows = metrics(only_run(root))
    assert [row["step"] for row in rows if "val/loss" in row] == [2, 4]


def test_what_was_made_with_something_else_is_refused(
    pairs: dict[str, Path], vae: Path, tmp_path: Path
) -> None:
    name = NAMES[0]
    recipe = small(name, pairs[name], vae)
    (folder,) = encode_sets(recipe, tmp_path / "latents")
    for change in ("model.mask_mode=person", "model.jaw=expression"):
        with pytest.raises(DataError, match="another size, codec or condition"):
            batch(small(name, folder, vae, change))
    batch(small(name, folder, vae, "model.guidance=2", "model.unet.channels=[16,24]", "model.unet.heads=2"))
    check = systems.get(recipe.system).check
    assert check is not None
    check(small(name, folder, vae))
    check(small(name, folder, None))
    other = autoencoder(tmp_path / "other")
    weights = other / "diffusion_pytorch_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"\1")
    with pytest.raises(RunError, match="latents of another autoencoder"):
        check(small(name, folder, other))
    with pytest.raises(DataError, match="latents already"):
        encode_sets(small(name, folder, vae), tmp_path / "again")
    assert not (tmp_path / "again" / "train" / "index.json").exists()


def test_what_cannot_be_encoded_is_told_before_anything_is_written(
    pairs: dict[str, Path], vae: Path, tmp_path: Path
) -> None:
    name = NAMES[0]
    mix = f"data.train={{mix: [{{shards: {pairs[name]}}}, {{shards: {pairs[name]}}}]}}"
    for recipe, told in (
        (recipes.load("facereader/tiny"), "facereader trains on no latents"),
        (small(name, pairs[name], None), "nothing to encode with"),
        (recipes.load(name, [*SMALL, mix]), "mixture of sets"),
        (recipes.load(name, [*SMALL, "data.train=null"]), "no set to encode"),
    ):
        with pytest.raises(RunError, match=told):
            encode_sets(recipe, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_damaged_arrays_and_what_half_precision_cannot_hold() -> None:
    record = {"v": 1, "uid": 1, "label": "latents", "group": "a", "vector": [0.0], "encoded": "x"}
    arrays = {name: torch.zeros(1, 2, 2) for name in ARRAYS}
    written = members(record, arrays, "here")
    sample = Sample(0, "a", dict(written), "shard", "latents/1")
    assert sample.record["vector"] == [0.0]
    for name in ARRAYS:
        without = {key: value for key, value in written.items() if key != f"{name}.npy"}
        with pytest.raises(DataError, match=f"no array {name}"):
            _ = Sample(0, "a", without, "shard", "latents/1").record
        torn = written | {f"{name}.npy": written[f"{name}.npy"][:40]}
        with pytest.raises(DataError, match="not a plain array"):
            _ = Sample(0, "a", torn, "shard", "latents/1").record
        with pytest.raises(DataError, match="float16 holds"):
            members(record, arrays | {name: torch.full((1, 2, 2), 1e6)}, "here")


def test_a_judge_needs_pictures(pairs: dict[str, Path], vae: Path, tmp_path: Path) -> None:
    name = NAMES[0]
    (folder,) = encode_sets(small(name, pairs[name], vae), tmp_path / "latents")
    recipe = small(name, folder, vae)
    module = systems.get(recipe.system).build(recipe)
    assert isinstance(module, EditModule)
    module.judge = object()  # type: ignore[assignment]  # never asked
    with pytest.raises(RunError, match=r"a judge looks at pictures.*objective.judge=null"):
        module.loss(batch(recipe), 0)


def test_arrays_of_another_form_are_refused(pairs: dict[str, Path], vae: Path, tmp_path: Path) -> None:
    (folder,) = encode_sets(small(NAMES[0], pairs[NAMES[0]], vae), tmp_path / "latents")
    sample = ShardSet(folder).read(0)
    for array in (np.zeros((1, 2, 2), np.float32), np.zeros((2, 2), np.float16)):
        buffer = io.BytesIO()
        np.save(buffer, array)
        other = Sample(0, "a", {**sample.members, "maps.npy": buffer.getvalue()}, "shard", "latents/1")
        with pytest.raises(DataError, match=r"array maps is .*not float16 \[C, h, w\]; make the set again"):
            item(other, sample.record["encoded"])
