"""FERV39k: clips of 22 scenes, seven emotions, one split.

Known from the preparation script of MAE-DFER and public loaders:
`4_setups/All_scenes/{train,test}_All.csv` with lines `Action/Sad/0010 Sad`, no header, and face frames in
`2_ClipsforFaceCrop/Scene/Emotion/NNNN/`. The test list has 7,847 clips (emocapclip spec, section 6.1;
Wang et al., CVPR 2022).

Decided here: the order of classes is that of MAE-DFER; a second level
`2_ClipsforFaceCrop/2_ClipsforFaceCrop`, left by unpacking, is taken too. The label is the word after the
blank; the folder must agree. The set names no people.
"""

from __future__ import annotations

import re
from pathlib import Path

from mien.benchmarks.base import Benchmark, Item, Making
from mien.benchmarks.clip_lists import Entry, fault, lines_of, media_of, parsed
from mien.benchmarks.clip_making import fresh, takes, write_pictures, write_text
from mien.errors import DataError

CLASSES = ("happy", "sad", "neutral", "angry", "surprise", "disgust", "fear")
_SETUP = Path("4_setups/All_scenes")
_FRAMES = "2_ClipsforFaceCrop"
_ROW = re.compile(r"(\w[\w -]*)/(\w+)/(\d+)\s+(\w+)")
_SCENES = ("Action", "Crime", "DailyLife")


def read(root: Path) -> list[Item]:
    """Items of a folder; key: `Scene/Emotion/NNNN`."""
    found: dict[str, Item] = {}
    for split in ("train", "test"):
        for entry in _list(root / _SETUP / f"{split}_All.csv"):
            if entry.name in found:
                what = f"{entry.name} is listed before, in {found[entry.name].split}_All.csv"
                raise fault(entry.path, entry.line, what)
            folders = [root / _FRAMES / entry.name, root / _FRAMES / _FRAMES / entry.name]
            found[entry.name] = Item(
                key=entry.name,
                media=media_of(entry, [], folders),
                label=entry.label,
                group=entry.name,
                split=split,
            )
    return list(found.values())


def _list(path: Path) -> list[Entry]:
    found = []
    for line, text in lines_of(path):
        row = parsed(_ROW, text, path, line, "a clip and a label, such as Action/Sad/0010 Sad")
        label = row[4].lower()
        if label not in CLASSES:
            raise fault(path, line, f"unknown emotion {row[4]!r}")
        if row[2].lower() != label:
            raise fault(path, line, f"folder {row[2]!r} and label {row[4]!r} contradict each other")
        found.append(Entry(f"{row[1]}/{row[2]}/{row[3]}", label, path, line))
    return found


def make(folder: Path, how: Making) -> None:
    """Writes a small set; the last fifth of the clips of every class, one at least, is tested.

    Raises:
        DataError: if `how.each` leaves nothing to train.
    """
    if how.each < 2:
        raise DataError("a set without a train list", where="making", fix="give 2 or more of each class")
    with fresh(folder) as root:
        lists: dict[str, list[str]] = {"train": [], "test": []}
        for take in takes(how, CLASSES):
            scene, emotion = _SCENES[take.turn % len(_SCENES)], take.label.capitalize()
            name = f"{scene}/{emotion}/{take.index + 1:04d}"
            write_pictures(root / _FRAMES / name, take.clip.frames, "{:04d}.jpg")
            tested = take.turn >= how.each - max(1, how.each // 5)
            lists["test" if tested else "train"].append(f"{name} {emotion}")
        for split, rows in lists.items():
            write_text(root / _SETUP / f"{split}_All.csv", rows)


FERV39K = Benchmark(
    name="ferv39k",
    title="FERV39k",
    task="dynamic",
    classes=CLASSES,
    source="github.com/wangyanckxx/FERV39k; Wang et al., CVPR 2022",
    layout=(
        "4_setups/All_scenes/{train,test}_All.csv   Scene/Emotion/NNNN Emotion\n"
        "2_ClipsforFaceCrop/Scene/Emotion/NNNN/*.jpg"
    ),
    read=read,
    make=make,
    marker="4_setups/All_scenes",
)
