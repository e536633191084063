"""Splits of benchmarks as shards that stream, check and train."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mien.benchmarks.base import Benchmark, Item
from mien.benchmarks.pack import choose, pack_items
from mien.data.check import check
from mien.data.reader import ShardSet
from mien.data.schema import video_member
from mien.data.video import read_frames, to_mp4
from mien.errors import DataError

LEVELS = {"dark": 40, "bright": 210}


def toy(task: str, items: list[Item], folds: int = 0) -> Benchmark:
    return Benchmark(
        "toy",
        "Toy",
        task,
        tuple(LEVELS),
        "ours",
        "toy/",
        lambda folder: items,
        lambda *_: None,
        "toy",
        (),
        folds,
    )


def frame(level: int) -> np.ndarray:
    return np.full((32, 32, 3), level, np.uint8)


def pictures(root: Path) -> list[Item]:
    made = []
    for number in range(8):
        label = list(LEVELS)[number % 2]
        path = root / f"{number}.{('jpg', 'png', 'tif', 'bmp')[number % 4]}"
        Image.fromarray(frame(LEVELS[label])).save(path)
        made.append(Item(f"a/{number}", (path,), label, f"p{number // 2}", ("train", "test")[number // 6]))
    return made


def clips(root: Path) -> list[Item]:
    """As mp4, avi and frames; two folds."""
    import av

    made = []
    for number in range(6):
        label = list(LEVELS)[number % 2]
        frames = [frame(LEVELS[label] + step) for step in range(6)]
        path = root / f"{number}.mp4"
        if number % 3 == 0:
            path.write_bytes(to_mp4(frames))
            media = (path,)
        elif number % 3 == 1:
            path = root / f"{number}.avi"
            with av.open(str(path), "w") as container:
                stream = container.add_stream("mpeg4", rate=10)
                stream.height = stream.width = 32
                stream.pix_fmt = "yuv420p"
                for one in frames:
                    container.mux(stream.encode(av.VideoFrame.from_ndarray(one, format="rgb24")))
                container.mux(stream.encode())
            media = (path,)
        else:
            folder = root / str(number)
            folder.mkdir()
            for step, one in enumerate(frames):
                Image.fromarray(one).save(folder / f"{step}.png")
            media = tuple(sorted(folder.iterdir()))
        made.append(Item(f"{number}", media, label, f"p{number}", "test", 1 + number // 3))
    return made


def test_pictures_of_any_format_become_a_set(tmp_path: Path) -> None:
    benchmark = toy("static", pictures(tmp_path))
    items = choose(benchmark, benchmark.open(tmp_path), "train", 0)
    packed = pack_items(benchmark, items, tmp_path / "set")
    assert str(packed).endswith("6 samples of 3 people: bright 3, dark 3")
    assert check(tmp_path / "set").ok
    shards = ShardSet(tmp_path / "set")
    assert shards.schema == "labelled/1"
    records = [shards.read(n).record for n in range(len(shards))]
    assert [(r["label"], r["group"], r["source"]) for r in records] == [
        (item.label, item.group, item.key) for item in items
    ]


@pytest.mark.parametrize(("split", "numbers"), [("train", (3, 4, 5)), ("test", (0, 1, 2))])
def test_clips_of_any_kind_become_videos_of_the_same_frames(
    tmp_path: Path, split: str, numbers: tuple[int, ...]
) -> None:
    benchmark = toy("dynamic", clips(tmp_path), folds=2)
    items = choose(benchmark, benchmark.open(tmp_path), split, 1)
    assert [item.key for item in items] == [str(number) for number in numbers]
    pack_items(benchmark, items, tmp_path / "set")
    assert check(tmp_path / "set").ok
    shards = ShardSet(tmp_path / "set")
    assert shards.schema == "clip/1"
    for place, item in enumerate(items):
        sample = shards.read(place)
        frames = read_frames(video_member(sample.members), range)
        assert len(frames) == 6
        levels = frames.float().mean((1, 2, 3))
        assert levels.tolist() == pytest.approx([LEVELS[item.label] + n for n in range(6)], abs=8)


def test_units_are_kept_and_there_is_no_class(tmp_path: Path) -> None:
    Image.fromarray(frame(9)).save(tmp_path / "0.png")
    items = [Item("0", (tmp_path / "0.png",), None, "p", "test", 0, {12: 1.0, 4: 0.0})]
    benchmark = toy("au", items)
    pack_items(benchmark, benchmark.open(tmp_path), tmp_path / "set")
    record = ShardSet(tmp_path / "set").read(0).record
    assert record["au"] == {"12": [1.0, 1.0], "4": [0.0, 0.0]}
    assert record["label"] == "face"


def test_wrong_choices_and_broken_media_are_told(tmp_path: Path) -> None:
    folded, flat = toy("dynamic", clips(tmp_path), folds=2), toy("static", pictures(tmp_path))
    for benchmark, split, fold, words in (
        (folded, "train", 0, "scored in 2 folds; give one"),
        (folded, "train", 3, "no fold 3 of Toy; there are 1 to 2"),
        (flat, "train", 1, "no fold 1 of Toy; there are none"),
        (flat, "val", 0, "has no val items; there are: test, train"),
        (toy("mcq", []), "test", 0, "questions, not classes"),
    ):
        with pytest.raises(DataError, match=words):
            choose(benchmark, benchmark.read(tmp_path), split, fold)
    items = folded.read(tmp_path)
    items[0].media[0].write_bytes(b"broken")
    with pytest.raises(DataError, match=r"0\.mp4: no video that can be decoded"):
        pack_items(folded, items, tmp_path / "set")
    assert not (tmp_path / "set").exists()
