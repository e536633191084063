"""AffectNet with seven and eight classes (Mollahosseini, Hasani and Mahoor, IEEE TAFFC 10(1), 2019).

Known from the owner's cropped release and the loaders built on it: folders `train_set` and `val_set` with
`images/N.jpg` and `annotations/N_exp.npy`, a text or number from 0 to 7 in each. The validation part is what
papers score, 500 images a class. Decided here: it counts as `test`; the release names nobody, so that every
image is a group of its own.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from mien.benchmarks.base import Benchmark, Item, Making
from mien.benchmarks.files import chosen, inside, numbered, require
from mien.benchmarks.making import draw, save, turns
from mien.errors import DataError

EIGHT = ("neutral", "happiness", "sadness", "surprise", "fear", "disgust", "anger", "contempt")
_SPLITS = {"train_set": "train", "val_set": "test"}
_MAX_BYTES = 4096
_LAYOUT = (
    "  train_set/images/0.jpg, ... and train_set/annotations/0_exp.npy, ...\n"
    "  val_set/images/..., val_set/annotations/...\n"
    f"  {', '.join(f'{number} {name}' for number, name in enumerate(EIGHT))}"
)


def _read(root: Path, classes: tuple[str, ...]) -> list[Item]:
    names = numbered(EIGHT, 0)
    items = []
    for folder, split in _SPLITS.items():
        images = require(root, f"{folder}/images", _LAYOUT)
        notes = require(root, f"{folder}/annotations", _LAYOUT)
        for note in sorted(notes.glob("*_exp.npy"), key=lambda path: path.name):
            stem = note.name.removesuffix("_exp.npy")
            label = chosen(_value(note), names, str(note))
            if label in classes:
                path = inside(images, f"{stem}.jpg", str(note))
                items.append(Item(f"{folder}/{stem}", (path,), label, f"{folder}/{stem}", split))
    return items


def _value(path: Path) -> str:
    """What an annotation holds, as text; a pickle is refused."""
    fix = "take the set as its owner publishes it"
    if path.stat().st_size > _MAX_BYTES:
        raise DataError(f"is larger than {_MAX_BYTES} bytes", where=path, fix=fix)
    try:
        array = np.load(path, allow_pickle=False)
    except (ValueError, EOFError, OSError) as error:
        raise DataError(f"is not a plain array: {error}", where=path, fix=fix) from error
    if array.size != 1:
        raise DataError(f"holds {array.size} values, not 1", where=path, fix=fix)
    return str(array.reshape(-1)[0])


def _make(root: Path, how: Making) -> None:
    """All eight classes, so that the reader of seven has one to leave out."""
    for place, (name, person, number) in enumerate(turns(how, EIGHT)):
        folder = root / ("val_set" if number % 2 else "train_set")
        save(draw(how, person, name, number).image, folder / "images" / f"{place}.jpg")
        (folder / "annotations").mkdir(exist_ok=True)
        np.save(folder / "annotations" / f"{place}_exp.npy", np.array(str(EIGHT.index(name))))


def _benchmark(count: int) -> Benchmark:
    classes = EIGHT[:count]
    return Benchmark(
        name=f"affectnet-{count}",
        title=f"AffectNet-{count}",
        task="static",
        classes=classes,
        source="Mollahosseini, Hasani and Mahoor, IEEE TAFFC 10(1), 2019",
        layout=_LAYOUT,
        read=lambda root: _read(root, classes),
        make=_make,
        marker="val_set/annotations/*_exp.npy",
    )


AFFECTNET_7, AFFECTNET_8 = _benchmark(7), _benchmark(8)
