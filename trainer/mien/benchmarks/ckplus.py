"""CK+ (Lucey et al., CVPR Workshops 2010).

Known from the owner's README: sequences from neutral to the peak in `cohn-kanade-images/S005/001`, the peak's
label in `Emotion/S005/001/S005_001_00000011_emotion.txt` for 327 of 593 sequences, FACS codes in `FACS`.
Decided here: an item is the peak frame of a labelled sequence; classes are the set's seven, contempt among
them and neutral not, since no sequence ends in it. All items are scored, for there is no official split.
"""

from __future__ import annotations

from pathlib import Path

from mien.benchmarks.base import Benchmark, Item, Making
from mien.benchmarks.files import lines, require
from mien.benchmarks.making import draw, save, turns
from mien.errors import DataError

CLASSES = ("anger", "contempt", "disgust", "fear", "happiness", "sadness", "surprise")
_IMAGES, _LABELS, _CODES = "cohn-kanade-images", "Emotion", "FACS"
_LAYOUT = (
    f"  {_IMAGES}/S005/001/S005_001_00000001.png, ... (the last is the peak)\n"
    f"  {_LABELS}/S005/001/S005_001_00000011_emotion.txt   1 anger, 2 contempt, ..., 7 surprise\n"
    f"  {_CODES}/S005/001/S005_001_00000011_facs.txt       an action unit and its intensity a line"
)
_FIX = "take the set as its owner publishes it"


def _read(root: Path) -> list[Item]:
    images, labels = (require(root, name, _LAYOUT) for name in (_IMAGES, _LABELS))
    items = []
    for file in sorted(labels.glob("S*/*/*_emotion.txt")):
        person, sequence = file.parts[-3:-1]
        frames = sorted((images / person / sequence).glob("*.png"))
        if not frames:
            raise DataError("its sequence has no frames", where=file, fix=f"put them into {_IMAGES}")
        value = _numbers(file, 1)[0][0]
        if value not in range(1, 8):
            raise DataError(f"unknown label {value:g}", where=file, fix="labels are 1 to 7")
        key = f"{person}_{sequence}"
        units = _units(root / _CODES / person / sequence)
        items.append(Item(key, (frames[-1],), CLASSES[int(value) - 1], person, "test", units=units))
    return items


def _units(folder: Path) -> dict[int, float] | None:
    """Presence of coded units at the peak; None where the sequence was not coded."""
    for file in sorted(folder.glob("*_facs.txt")):
        return {int(unit): 1.0 for unit, _ in _numbers(file, 2)}
    return None


def _numbers(file: Path, count: int) -> list[list[float]]:
    """Numbers of every line; the set writes them as `3.0000000e+00`."""
    rows = []
    for line, text in lines(file):
        try:
            values = [float(word) for word in text.split()]
        except ValueError as error:
            raise DataError(f"{text!r} is no number", where=f"{file}:{line}", fix=_FIX) from error
        if len(values) != count:
            what = f"has {len(values)} numbers, not {count}"
            raise DataError(what, where=f"{file}:{line}", fix=_FIX)
        rows.append(values)
    if not rows and count == 1:
        raise DataError("is empty", where=file, fix=_FIX)
    return rows


def _make(root: Path, how: Making) -> None:
    """Three frames a sequence, neutral first, and one sequence without a label."""
    counts = dict.fromkeys(range(how.people), 0)
    for name, person, number in [*turns(how, CLASSES), ("neutral", 0, how.each)]:
        counts[person] += 1
        folder = Path(f"S{person + 5:03d}", f"{counts[person]:03d}")
        stem = "_".join(folder.parts)
        peak = draw(how, person, name, number)
        for place, image in enumerate((draw(how, person, "neutral", number).image, peak.image), 1):
            save(image, root / _IMAGES / folder / f"{stem}_{place:08d}.png")
        if name == "neutral":
            continue
        (root / _LABELS / folder).mkdir(parents=True)
        text = f"   {CLASSES.index(name) + 1:.7e}\n"
        (root / _LABELS / folder / f"{stem}_00000002_emotion.txt").write_text(text)
        (root / _CODES / folder).mkdir(parents=True)
        coded = [f"   {unit:.7e}   {1 + 4 * value:.7e}\n" for unit, value in sorted(peak.units.items())]
        (root / _CODES / folder / f"{stem}_00000002_facs.txt").write_text("".join(coded))


CK_PLUS = Benchmark(
    name="ck+",
    title="CK+",
    task="static",
    classes=CLASSES,
    source="Lucey et al., CVPR Workshops 2010; the owner's README",
    layout=_LAYOUT,
    read=_read,
    make=_make,
    marker=_IMAGES,
)
