"""The head that reads codes of 3D faces: its numbers, how they move with a picture, what it says without."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from mien import recipe as recipes
from mien.data.reader import ShardSet
from mien.errors import DataError, RunError
from mien.systems.editing.face_pairs import make_pairs
from mien.systems.facereader.codes import PLACES, SPREAD, WIDTH, codes_from, numbers_of
from mien.systems.facereader.config import ReaderModel, ReaderObjective
from mien.systems.facereader.load import Reader
from mien.systems.facereader.model import FaceReader
from mien.systems.facereader.module import ReaderModule
from mien.systems.facereader.samples import Transform, collate
from mien.systems.rigface.backend import open_backend
from mien.systems.rigface.pairs import make_rig_pairs
from mien.systems.rigface.records import from_record
from rigface_faces import codes, flame_codes

SMALL = ReaderModel(image_size=48, widths=(8, 8, 16, 16), embed=8, codes=True)
KEYS = ("model.image_size=48", "model.widths=[8,8,16,16]")
STILL = ReaderObjective(backdrop=0, jitter=0, shift=0)


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> ShardSet:
    out = tmp_path_factory.mktemp("rig_pairs") / "set"
    return ShardSet(make_rig_pairs(out, people=2, images=20, seed=3, size=48, workers=1, progress=False))


def test_numbers_are_the_codes_and_back() -> None:
    given = codes(0)
    numbers = numbers_of(given)
    assert numbers.shape == (WIDTH,)
    assert numbers.dtype == np.float32
    assert np.abs(numbers).mean() < 3  # in standard deviations
    back = codes_from(numbers, given.pose)
    for name in ("shape", "albedo", "expression", "light", "gaze"):
        np.testing.assert_allclose(getattr(back, name), getattr(given, name), atol=1e-5)
    assert (back.pose, back.boxed) == (given.pose, given.pose)
    assert back.camera.distance == pytest.approx(given.camera.distance, rel=1e-5)
    assert back.camera.shift == pytest.approx(given.camera.shift, abs=1e-6)
    wild = codes_from(np.full(WIDTH, -40, np.float32), given.pose)  # whatever a network says is a face
    assert (wild.albedo.min(), wild.expression.max(), wild.camera.scale) == (0, 0, 0.5)
    with pytest.raises(DataError, match="codes of 'flame'"):
        numbers_of(flame_codes())


def test_a_moved_picture_has_a_moved_crop() -> None:
    """Else a training that moves pictures would teach the wrong place of the head."""
    given, backend = replace(codes(1), pose=(0.0, 0.0, 0.0), boxed=(0.0, 0.0, 0.0)), open_backend()
    picture = backend.render(given, 64).alpha
    for right, down in ((6, 0), (0, 5), (-4, 7)):
        moved = codes_from(numbers_of(given, shift=(right / 64, down / 64)), given.pose)
        shown = backend.render(moved, 64).alpha
        np.testing.assert_allclose(
            shown[12:-12, 12:-12], np.roll(picture, (down, right), (0, 1))[12:-12, 12:-12], atol=0.26
        )


def test_what_it_is_shown_is_what_the_record_says(pairs: ShardSet) -> None:
    sample = pairs.read(1)
    item = Transform(SMALL, STILL, train=False)(sample, np.random.default_rng(0), 0)
    for place, part in enumerate(("src", "tgt")):
        np.testing.assert_array_equal(
            item["codes"][place].numpy(), numbers_of(from_record(sample.record[f"codes_{part}"]))
        )
    # Colours stay, since they tell the light; the crop moves with the picture, and nothing else does.
    train = Transform(SMALL, STILL.model_copy(update={"jitter": 0.5}), train=True)
    other = train(sample, np.random.default_rng(0), 0)
    assert 0 < float((other["img"].float() - item["img"].float()).abs().mean()) < 0.05
    moving = Transform(SMALL, STILL.model_copy(update={"shift": 0.2}), train=True)
    moved = moving(sample, np.random.default_rng(1), 0)["codes"] - item["codes"]
    camera = torch.zeros(WIDTH, dtype=torch.bool)
    camera[PLACES["camera"]] = True
    assert float(moved[:, ~camera].abs().max()) == 0
    assert float(moved[:, camera].abs().max()) > 0


def test_the_loss_and_its_units(pairs: ShardSet) -> None:
    module = ReaderModule(recipes.load("facereader/rig_tiny", KEYS))
    transform, rng = Transform(SMALL, STILL, train=False), np.random.default_rng(0)
    batch = collate([transform(pairs.read(place), rng, 0) for place in (0, 18)])
    batch |= {"valid": torch.ones(2, dtype=torch.bool)}
    reading, _ = module._read(batch)
    assert float(module.loss(batch, 0)[1]["codes"]) > 0
    right = reading._replace(codes=batch["codes"].flatten(0, 1))
    true = module._codes_logs(right, batch)
    assert float(true["light_correlation"].min()) == pytest.approx(1, abs=1e-4)
    assert float(true["expression_levels"].max()) == 0
    off = right.codes.clone()
    off[:, PLACES["expression"]] += 0.2 / torch.from_numpy(SPREAD)[PLACES["expression"]]
    wrong = module._codes_logs(reading._replace(codes=off), batch)
    assert float(wrong["expression_levels"].mean()) == pytest.approx(1, rel=1e-4)
    assert {"light_correlation", "albedo_error"} < module.validation_logs(batch, 0).keys()


def test_codes_are_learnt(pairs: ShardSet) -> None:
    """Four pictures by heart, from the pictures alone."""
    torch.manual_seed(0)
    module = ReaderModule(recipes.load("facereader/rig_tiny", KEYS))
    transform, rng = Transform(SMALL, STILL, train=False), np.random.default_rng(0)
    batch = collate([transform(pairs.read(place), rng, 0) for place in (1, 18)])
    batch |= {"valid": torch.ones(2, dtype=torch.bool)}
    before = {name: float(value) for name, value in module.validation_logs(batch, 0).items()}
    optimizer = torch.optim.Adam(module.parameters(), 3e-3)
    for _ in range(60):
        optimizer.zero_grad()
        losses = module.loss(batch, 0)[1]
        (losses["codes"] + losses["pose"]).backward()
        optimizer.step()
    after = {name: float(value) for name, value in module.validation_logs(batch, 0).items()}
    assert after["light_correlation"] > max(0.9, before["light_correlation"])
    for name in ("expression_levels", "albedo_error", "pose_degrees"):
        assert after[name] < 0.6 * before[name], name


def test_a_reader_without_the_head_and_a_set_without_codes(pairs: ShardSet, tmp_path) -> None:
    picture = np.full((60, 60, 3), 90, np.uint8)
    torch.manual_seed(0)
    read = Reader(FaceReader(SMALL), SMALL, torch.device("cpu")).codes(picture)
    assert read.space == "world"
    assert read.pose == read.boxed
    plain = SMALL.model_copy(update={"codes": False})
    with pytest.raises(RunError, match="reads no codes of 3D faces; train one that does"):
        Reader(FaceReader(plain), plain, torch.device("cpu")).codes(picture)
    out = make_pairs(tmp_path / "set", people=1, images=2, seed=3, size=48, workers=1, progress=False)
    with pytest.raises(DataError, match="without codes of its 3D faces; train on a set of mien data synth"):
        Transform(SMALL, STILL, train=False)(ShardSet(out).read(0), np.random.default_rng(0), 0)
