"""JAFFE (Lyons, Akamatsu, Kamachi and Gyoba, FG 1998): 213 pictures of ten women.

Known from the owner's README: names such as `KA.AN1.39.tiff`, person, emotion with a count, number of the
picture. All are scored, for there is no split. Decided here: the suffix may also be .tif or .jpg, as in
copies of the set.
"""

from __future__ import annotations

import re
from pathlib import Path

from mien.benchmarks.base import Benchmark, Item, Making
from mien.benchmarks.making import draw, save, turns
from mien.errors import DataError

_CODES = {
    "NE": "neutral", "HA": "happiness", "SA": "sadness", "SU": "surprise", "AN": "anger", "DI": "disgust",
    "FE": "fear",
}  # fmt: skip
CLASSES = tuple(_CODES.values())
_NAME = re.compile(r"([A-Z]{2})\.([A-Z]{2})(\d+)\.(\d+)\.(tiff?|jpg)")
_PEOPLE = ("KA", "KL", "KM", "KR", "MK", "NA", "NM", "TM", "UY", "YM")
_LAYOUT = "  KA.AN1.39.tiff, ...   person, emotion (NE HA SA SU AN DI FE) with a count, number"


def _read(root: Path) -> list[Item]:
    items = []
    for path in sorted(root.iterdir()):
        if path.suffix not in (".tiff", ".tif", ".jpg"):
            continue
        match = _NAME.fullmatch(path.name)
        if match is None:
            raise DataError("name does not parse", where=path, fix="names are like KA.AN1.39.tiff")
        person, code = match[1], match[2]
        if code not in _CODES:
            raise DataError(f"unknown emotion {code!r}", where=path, fix=f"known: {', '.join(_CODES)}")
        items.append(Item(path.stem, (path,), _CODES[code], person, "test"))
    if not items:
        raise DataError("JAFFE has no pictures", where=root, fix=f"expected:\n{_LAYOUT}")
    return items


def _make(root: Path, how: Making) -> None:
    for place, (name, person, number) in enumerate(turns(how, CLASSES), 1):
        code = list(_CODES)[CLASSES.index(name)]
        who = _PEOPLE[person % len(_PEOPLE)]
        save(draw(how, person, name, number).image, root / f"{who}.{code}{number + 1}.{place}.tiff")


JAFFE = Benchmark(
    name="jaffe",
    title="JAFFE",
    task="static",
    classes=CLASSES,
    source="Lyons et al., FG 1998; the owner's README",
    layout=_LAYOUT,
    read=_read,
    make=_make,
    marker="[A-Z][A-Z].[A-Z][A-Z][0-9]*.[0-9]*.*",
)
