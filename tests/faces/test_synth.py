from __future__ import annotations

import io
import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mien.data.reader import ShardSet
from mien.errors import DataError
from mien.faces.captions import VISIBLE
from mien.faces.captions_check import claims
from mien.faces.emotions import BASIC
from mien.faces.synth import make_emocap

SMALL = {"people": 3, "images": 40, "seed": 7, "size": 48, "progress": False}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_emocap(tmp_path_factory.mktemp("synth") / "one", workers=1, **SMALL)


def _records(folder: Path) -> list[dict]:
    shards = ShardSet(folder)
    return [json.loads(shards.read(i).members["json"]) for i in range(len(shards))]


def _files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_two_workers_give_the_same_bytes(made, tmp_path):
    again = make_emocap(tmp_path / "two", workers=2, **SMALL)
    assert _files(again) == _files(made)
    assert {"index.json", "sheet.png"} < {*_files(made)}


def test_samples_fit_the_schema(made):
    shards = ShardSet(made)
    assert shards.schema == "emocap/1"
    assert len(shards) == SMALL["images"]
    for index, record in enumerate(_records(made)):
        sample = shards.read(index)
        assert sample.key.split("_")[0] == f"{record['movie']:06d}"
        assert np.asarray(Image.open(io.BytesIO(sample.members["jpg"]))).shape == (48, 48, 3)
        assert 3 <= len(record["locals"]) <= 8
        assert np.shape(record["lm5"]) == (5, 2)
        assert 0 <= record["uid"] < 2**63
        assert record["label"] in BASIC
        eyes = np.array(record["lm5"])[:2]
        assert (eyes[:, 1] < np.array(record["lm5"])[3:, 1]).all(), "eyes above the mouth"


def test_captions_are_true_of_the_recorded_units(made):
    asserted = 0
    for record in _records(made):
        for local in record["locals"]:
            for unit in claims(local["text"]).asserted:
                assert max(record["au"][str(unit)]) >= VISIBLE - 1e-3
                asserted += 1
    assert asserted > 80


def test_labels_and_people_are_balanced(made):
    records = _records(made)
    labels, people = (Counter(record[key] for record in records) for key in ("label", "group"))
    assert set(labels) == {*BASIC}
    assert max(labels.values()) - min(labels.values()) <= 1
    assert len(people) == 3
    assert max(people.values()) - min(people.values()) <= len(BASIC)
    assert [record["label"] for record in records[:14]] != sorted(record["label"] for record in records[:14])


def test_other_seed_or_numbers_share_nobody(made, tmp_path):
    first = _records(made)
    for name, changed in (("seed", {"seed": 8}), ("numbers", {"first_person": 3})):
        other = _records(make_emocap(tmp_path / name, workers=1, **{**SMALL, "images": 14, **changed}))
        assert not {r["group"] for r in other} & {r["group"] for r in first}
    assert len({record["uid"] for record in first}) == len(first)
    seeded = _records(tmp_path / "seed")
    assert not {r["uid"] for r in seeded} & {r["uid"] for r in first}


def test_extras_and_other_emotions(tmp_path):
    names = ("contempt", "happily surprised")
    few = {**SMALL, "images": 4, "size": 40}
    folder = make_emocap(tmp_path / "x", workers=1, emotions=names, extras=True, **few)
    assert {record["label"] for record in _records(folder)} == {*names}
    members = ShardSet(folder).read(0).members
    shapes = {
        name: np.load(io.BytesIO(members[f"{name}.npy"])).shape for name in ("landmarks", "normals", "depth")
    }
    assert shapes == {"landmarks": (68, 2), "normals": (40, 40, 3), "depth": (40, 40)}


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"people": 0}, "0 people"),
        ({"images": 0}, "0 images"),
        ({"seed": -1}, "negative"),
        ({"size": 8}, "8 pixels"),
        ({"emotions": ("boredom",)}, "boredom"),
        ({"emotions": ()}, "no emotions"),
        ({"emotions": ("anger", "anger")}, "twice"),
        ({"style": "oil"}, "oil"),
        ({"workers": -1}, "workers"),
        ({"rig": "no/such/rig.npz"}, "rig"),
    ],
)
def test_refuses_in_one_line_and_writes_nothing(tmp_path, changed, says):
    with pytest.raises(DataError, match=says) as caught:
        make_emocap(tmp_path / "out", **{**SMALL, **changed})
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_refuses_a_folder_in_use(tmp_path):
    (tmp_path / "mine.txt").write_text("keep")
    with pytest.raises(DataError, match="not empty"):
        make_emocap(tmp_path, **SMALL)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]
