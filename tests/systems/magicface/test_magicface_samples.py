"""What MagicFace is shown of a pair."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from mien.data.decode import decode
from mien.data.reader import Sample, ShardSet
from mien.errors import DataError
from mien.faces.production import png
from mien.systems.editing.config import CodecConfig, UNetConfig
from mien.systems.editing.face_pairs import make_pairs
from mien.systems.editing.pair_samples import picture
from mien.systems.magicface.config import MagicFaceModel
from mien.systems.magicface.samples import Transform, difference

TINY = MagicFaceModel(
    image_size=48,
    unet=UNetConfig(channels=(16, 16), layers=1, heads=2, groups=4, prompt_width=8, latent_channels=48),
    codec=CodecConfig(kind="patches", factor=4, target_scale=1),
)
RNG = np.random.default_rng(0)


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> ShardSet:
    out = tmp_path_factory.mktemp("pairs") / "set"
    return ShardSet(make_pairs(out, people=1, images=16, seed=3, size=48, workers=1, progress=False))


def change(sample: Sample, **members: bytes) -> Sample:
    return Sample(0, sample.key, {**sample.members, **members}, sample.shard, sample.schema)


def test_a_vector_leads_from_the_source_to_the_target(pairs: ShardSet) -> None:
    """Positive AU12 on a neutral face smiles: the sign of the released weights (spec 1)."""
    neutral, smile = [0.0] * 12, [0.0] * 6 + [3.0] + [0.0] * 5
    assert difference(neutral, smile)[6] == 3
    assert difference(smile, neutral)[6] == -3
    sample = pairs.read(0)
    item = Transform(TINY)(sample, RNG, 0)
    wanted = np.subtract(sample.record["au_tgt"], sample.record["au_src"])
    np.testing.assert_allclose(item["vector"], wanted, atol=1e-6)
    assert torch.equal(item["src"], decode(sample.members["src.png"]))
    assert torch.equal(item["tgt"], decode(sample.members["tgt.png"]))


def test_the_condition_is_made_of_the_target(pairs: ShardSet) -> None:
    sample = next(s for s in map(pairs.read, range(16)) if s.members["src.png"] != s.members["tgt.png"])
    item = Transform(TINY)(sample, RNG, 0)
    swapped = change(sample, **{"src.png": sample.members["tgt.png"]})
    assert torch.equal(Transform(TINY)(swapped, RNG, 0)["cond"], item["cond"])
    inverse = 255 - picture(sample, "tgt", 48)[0].permute(1, 2, 0).numpy()  # a still video has one background
    other = change(sample, **{"tgt.png": png(inverse)})
    assert not torch.equal(Transform(TINY)(other, RNG, 0)["cond"], item["cond"])
    face = Transform(TINY.model_copy(update={"mask_mode": "face"}))(sample, RNG, 0)
    assert int((face["cond"] > 0).sum()) > int((item["cond"] > 0).sum())  # hair stays


def test_pictures_and_jaw_are_scaled_together(pairs: ShardSet) -> None:
    sample = pairs.read(1)
    unet = TINY.unet.model_copy(update={"latent_channels": 12})
    small = TINY.model_copy(update={"image_size": 24, "unet": unet})
    item = Transform(small)(sample, RNG, 0)
    assert item["src"].shape == item["cond"].shape == (3, 24, 24)
    lit = torch.nonzero(item["cond"].amax(0) * item["face"][0])
    jaw = np.asarray(sample.record["jaw_tgt"]) / 2
    assert abs(float(lit[:, 0].max()) - jaw[:, 1].max()) < 2  # the chin's dot is the lowest inside the face


@pytest.mark.parametrize("part", ["src.png", "tgt.parse.png"])
def test_damaged_pictures_are_told(pairs: ShardSet, part: str) -> None:
    sample = pairs.read(0)
    with pytest.raises(DataError, match=r"shard-00000\.tar"):
        Transform(TINY)(change(sample, **{part: sample.members[part][:60]}), RNG, 0)
    with pytest.raises(DataError, match="labels of tgt"):
        Transform(TINY)(change(sample, **{"tgt.parse.png": sample.members["tgt.png"]}), RNG, 0)


def test_sizes_that_do_not_fit_are_told() -> None:
    with pytest.raises(ValueError, match="multiple of 8"):
        MagicFaceModel(image_size=44, unet=TINY.unet, codec=TINY.codec)
    with pytest.raises(ValueError, match="latent_channels is 48"):
        MagicFaceModel(image_size=48, codec=TINY.codec)
