"""SFEW 2.0 (Dhall et al., ICMI 2015): stills of movies.

Known from the challenge's release: `Train`, `Val` and `Test` with a folder a class; names begin with the
movie. Labels of `Test` were kept back. Decided here: `Val`, which papers score, counts as `test`; the movie
is the group, since the set names no person.
"""

from __future__ import annotations

from pathlib import Path

from mien.benchmarks.base import Benchmark, Item, Making
from mien.benchmarks.files import require
from mien.benchmarks.making import draw, save, turns
from mien.errors import DataError

_FOLDERS = {
    "Angry": "anger", "Disgust": "disgust", "Fear": "fear", "Happy": "happiness", "Neutral": "neutral",
    "Sad": "sadness", "Surprise": "surprise",
}  # fmt: skip
CLASSES = tuple(_FOLDERS.values())
_SPLITS = {"Train": "train", "Val": "test"}
_IMAGES = (".png", ".jpg", ".jpeg")
_LAYOUT = f"  Train/Angry/MOVIE_000123_00000004.png, ... and Val/...; folders {', '.join(_FOLDERS)}"


def _read(root: Path) -> list[Item]:
    items = []
    for name, split in _SPLITS.items():
        for folder in sorted(require(root, name, _LAYOUT).iterdir()):
            if not folder.is_dir() or folder.name.startswith("."):
                continue
            if folder.name not in _FOLDERS:
                what = f"{folder.name!r} is no class"
                raise DataError(what, where=folder, fix=f"known: {', '.join(_FOLDERS)}")
            for path in sorted(folder.iterdir()):
                if path.suffix.lower() in _IMAGES:
                    key, movie = f"{name}/{folder.name}/{path.stem}", path.stem.partition("_")[0]
                    items.append(Item(key, (path,), _FOLDERS[folder.name], movie, split))
        missing = set(_FOLDERS) - {entry.name for entry in (root / name).iterdir()}
        if missing:
            raise DataError(
                f"lacks the folder {min(missing)}", where=root / name, fix=f"expected:\n{_LAYOUT}"
            )
    return items


def _make(root: Path, how: Making) -> None:
    folders = {label: name for name, label in _FOLDERS.items()}
    for place, (name, person, number) in enumerate(turns(how, CLASSES)):
        folder = root / ("Val" if number % 2 else "Train") / folders[name]
        save(draw(how, person, name, number).image, folder / f"Movie{person}_{place:09d}_00000001.png")


SFEW2 = Benchmark(
    name="sfew2",
    title="SFEW 2.0",
    task="static",
    classes=CLASSES,
    source="Dhall et al., ICMI 2015",
    layout=_LAYOUT,
    read=_read,
    make=_make,
    marker="Val/Angry/*.png",
)
