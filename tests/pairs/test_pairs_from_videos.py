"""`mien data pairs` on a small movie, and on input that makes no pairs."""

from __future__ import annotations

import io
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

from mien import recipe as recipes
from mien.cli_data import data
from mien.data.check import check
from mien.data.reader import ShardSet
from mien.errors import DataError, MienError
from mien.faces.movie_draw import make_movie
from mien.systems.facereader.config import ReaderModel
from mien.systems.facereader.load import Reader
from mien.systems.facereader.model import FaceReader
from mien.systems.magicface.samples import Transform
from pairs.fake_estimators import FakeUnits

OPTIONS = (
    "side=60", "smallest=30", "rate=6", "blur=0", "yaw=90", "size=64", "mirrored=0.6", "pairs=12",
    "split=identity", 'parts={"train":0.5,"val":0.5}', "samples_per_shard=8",
)  # fmt: skip
FAKES = ("--units", "pairs.fake_estimators:FakeUnits", "--identity", "pairs.fake_estimators:FakeIdentity")


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a movie of four shots, a copy of it, and a file that is none."""
    root = tmp_path_factory.mktemp("videos")
    size: Any = {"width": 480, "height": 300, "fps": 6}
    make_movie(root / "m", seconds=4, people=3, seed=4, shot_seconds=1, progress=False, **size)
    (root / "v").mkdir()
    shutil.move(root / "m" / "movie.mp4", root / "v" / "a.mp4")
    shutil.copy(root / "v" / "a.mp4", root / "v" / "b.mp4")
    (root / "v" / "c.mp4").write_bytes(b"no video")
    return root / "v"


@pytest.fixture(scope="module", autouse=True)
def untrained() -> Iterator[None]:
    """In place of a run: what a reader says of faces is not the matter here."""

    def load(run: Path) -> Reader:
        torch.manual_seed(0)
        config = ReaderModel(image_size=32, widths=(8, 8, 8, 8), embed=8)
        return Reader(FaceReader(config), config, torch.device("cpu"))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("mien.systems.facereader.load.load", load)
        yield


def run(*words: object) -> str:
    done = CliRunner().invoke(data, ["pairs", *map(str, words), "--reader", "RUN"], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.output


@pytest.fixture(scope="module")
def told(videos: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """The finished folder, and what the command printed."""
    out = tmp_path_factory.mktemp("pairs") / "out"
    return out, run(videos, out, *FAKES, *(word for change in OPTIONS for word in ("--set", change)))


@pytest.fixture
def copied(told: tuple[Path, str], tmp_path: Path) -> Path:
    return Path(shutil.copytree(told[0], tmp_path / "out"))


def test_sets_hold_what_was_labelled_and_nobody_is_in_two(told: tuple[Path, str]) -> None:
    out, printed = told
    assert "| scan | 1 | corrupt 1, duplicate_file 1 |" in printed
    assert printed.strip().endswith("shards")
    recipe: Any = recipes.load("magicface/tiny", ["model.image_size=32"])
    transform, groups = Transform(recipe.model), []
    for part in ("train", "val"):
        assert check(out / "shards" / part).ok
        shards = ShardSet(out / "shards" / part)
        groups.append({sample.record["group"] for sample in shards})
        for sample in shards:
            record = sample.record
            for side in ("src", "tgt"):
                picture = np.asarray(Image.open(io.BytesIO(sample.members[f"{side}.jpg"])))
                assert picture.shape == (64, 64, 3)
                said = FakeUnits()(torch.from_numpy(picture.copy()).permute(2, 0, 1)[None])[0]
                assert record[f"au_{side}"] == pytest.approx(said.clamp(0, 5).tolist(), abs=1e-3)
            item = transform(sample, np.random.default_rng(0), 0)
            wanted = np.subtract(record["au_tgt"], record["au_src"])
            np.testing.assert_allclose(item["vector"].numpy(), wanted, atol=1e-5)
            moved = np.abs(wanted).sum() >= 1.5
            assert moved or record["frame_src"] == record["frame_tgt"]
            assert record["au_detector"] == "fake/1"
            assert record["reader"].startswith("facereader ")
    assert groups[0]
    assert groups[1]
    assert not groups[0] & groups[1]


def test_every_face_is_counted_with_its_reason(told: tuple[Path, str]) -> None:
    counts = json.loads((told[0] / "report.json").read_text())
    assert sum(counts["pictures"].values()) == counts["faces"]["kept"]
    assert sum(counts["labels"].values()) == counts["pictures"]["kept"]
    pairs = sum(len(ShardSet(told[0] / "shards" / part)) for part in ("train", "val"))
    assert sum(counts["split"].values()) == counts["pairs"]["kept"] == pairs > 0
    with Image.open(told[0] / "sheet.png") as sheet:
        assert sheet.width > sheet.height


def test_run_again_it_does_nothing_and_a_lost_stage_is_made_the_same(
    copied: Path, videos: Path, told: tuple[Path, str]
) -> None:
    def files() -> dict[str, tuple[int, bytes]]:
        every = [*copied.glob("work/*/*.jsonl"), *copied.glob("shards/*/*.tar")]
        return {str(file): (file.stat().st_mtime_ns, file.read_bytes()) for file in every}

    before = files()
    run(videos, copied, *FAKES)
    assert files() == before
    next(copied.glob("work/*/labels.jsonl")).unlink()
    shutil.rmtree(copied / "shards")
    assert "| scan | 1 |" in run(videos, copied, *FAKES)
    after = files()
    assert {name: content for name, (_, content) in after.items()} == {
        name: content for name, (_, content) in before.items()
    }
    again = {name for name, (time, _) in after.items() if time != before[name][0]}
    assert {Path(name).name for name in again if name.endswith("jsonl")} == {"labels.jsonl"}


def test_other_estimators_label_anew_and_faces_that_never_move_make_no_pair(
    copied: Path, videos: Path
) -> None:
    cut = next(copied.glob("work/*/pictures.jsonl")).stat().st_mtime_ns
    with pytest.raises(DataError, match=r"no pair is left; see the reasons above"):
        run(videos, copied, "--units", "pairs.fake_estimators:OtherUnits")
    assert json.loads((copied / "report.json").read_text())["tracks"]["unmoved"] > 0
    assert next(copied.glob("work/*/pictures.jsonl")).stat().st_mtime_ns == cut
    with pytest.raises(DataError, match=r"narrow/1: .* numbers of shape \[\d+, 11\]; return \[N, 12\]"):
        run(videos, copied, "--units", "pairs.fake_estimators:Narrow")


def test_a_share_of_the_videos_is_worked_on_without_sets(copied: Path, videos: Path) -> None:
    shutil.rmtree(copied / "shards")
    printed = run(videos, copied, *FAKES, "--part", "0/2")
    assert "| pairs |" in printed
    assert "| split |" not in printed
    assert not (copied / "shards").exists()
    assert "| faces | 0 |" not in printed


@pytest.mark.parametrize(
    ("words", "what"),
    [
        (["no/such", "OUT"], "no/such: no such file or folder"),
        (["EMPTY", "OUT"], "no movie files"),
        (["VIDEOS", "OUT", "--units", "libreface"], "--units: unknown estimator"),
        (["VIDEOS", "OUT", "--units", "onnx:no.yaml"], "no such description"),
        (["VIDEOS", "OUT", "--identity", "arcface"], "--identity: unknown estimator"),
        (["VIDEOS", "OUT", "--part", "2/2"], "part '2/2'"),
        (["VIDEOS", "OUT", "--set", "margin=2"], "margin: Extra inputs"),
        (["VIDEOS", "OUT", "--set", "size=8"], "size: Input should be greater"),
        (["VIDEOS", "OUT", "--set", 'parts={"train": 0.5}'], "shares add up to 0.5"),
        (["VIDEOS", "OUT", "--set", "detector=haar"], "unknown detector"),
        (["VIDEOS", "OUT", "--exclude", "no.txt"], "no such list of titles"),
    ],
)
def test_bad_input_is_told_in_one_line_before_anything_is_written(
    words: list[str], what: str, tmp_path: Path, videos: Path
) -> None:
    (tmp_path / "empty").mkdir()
    places = {"OUT": tmp_path / "out", "VIDEOS": videos, "EMPTY": tmp_path / "empty"}
    with pytest.raises(MienError, match=what) as error:
        run(*(places.get(word, word) for word in words))
    assert "\n" not in str(error.value)
    assert not (tmp_path / "out").exists()
