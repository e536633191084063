"""FERPlus (Barsoum, Zhang, Canton Ferrer and Zhang, ICMI 2016).

Known from the owner's repository: `fer2013new.csv` with ten votes an image, and the folders that its script
writes the images of FER2013 to. Rows without a name were withdrawn. Decided here: the label is the class with
most votes, the first of the owner's order where several have as many; images whose most votes are `unknown`
or `NF` (no face) are left out, which leaves about 3.6 thousand test images (emocapclip spec, section 6.1).
The owner's stricter rule, more than half of the votes, leaves fewer. The set names nobody.
"""

from __future__ import annotations

from pathlib import Path

from mien.benchmarks.base import Benchmark, Item, Making
from mien.benchmarks.files import inside, number, require, table
from mien.benchmarks.making import draw, save, turns
from mien.errors import DataError

CLASSES = ("neutral", "happiness", "surprise", "sadness", "anger", "disgust", "fear", "contempt")
_VOTES = (*CLASSES, "unknown", "NF")
_FOLDERS = {
    "Training": ("train", "FER2013Train"),
    "PublicTest": ("val", "FER2013Valid"),
    "PrivateTest": ("test", "FER2013Test"),
}
_LAYOUT = (
    "  fer2013new.csv   columns Usage, Image name, neutral, ..., contempt, unknown, NF\n"
    "  FER2013Train/fer0000000.png, FER2013Valid/..., FER2013Test/..."
)


def _read(root: Path) -> list[Item]:
    listed = require(root, "fer2013new.csv", _LAYOUT)
    items = []
    for line, row in table(listed, ("Usage", "Image name", *_VOTES)):
        where = f"{listed}:{line}"
        if not row["Image name"]:
            continue
        if row["Usage"] not in _FOLDERS:
            known = ", ".join(_FOLDERS)
            raise DataError(f"unknown usage {row['Usage']!r}", where=where, fix=f"known: {known}")
        split, folder = _FOLDERS[row["Usage"]]
        votes = [number(row[name], where) for name in _VOTES]
        label = _VOTES[votes.index(max(votes))]
        if label in CLASSES:
            name = row["Image name"]
            path = inside(root, f"{folder}/{name}", where)
            items.append(Item(name, (path,), label, name, split))
    return items


def _make(root: Path, how: Making) -> None:
    """Clear votes, ties, a face that nobody can name, and a row that was withdrawn."""
    rows = [",".join(("Usage", "Image name", *_VOTES))]
    made = list(turns(how, CLASSES))
    for place, (name, person, turn) in enumerate(made):
        usage = list(_FOLDERS)[turn % 3]
        votes = dict.fromkeys(_VOTES, 0) | {name: 8, "unknown": 2}
        if turn == 1 and name != CLASSES[-1]:  # a tie, which the earlier class wins
            votes = dict.fromkeys(_VOTES, 0) | {name: 5, CLASSES[-1]: 5}
        rows.append(",".join((usage, f"fer{place:07d}.png", *(str(votes[n]) for n in _VOTES))))
        save(draw(how, person, name, turn).image, root / _FOLDERS[usage][1] / f"fer{place:07d}.png")
    nameless = dict.fromkeys(_VOTES, 0) | {"unknown": 9, "neutral": 1}
    rows.append(",".join(("PrivateTest", f"fer{len(made):07d}.png", *(str(nameless[n]) for n in _VOTES))))
    rows.append(",".join(("Training", "", *("10" if n == "NF" else "0" for n in _VOTES))))
    (root / "fer2013new.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")


FERPLUS = Benchmark(
    name="ferplus",
    title="FERPlus",
    task="static",
    classes=CLASSES,
    source="Barsoum et al., ICMI 2016; the owner's repository",
    layout=_LAYOUT,
    read=_read,
    make=_make,
    marker="fer2013new.csv",
)
