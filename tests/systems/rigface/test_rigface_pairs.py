"""Pairs with 3D truth: the same bytes for any workers, codes that redraw the rendering, what videos vary."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mien.data.check import check
from mien.data.reader import ShardSet
from mien.data.schema import validate
from mien.errors import DataError
from mien.makers import maker
from mien.systems.editing.pair_videos import FRAMES, PAIRS, PairPlan
from mien.systems.rigface.backend import open_backend
from mien.systems.rigface.codes import UNITS, codes_of
from mien.systems.rigface.pairs import choose, draw_scenes, make_rig_pairs, sample_face
from mien.systems.rigface.records import from_record, to_record


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> ShardSet:
    out = tmp_path_factory.mktemp("rig_pairs") / "set"
    return ShardSet(make_rig_pairs(out, people=3, images=40, seed=5, size=32, workers=1, progress=False))


def test_bytes_are_the_same_for_any_number_of_workers(pairs: ShardSet, tmp_path: Path) -> None:
    make = maker("rig_pairs")
    other = make(tmp_path / "set", people=3, images=40, seed=5, size=32, workers=2, progress=False)
    assert (other / "index.json").read_bytes() == (Path(pairs.folder) / "index.json").read_bytes()
    assert check(other).ok
    assert (other / "sheet.png").is_file()
    assert len(pairs) == 40


def test_codes_of_a_record_redraw_the_rendering(pairs: ShardSet) -> None:
    backend = open_backend()
    for place in (0, 17, 39):
        sample = pairs.read(place)
        record = sample.record
        assert record["backend"] == backend.name
        source, target = (from_record(record[key]) for key in ("codes_src", "codes_tgt"))
        drawn = backend.render(target, 32).image
        assert np.array_equal(_image(sample.members["tgt.render.png"]), drawn)
        np.testing.assert_array_equal(source.shape, target.shape)
        np.testing.assert_array_equal(source.albedo, target.albedo)


def test_records_hold_the_codes_of_the_scenes(pairs: ShardSet) -> None:
    plan = PairPlan(3, 40, 5, "builtin", 32, "studio", 0)
    scenes = draw_scenes(plan, 1, np.random.default_rng([5, 6, 1]))  # video 1 shows person 1
    sample = pairs.read(PAIRS + 2)
    first, second = (int(part) for part in sample.key.split("_")[2:])
    assert sample.record["codes_src"] == to_record(codes_of(scenes[first]))
    assert sample.record["codes_tgt"] == to_record(codes_of(scenes[second]))
    assert sample.record["group"] == "s5p1"


def test_videos_vary_pose_expression_and_light_on_their_own() -> None:
    plan = PairPlan(1, 16, 0, "builtin", 32, "studio", 0)
    videos = [draw_scenes(plan, 0, np.random.default_rng(seed)) for seed in range(60)]
    lit, twice, alone, yaws = 0, 0, {"pose": 0, "actions": 0, "light": 0}, []
    for scenes in videos:
        assert len(scenes) == FRAMES
        kinds = [(scene.pose, str(scene.actions), scene.light.tobytes()) for scene in scenes]
        twice += FRAMES - len(set(kinds))
        lit += len({kind[2] for kind in kinds}) > 1
        for one, other in ((a, b) for a in kinds for b in kinds):
            moved = [name for name, x, y in zip(alone, one, other, strict=True) if x != y]
            if len(moved) == 1:
                alone[moved[0]] += 1
        yaws += [scene.pose[0] for scene in scenes]
        assert len({(scene.camera, scene.background, scene.gaze) for scene in scenes}) == 1
    assert twice < 0.05 * 60 * FRAMES  # two of the four expressions may be at rest
    assert lit == pytest.approx(30, abs=12)
    assert min(alone.values()) > 20
    assert np.std(yaws) == pytest.approx(np.hypot(14, 6), abs=3)
    assert np.abs(yaws).max() <= 60


def test_expressions_hold_every_unit_and_some_are_lopsided() -> None:
    rng = np.random.default_rng(0)
    faces = [sample_face(rng) for _ in range(300)]
    assert set().union(*(face.active(0.01) for face in faces)) == set(UNITS)
    lopsided = sum(face.left != face.right for face in faces)
    assert 30 < lopsided < 120


def test_some_pairs_are_one_picture_twice_and_none_comes_twice() -> None:
    found = choose(8, 50, np.random.default_rng(0))
    assert len(found) == len(set(found)) == 50
    assert sum(first == second for first, second in found) == 2
    assert len(choose(8, 1, np.random.default_rng(0))) == 1


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("backend", "", "`backend` is not a text"),
        ("codes_src", None, "`codes_src` is not an object"),
        ("codes_tgt", {"space": "world", "shape": ["a"]}, "`codes_tgt` has a `shape`"),
        ("au_tgt", [6.0] * 12, "`au_tgt` leaves 0..5"),
    ],
)
def test_malformed_records_are_refused(pairs: ShardSet, key: str, value: object, said: str) -> None:
    sample = pairs.read(0)
    with pytest.raises(DataError, match=said):
        validate("rigpair/1", {**sample.members, "json": json.dumps(sample.record | {key: value}).encode()})


def test_light_and_rendering_have_to_be_there(pairs: ShardSet) -> None:
    sample = pairs.read(0)
    dim = sample.record | {"codes_src": sample.record["codes_src"] | {"light": [[0, 0, 0]] * 8}}
    with pytest.raises(DataError, match="9 bands"):
        validate("rigpair/1", {**sample.members, "json": json.dumps(dim).encode()})
    members = {name: data for name, data in sample.members.items() if name != "tgt.render.png"}
    with pytest.raises(DataError, match=r"pair without the image tgt\.render"):
        validate("rigpair/1", members)
    validate("pair/1", members)


def _image(data: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(data)))
