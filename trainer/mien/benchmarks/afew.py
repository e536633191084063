"""AFEW (EmotiW): clips of films, seven emotions, train and validation part.

The layout of the EmotiW challenge (Dhall et al., IEEE MultiMedia 2012) as it is commonly described; no
document of the owner was at hand to check it, only the seven classes in public code: `Train_AFEW` and
`Val_AFEW`, a folder for each emotion, avi files. The validation part has about 380 clips (emocapclip
spec, section 6.1).

Decided here: labels of the test part were never given out, so papers score the validation part; its clips
have the split `test`. Classes are in the order of the folders. A copy without `Train_AFEW` is read, as
zero-shot needs none of it. People are not named in the folders, so the group of a clip is its key.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from mien.benchmarks.base import Benchmark, Item, Making
from mien.benchmarks.clip_lists import OWNER, entries
from mien.benchmarks.clip_making import fresh, takes, write_video
from mien.errors import DataError

CLASSES = ("angry", "disgust", "fear", "happy", "neutral", "sad", "surprise")
_PARTS = {"train": "Train_AFEW", "test": "Val_AFEW"}


def read(root: Path) -> list[Item]:
    """Items of a folder; key: `Val_AFEW/Angry/000149120`."""
    parts = [
        (split, root / name) for split, name in _PARTS.items() if split == "test" or (root / name).is_dir()
    ]
    return [item for split, folder in parts for item in _part(folder, split)]


def _part(folder: Path, split: str) -> Iterator[Item]:
    if not folder.is_dir():
        raise DataError("folder is missing", where=folder, fix=OWNER)
    _refuse_strangers(folder)
    for label in CLASSES:
        inside = folder / label.capitalize()
        clips = entries(inside, (".avi", ".mp4"))
        if not clips:
            raise DataError("folder holds no .avi file", where=inside, fix="unpack the set again")
        for path in clips:
            key = f"{folder.name}/{inside.name}/{path.stem}"
            yield Item(key=key, media=(path,), label=label, group=key, split=split)


def _refuse_strangers(folder: Path) -> None:
    """Other folders (landmarks, aligned faces) are let be unless they hold clips, whose label is unknown."""
    for other in sorted(folder.iterdir()):
        if other.is_dir() and other.name.lower() not in CLASSES and next(other.glob("*.avi"), None):
            raise DataError(
                f"unknown emotion {other.name!r}", where=other, fix=f"one of: {', '.join(CLASSES)}"
            )


def make(folder: Path, how: Making) -> None:
    """Writes a small set; every second clip of a class, the first one too, is for validation.

    Raises:
        DataError: if `how.each` leaves nothing to train.
    """
    if how.each < 2:
        raise DataError("a set without a train part", where="making", fix="give 2 or more of each class")
    with fresh(folder) as root:
        for take in takes(how, CLASSES):
            part = _PARTS["train" if take.turn % 2 else "test"]
            write_video(root / part / take.label.capitalize() / f"{take.index + 1:09d}.avi", take.clip.frames)


AFEW = Benchmark(
    name="afew",
    title="AFEW",
    task="dynamic",
    classes=CLASSES,
    source="EmotiW challenge; Dhall et al., IEEE MultiMedia 2012",
    layout="Train_AFEW/Emotion/*.avi   may be absent\nVal_AFEW/Emotion/*.avi   scored",
    read=read,
    make=make,
    marker="Val_AFEW",
)
