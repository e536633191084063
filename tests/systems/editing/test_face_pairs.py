"""Pairs of the face world: the same bytes for any workers, what the records say, which pairs are chosen."""

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
from mien.systems.editing.face_pairs import draw_frames, make_pairs
from mien.systems.editing.pair_rules import FULL, UNITS, PairRules, choose
from mien.systems.editing.pair_videos import FRAMES, PAIRS, PairPlan, sample_actions
from mien.systems.editing.parsing import CLASSES


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> ShardSet:
    out = tmp_path_factory.mktemp("pairs") / "set"
    return ShardSet(make_pairs(out, people=3, images=40, seed=5, size=48, workers=1, progress=False))


def test_bytes_are_the_same_for_any_number_of_workers(pairs: ShardSet, tmp_path: Path) -> None:
    other = make_pairs(tmp_path / "set", people=3, images=40, seed=5, size=48, workers=2, progress=False)
    assert (other / "index.json").read_bytes() == (Path(pairs.folder) / "index.json").read_bytes()
    assert check(other).ok
    assert (other / "sheet.png").is_file()


def test_records_tell_what_was_drawn(pairs: ShardSet) -> None:
    assert len(pairs) == 40
    plan = PairPlan(3, 40, 5, "builtin", 48, "studio", 0)
    frames = draw_frames(plan, 1, np.random.default_rng([5, 4, 1]))  # video 1 shows person 1
    assert len(frames) == FRAMES
    sample = pairs.read(PAIRS + 3)
    first, second = (int(part) for part in sample.key.split("_")[2:])
    for part, number in (("src", first), ("tgt", second)):
        shown = frames[number].scene.person.act(frames[number].scene.actions)
        both = [(shown.left.get(unit, 0) + shown.right.get(unit, 0)) / 2 * FULL for unit in UNITS]
        assert sample.record[f"au_{part}"] == pytest.approx(both, abs=1e-3)
        assert np.array_equal(_image(sample.members[f"{part}.png"]), frames[number].picture.image)
        jaw = frames[number].picture.landmarks[:17]
        np.testing.assert_allclose(sample.record[f"jaw_{part}"], jaw, atol=0.01)
        assert int(_image(sample.members[f"{part}.parse.png"]).max()) < len(CLASSES)
    assert sample.record["group"] == "s5p1"
    assert frames[0].scene.light is frames[1].scene.light


def test_a_resting_jaw_stays_where_the_open_one_falls() -> None:
    """Else the dots would tell the network how far to open the mouth."""
    plan = PairPlan(1, 16, 0, "builtin", 64, "studio", 0)
    frames = draw_frames(plan, 0, np.random.default_rng(0))
    open_, closed = (
        max(frames, key=lambda frame: frame.units[11]),
        min(frames, key=lambda frame: frame.units[11]),
    )
    assert open_.units[11] > 2
    assert np.abs(open_.picture.resting - open_.picture.landmarks)[:17].max() > 1
    assert np.abs(closed.picture.resting - closed.picture.landmarks)[:17].max() < 0.5


def test_only_the_editors_units_move() -> None:
    rng = np.random.default_rng(0)
    faces = [sample_actions(rng) for _ in range(400)]
    moved = [set(face.active(0.01)) for face in faces]
    assert set().union(*moved) == set(UNITS)
    assert sum(not units for units in moved) == pytest.approx(50, abs=20)
    counts = np.array([sum(unit in units for units in moved) for unit in UNITS])
    assert counts.min() > 0.6 * counts.max()


def test_pairs_follow_the_rules() -> None:
    rng = np.random.default_rng(1)
    vectors = rng.uniform(0, 5, (20, 12)) * (rng.random((20, 12)) < 0.15)
    vectors[:6] *= 0.1
    found = choose(vectors, 100, rng, PairRules())
    assert len(found) == len(set(found)) == 100
    same = [pair for pair in found if pair[0] == pair[1]]
    assert len(same) == 5
    others = [pair for pair in found if pair[0] != pair[1]]
    assert all(np.abs(vectors[a] - vectors[b]).sum() >= 1.5 for a, b in others)
    calm = vectors.sum(1) < 2.5
    assert sum(bool(calm[a] and calm[b]) for a, b in others) <= 10
    assert any((b, a) in others for a, b in others)
    assert choose(vectors[:1], 5, rng, PairRules()) == []
    with pytest.raises(ValueError, match=r"\[F, 12\]"):
        choose(np.zeros((3, 11)), 5, rng, PairRules())


def test_rare_units_are_taken_three_times_as_often() -> None:
    vectors = np.zeros((60, 12))
    vectors[:5, UNITS.index(9)] = 4
    vectors[5:, UNITS.index(12)] = np.linspace(0, 5, 55)
    shares: list[float] = []
    for gain in (1.0, 3.0):
        rules = PairRules(identity=0, calm_share=1, rare_gain=gain)
        found = choose(vectors, 200, np.random.default_rng(0), rules)
        shares.append(float(np.mean([(vectors[a, 5] > 0) != (vectors[b, 5] > 0) for a, b in found])))
    odds = [share / (1 - share) for share in shares]
    assert 2.3 < odds[1] / odds[0] < 3.7


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("au_src", [0.0] * 11, "`au_src` is not a list of 12 numbers"),
        ("au_tgt", [6.0] * 12, "`au_tgt` leaves 0..5"),
        ("jaw_tgt", [[0, 1]] * 16, "`jaw_tgt` is not a list of 17 points"),
        ("au_detector", "", "`au_detector` is not a text"),
        ("uid", "x", "`uid` is not an int64"),
    ],
)
def test_malformed_records_are_refused(pairs: ShardSet, key: str, value: object, said: str) -> None:
    sample = pairs.read(0)
    record = sample.record | {key: value}
    with pytest.raises(DataError, match=said):
        validate("pair/1", {**sample.members, "json": json.dumps(record).encode()})


def test_a_pair_needs_both_pictures_and_their_labels(pairs: ShardSet) -> None:
    members = dict(pairs.read(0).members)
    del members["tgt.parse.png"]
    with pytest.raises(DataError, match=r"pair without the image tgt\.parse"):
        validate("pair/1", members)


def _image(data: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(data)))
