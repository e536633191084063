"""DISFA (Mavadati et al., IEEE TAFFC 4(2), 2013): 27 people, twelve action units at 0 to 5 in every frame.

Known from the owner's README: `ActionUnit_Labels/SN001/SN001_au1.txt` with lines `frame,intensity`, frames
from 1. Frames of the left camera's video are read as pictures, since that is what is shared between labs
(`Images/SN001/00001.jpg`). Decided here: eight units are scored, as the comparisons on DISFA do; a unit is
present from intensity 2; every 60th frame counts, for neighbours are alike; three folds of people in order of
their numbers.
"""

from __future__ import annotations

from pathlib import Path

from mien.benchmarks.base import Benchmark, Item, Making
from mien.benchmarks.files import fields, number, require
from mien.benchmarks.making import draw_units, save
from mien.errors import DataError

CODED = (1, 2, 4, 5, 6, 9, 12, 15, 17, 20, 25, 26)
UNITS = (1, 2, 4, 6, 9, 12, 25, 26)
EVERY, PRESENT, FOLDS = 60, 2, 3
_LABELS, _IMAGES = "ActionUnit_Labels", "Images"
_LAYOUT = (
    f"  {_LABELS}/SN001/SN001_au1.txt, ...   lines `frame,intensity`, frames from 1, intensity 0 to 5\n"
    f"  {_IMAGES}/SN001/00001.jpg, ...       frames of the left camera"
)


def _read(root: Path) -> list[Item]:
    labels, images = (require(root, name, _LAYOUT) for name in (_LABELS, _IMAGES))
    people = sorted(folder.name for folder in labels.iterdir() if folder.is_dir())
    items = []
    for place, person in enumerate(people):
        coded = {unit: _intensities(labels / person / f"{person}_au{unit}.txt") for unit in UNITS}
        frames = set(coded[UNITS[0]])
        for unit, values in coded.items():
            if set(values) != frames:
                what = f"AU{unit} has {len(values)} frames, AU{UNITS[0]} {len(frames)}"
                raise DataError(what, where=labels / person, fix="take the set as its owner publishes it")
        for frame in sorted(frames)[::EVERY]:
            path = images / person / f"{frame:05d}.jpg"
            if not path.is_file():
                what = f"lacks the frame {path.name}"
                raise DataError(what, where=images / person, fix="write the frames of the left camera there")
            units = {unit: float(coded[unit][frame] >= PRESENT) for unit in UNITS}
            fold = place * FOLDS // len(people) + 1
            items.append(Item(f"{person}/{frame}", (path,), None, person, "test", fold, units))
    return items


def _intensities(file: Path) -> dict[int, int]:
    if not file.is_file():
        raise DataError(f"lacks {file.name}", where=file.parent, fix=f"expected:\n{_LAYOUT}")
    found = {}
    for line, (frame, value) in fields(file, 2, ","):
        where = f"{file}:{line}"
        found[number(frame, where)] = intensity = number(value, where)
        if not 0 <= intensity <= 5:
            raise DataError(f"intensity {intensity}", where=where, fix="intensities are 0 to 5")
    return found


def _make(root: Path, how: Making) -> None:
    """`each` frames a person that count, and one frame between two of them that does not."""
    for person in range(how.people):
        name = f"SN{person + 1:03d}"
        frames = sorted({*range(1, 1 + EVERY * how.each)})
        shown = {}
        for turn in range(how.each):
            unit = CODED[(person + turn * 5) % len(CODED)]
            frame = 1 + EVERY * turn
            shown[frame] = {unit: 0.9, CODED[(person + turn * 5 + 3) % len(CODED)]: 0.15}
            save(
                draw_units(how, person, shown[frame], turn).image, root / _IMAGES / name / f"{frame:05d}.jpg"
            )
        (root / _LABELS / name).mkdir(parents=True)
        for unit in CODED:
            lines = [f"{n},{round(5 * shown.get(n, {}).get(unit, 0.0))}\n" for n in frames]
            (root / _LABELS / name / f"{name}_au{unit}.txt").write_text("".join(lines))


DISFA = Benchmark(
    name="disfa",
    title="DISFA",
    task="au",
    classes=(),
    units=UNITS,
    folds=FOLDS,
    source="Mavadati et al., IEEE TAFFC 4(2), 2013; the owner's README",
    layout=_LAYOUT,
    read=_read,
    make=_make,
    marker=_LABELS,
)
