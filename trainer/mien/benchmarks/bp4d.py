"""BP4D-Spontaneous (Zhang et al., Image and Vision Computing 32(10), 2014): 41 people, eight tasks each.

Known from the owner's README: `AUCoding/AU_OCC/F001_T1.csv`, a head of unit numbers after a column of frames,
cells 0 absent, 1 present, 9 not coded; pictures in `Sequences(2D+3D)/F001/T1/0001.jpg` (names have three or
four digits). Decided here: the twelve units that papers score; every 30th coded frame counts; a unit that was
not coded in a frame is left out there; three folds of people in order of their numbers.
"""

from __future__ import annotations

import re
from pathlib import Path

from mien.benchmarks.base import Benchmark, Item, Making
from mien.benchmarks.files import number, require, table
from mien.benchmarks.making import draw_units, save
from mien.errors import DataError

UNITS = (1, 2, 4, 6, 7, 10, 12, 14, 15, 17, 23, 24)
EVERY, FOLDS = 30, 3
_CODES, _IMAGES = "AUCoding/AU_OCC", "Sequences(2D+3D)"
_NAME = re.compile(r"([FM]\d{3})_(T\d)")
_LAYOUT = (
    f"  {_CODES}/F001_T1.csv, ...   head: frame, then unit numbers; 0 absent, 1 present, 9 not coded\n"
    f"  {_IMAGES}/F001/T1/0001.jpg, ..."
)
_FIX = "take the set as its owner publishes it"


def _read(root: Path) -> list[Item]:
    codes, images = (require(root, name, _LAYOUT) for name in (_CODES, _IMAGES))
    files = sorted(codes.glob("*.csv"))
    parsed = [(file, _NAME.fullmatch(file.stem)) for file in files]
    for file, match in parsed:
        if match is None:
            raise DataError("name does not parse", where=file, fix="names are like F001_T1.csv")
    people = sorted({match[1] for _, match in parsed if match})
    items = []
    for file, match in parsed:
        assert match is not None
        person, task = match[1], match[2]
        fold = people.index(person) * FOLDS // len(people) + 1
        for frame, units in list(_coded(file))[::EVERY]:
            path = _frame(images / person / task, frame, file)
            items.append(Item(f"{person}/{task}/{frame}", (path,), None, person, "test", fold, units))
    return items


def _coded(file: Path) -> list[tuple[int, dict[int, float]]]:
    """Frames in which a scored unit was coded."""
    found = []
    columns = tuple(str(unit) for unit in UNITS)
    for line, row in table(file, columns):
        where = f"{file}:{line}"
        values = {unit: number(row[str(unit)], where) for unit in UNITS}
        if unknown := sorted(set(values.values()) - {0, 1, 9}):
            raise DataError(f"code {unknown[0]}", where=where, fix="codes are 0, 1 and 9")
        units = {unit: float(value) for unit, value in values.items() if value != 9}
        if units:
            found.append((number(next(iter(row.values())), where), units))
    return found


def _frame(folder: Path, frame: int, where: Path) -> Path:
    for digits in (4, 3, 2, 1):
        path = folder / f"{frame:0{digits}d}.jpg"
        if path.is_file():
            return path
    raise DataError(f"names the frame {frame}, which is absent", where=where, fix=f"looked in {folder}")


def _make(root: Path, how: Making) -> None:
    """Two tasks a person; the last frame of each is not coded."""
    (root / _CODES).mkdir(parents=True)
    for person in range(how.people):
        name = f"{'FM'[person % 2]}{person + 1:03d}"
        for task in ("T1", "T2"):
            lines = [",".join(["0", *(str(unit) for unit in UNITS)])]
            for turn in range(how.each):
                shown = {UNITS[(person + turn * 5 + (task == "T2")) % len(UNITS)]: 0.9}
                first = 1 + turn * EVERY
                picture = draw_units(how, person, shown, turn).image
                save(picture, root / _IMAGES / name / task / f"{first:04d}.jpg")
                for frame in range(first, first + EVERY):
                    cells = ["9" if u == 24 and turn else str(int(u in shown)) for u in UNITS]
                    lines.append(",".join([str(frame), *cells]))
            lines.append(",".join([str(1 + how.each * EVERY), *["9"] * len(UNITS)]))
            (root / _CODES / f"{name}_{task}.csv").write_text("\n".join(lines) + "\n")


BP4D = Benchmark(
    name="bp4d",
    title="BP4D",
    task="au",
    classes=(),
    units=UNITS,
    folds=FOLDS,
    source="Zhang et al., Image and Vision Computing 32(10), 2014; the owner's README",
    layout=_LAYOUT,
    read=_read,
    make=_make,
    marker=_CODES,
)
