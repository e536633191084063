"""DFEW: clips of films, seven emotions, five folds.

Known from the preparation script of MAE-DFER (the set: dfew-dataset.github.io; Jiang et al., ACM MM
2020): lists `set_1.csv` to `set_5.csv` with columns video_name and label 1 to 7 in the order of
`CLASSES`; frames in folders of five digits. Test list 1 has 2,341 clips (emocapclip spec, section 6.1).

Decided here: face frames (`clip_224x224`, as published results use) come before original videos, and the
sixteen time-aligned frames come last. A video may be called `1.mp4` or `00001.mp4`. A clip that no list
tests is `train`. The set names no people, so the group of a clip is its key.
"""

from __future__ import annotations

import re
from pathlib import Path

from mien.benchmarks.base import Benchmark, Item, Making
from mien.benchmarks.clip_lists import Entry, fault, lines_of, media_of, parsed, tested_once
from mien.benchmarks.clip_making import fresh, takes, write_pictures, write_text, write_video

CLASSES = ("happy", "sad", "neutral", "angry", "surprise", "disgust", "fear")
FOLDS = 5
_LISTS = Path("EmoLabel_DataSplit")
_FRAMES = (
    "Clip/clip_224x224/clip_224x224", "Clip/clip_224x224", "Clip/jpg_256",
    "Clip/clip_224x224_16f/clip_224x224_16f", "Clip/clip_224x224_16f",
)  # fmt: skip
_VIDEOS = Path("Clip/original")
_HEADER = "video_name,label"
_ROW = re.compile(r"0*(\d{1,5}),\s*(\d+)")


def read(root: Path) -> list[Item]:
    """Items of a folder; key: five digits."""
    folds = [(_list(root, "train", fold), _list(root, "test", fold)) for fold in range(1, FOLDS + 1)]
    return [
        Item(
            key=entry.name,
            media=media_of(entry, _videos(root, entry.name), [root / part / entry.name for part in _FRAMES]),
            label=entry.label,
            group=entry.name,
            split="test" if fold else "train",
            fold=fold,
        )
        for entry, fold in tested_once(folds)
    ]


def _videos(root: Path, name: str) -> list[Path]:
    return [root / _VIDEOS / f"{stem}.mp4" for stem in (name, str(int(name)))]


def _list_path(part: str, fold: int) -> Path:
    return _LISTS / f"{part}(single-labeled)" / f"set_{fold}.csv"


def _list(root: Path, part: str, fold: int) -> list[Entry]:
    path = root / _list_path(part, fold)
    found = []
    for index, (line, text) in enumerate(lines_of(path)):
        if index == 0:
            if text.replace(" ", "") != _HEADER:
                raise fault(path, line, f"columns are {text[:80]!r}, not {_HEADER!r}")
            continue
        row = parsed(_ROW, text, path, line, "a number of a clip and a label, such as 12,3")
        label = int(row[2])
        if not 1 <= label <= len(CLASSES):
            raise fault(path, line, f"label {label} is not 1 to {len(CLASSES)}")
        found.append(Entry(f"{int(row[1]):05d}", CLASSES[label - 1], path, line))
    return found


def make(folder: Path, how: Making) -> None:
    """Writes a small set; half the clips as frames, half as videos, as copies of the set hold either."""
    with fresh(folder) as root:
        names: list[tuple[int, str]] = []
        for take in takes(how, CLASSES):
            number = take.index + 1
            names.append((number, take.label))
            if take.index % 2:
                write_video(root / _VIDEOS / f"{number:05d}.mp4", take.clip.frames)
            else:
                write_pictures(root / _FRAMES[0] / f"{number:05d}", take.clip.frames)
        for fold in range(1, FOLDS + 1):
            for part in ("train", "test"):
                rows = [
                    f"{number},{CLASSES.index(label) + 1}"
                    for number, label in names
                    if (fold_of(number) == fold) == (part == "test")
                ]
                write_text(root / _list_path(part, fold), [_HEADER, *rows])


def fold_of(number: int) -> int:
    """Fold that tests clip `number` of a generated set."""
    return (number - 1) % FOLDS + 1


DFEW = Benchmark(
    name="dfew",
    title="DFEW",
    task="dynamic",
    classes=CLASSES,
    folds=FOLDS,
    source="dfew-dataset.github.io; Jiang et al., ACM MM 2020",
    layout=(
        "EmoLabel_DataSplit/{train,test}(single-labeled)/set_{1..5}.csv   video_name,label\n"
        "Clip/clip_224x224/clip_224x224/NNNNN/*.jpg   or Clip/original/NNNNN.mp4"
    ),
    read=read,
    make=make,
    marker="EmoLabel_DataSplit/test(single-labeled)",
)
