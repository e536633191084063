"""What RigFace is shown of a pair, and which recipes make no sense."""

from __future__ import annotations

import io
import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from mien import recipe as recipes
from mien.data.decode import decode
from mien.data.reader import Sample, ShardSet
from mien.errors import DataError, RecipeError
from mien.systems.editing.config import CodecConfig, ConditionConfig, UNetConfig
from mien.systems.editing.pair_samples import labels
from mien.systems.rigface.backend import open_backend
from mien.systems.rigface.background import GREY, person_mask
from mien.systems.rigface.codes import SPACES
from mien.systems.rigface.config import BACKENDS, RigFaceModel
from mien.systems.rigface.pairs import make_rig_pairs
from mien.systems.rigface.records import from_record, to_record
from mien.systems.rigface.samples import STORED, Transform, psi_of
from rigface_faces import flame_codes

SIZE = 96
TINY = RigFaceModel(
    image_size=SIZE,
    unet=UNetConfig(channels=(16, 16), layers=1, heads=2, groups=4, prompt_width=8, latent_channels=48),
    codec=CodecConfig(kind="patches", factor=4, target_scale=1),
)


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> list[Sample]:
    out = tmp_path_factory.mktemp("rig_pairs") / "set"
    made = ShardSet(make_rig_pairs(out, people=1, images=16, seed=3, size=SIZE, workers=1, progress=False))
    return [made.read(place) for place in range(16)]


@pytest.fixture(scope="module")
def turned(pairs: list[Sample]) -> Sample:
    return next(sample for sample in pairs if _poses(sample)[0] != _poses(sample)[1])


@pytest.fixture(scope="module")
def still(pairs: list[Sample]) -> Sample:
    """Two pictures of one pose."""
    found = (s for s in pairs if _poses(s)[0] == _poses(s)[1])
    return next(s for s in found if s.members["src.png"] != s.members["tgt.png"])


def item(sample: Sample, train: bool = False, seed: int = 0) -> dict[str, torch.Tensor]:
    return Transform(TINY, train)(sample, np.random.default_rng(seed), 0)


@pytest.mark.parametrize("which", ["turned", "still"])
def test_the_background_is_the_source_without_the_person(which: str, request: pytest.FixtureRequest) -> None:
    sample = request.getfixturevalue(which)
    found, both = item(sample), [labels(sample, part, SIZE) for part in ("src", "tgt")]
    mask = torch.from_numpy(person_mask(both[0], both[1] if which == "turned" else None))
    assert bool((found["bg"][:, mask] == GREY).all())
    assert torch.equal(found["bg"][:, ~mask], found["src"][:, ~mask])
    only_target = torch.from_numpy((both[1] > 0) & ~person_mask(both[0]))
    if which == "turned":
        assert bool(only_target.any())  # else the union would not be tested
        assert bool((found["bg"][:, only_target] == GREY).all())


def test_rendering_and_psi_are_the_targets(turned: Sample) -> None:
    found, record = item(turned), turned.record
    assert torch.equal(found["src"], decode(turned.members["src.png"]))
    assert torch.equal(found["tgt"], decode(turned.members["tgt.png"]))
    assert torch.equal(found["render"], decode(turned.members["tgt.render.png"]))
    backend = open_backend()
    wanted = backend.expression(from_record(record["codes_tgt"]))
    np.testing.assert_array_equal(found["vector"], wanted)
    assert found["vector"].dtype == torch.float32
    assert not np.array_equal(wanted, backend.expression(from_record(record["codes_src"])))
    assert found["face"].shape == (1, SIZE, SIZE)
    assert found["uid"] == record["uid"]


def test_dilation_is_drawn_in_training_and_fixed_in_evaluation(turned: Sample) -> None:
    def grey(train: bool, seed: int) -> int:
        return int((item(turned, train, seed)["bg"] == GREY).all(0).sum())

    assert len({grey(False, seed) for seed in range(6)}) == 1
    assert grey(True, 1) == grey(True, 1)
    drawn = {grey(True, seed) for seed in range(12)}
    assert len(drawn) > 2
    assert min(drawn) < grey(False, 0) < max(drawn)


def test_pairs_of_another_backend_or_kind_are_told(turned: Sample) -> None:
    ict = Transform(TINY.model_copy(update={"backend": "ict"}), False)
    with pytest.raises(DataError, match="of backend builtin, not of ict"):
        ict(turned, np.random.default_rng(0), 0)
    record = turned.record | {"codes_tgt": turned.record["codes_tgt"] | {"shape": [0.0]}}
    short = _change(turned, json=json.dumps(record).encode())
    with pytest.raises(DataError, match=r"shard-00000\.tar: .*codes\.shape"):
        item(short)
    with pytest.raises(DataError, match="codes of 'world', while backend flame"):
        psi_of(turned, from_record(turned.record["codes_tgt"]), "flame")


def test_psi_of_the_released_form_is_stored_with_the_sample(turned: Sample) -> None:
    codes = to_record(replace(flame_codes(), pose=(1.0, 2.0, 3.0)))
    record = turned.record | {"backend": "bfm64", "codes_src": codes, "codes_tgt": codes}
    model = TINY.model_copy(update={"backend": "bfm64", "condition": ConditionConfig(width=64, maps=2)})
    psi = np.linspace(-2, 4, 64, dtype=np.float32)

    def shown(**members: bytes) -> dict[str, torch.Tensor]:
        sample = _change(turned, json=json.dumps(record).encode(), **members)
        return Transform(model, False)(sample, np.random.default_rng(0), 0)

    np.testing.assert_array_equal(shown(**{STORED: _npy(psi)})["vector"], psi)
    with pytest.raises(DataError, match="bfm64 without psi"):
        shown()
    for bad in (psi[:50], np.full(64, np.nan, np.float32), np.zeros(64, np.int64)):
        with pytest.raises(DataError, match="psi is"):
            shown(**{STORED: _npy(bad)})


def test_widths_are_those_of_the_backends() -> None:
    for name, (space, width, stored) in BACKENDS.items():
        assert stored or width == SPACES[space][1], name
    assert open_backend().expression_size == BACKENDS["builtin"].width


@pytest.mark.parametrize("name", ["tiny", "paper"])
def test_recipes_are_valid(name: str) -> None:
    recipe = recipes.load(f"rigface/{name}")
    assert isinstance(recipe.model, RigFaceModel)
    assert recipe.objective.noise.drop == 0


@pytest.mark.parametrize(
    ("key", "said"),
    [
        ("model.backend=flame", "condition.width is 53: the expression of backend flame"),
        ("model.condition.maps=1", "condition.maps is 2"),
        ("model.dilation=[9,3]", "least, most"),
        ("model.image_size=36", "multiple of 8"),
        ("model.backend=bfm", "builtin"),
    ],
)
def test_recipes_that_do_not_fit_are_told(key: str, said: str) -> None:
    with pytest.raises(RecipeError, match=said):
        recipes.load("rigface/tiny", [key])


def _poses(sample: Sample) -> tuple[list[float], list[float]]:
    return sample.record["codes_src"]["pose"], sample.record["codes_tgt"]["pose"]


def _change(sample: Sample, **members: bytes) -> Sample:
    return Sample(0, sample.key, {**sample.members, **members}, sample.shard, sample.schema)


def _npy(array: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()
