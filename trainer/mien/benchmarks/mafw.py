"""MAFW: clips of films and series; eleven single emotions, and 43 classes with the multiple ones; five
folds.

Known from the owner's README (github.com/MAFW-database/MAFW: captions and labels such as
`anger_disgust_anxiety`, 11 single and 32 multiple classes), from the scripts of MAE-DFER and HiCMAE
(order of the single classes; lists `Train & Test Set/single/no_caption/set_K/{train,test}.txt` with lines
`00025.mp4 anger`), and from public loaders that name all 43 classes. Test list 1 has 1,838 clips
(emocapclip spec, section 6.1).

Decided here: the 32 multiple classes follow the single ones by number of parts, then in the order of the
single classes (published orders differ, and no metric depends on it); a class is spoken with "and" for
"_". Lists with captions are not described in public, so their lines are read as clip, label, Chinese and
English text, parted by tabs or `<br>`, as the README shows for the label files; the English text is kept.
They may be absent. Videos come before face frames (`data/frames`), as the folder is published with
videos. The set names no people.
"""

from __future__ import annotations

import re
from pathlib import Path

from mien.benchmarks.base import Benchmark, Item, Making
from mien.benchmarks.clip_lists import Entry, fault, lines_of, media_of, parsed, tested_once
from mien.benchmarks.clip_making import Take, fresh, takes, write_text, write_video
from mien.faces.actions import ACTION_UNITS

SINGLE = (
    "anger", "disgust", "fear", "happiness", "neutral", "sadness", "surprise", "contempt", "anxiety",
    "helplessness", "disappointment",
)  # fmt: skip
_MULTIPLE = (
    "anger_disgust", "anger_sadness", "anger_surprise", "anger_anxiety", "anger_helplessness",
    "disgust_sadness", "disgust_surprise", "disgust_contempt", "disgust_anxiety", "disgust_helplessness",
    "disgust_disappointment", "fear_sadness", "fear_surprise", "fear_anxiety", "happiness_surprise",
    "happiness_contempt", "sadness_surprise", "sadness_anxiety", "sadness_helplessness",
    "sadness_disappointment", "surprise_anxiety", "anxiety_helplessness", "helplessness_disappointment",
    "anger_disgust_contempt", "anger_disgust_anxiety", "disgust_anxiety_helplessness",
    "disgust_helplessness_disappointment", "fear_sadness_anxiety", "fear_surprise_anxiety",
    "sadness_anxiety_helplessness", "sadness_helplessness_disappointment",
    "anxiety_helplessness_disappointment",
)  # fmt: skip
PARTS = {" and ".join(name.split("_")): tuple(name.split("_")) for name in (*SINGLE, *_MULTIPLE)}
"""Class -> the single classes it is made of; all 43."""
COMPOUND = tuple(PARTS)
FOLDS = 5
_SETS = Path("Train & Test Set")
_CLIPS, _FRAMES = Path("data/clips"), Path("data/frames")
_ROW = re.compile(r"(\d{5})\.mp4\s+([a-z_]+)(?:\s+(\S.*))?")
_TEXTS = re.compile(r"\s*(?:\t|<br>)\s*")


def read_single(root: Path) -> list[Item]:
    """Items of the single set; key: five digits; text: the English caption where lists with captions are."""
    return _read(root, "single", SINGLE)


def read_compound(root: Path) -> list[Item]:
    """Items of the compound lists, single and multiple classes."""
    return _read(root, "compound", COMPOUND)


def _read(root: Path, use: str, classes: tuple[str, ...]) -> list[Item]:
    folds, texts = [], {}
    for fold in range(1, FOLDS + 1):
        train, test = (_list(root / _list_path(use, "no_caption", fold, part), classes) for part in _PARTS)
        folds.append((train, test))
        for part in _PARTS:
            told = root / _list_path(use, "with_caption", fold, part)
            if told.is_file():
                texts.update({entry.name: entry.text for entry in _list(told, classes) if entry.text})
    return [
        Item(
            key=entry.name,
            media=media_of(*_places(root, entry)),
            label=entry.label,
            group=entry.name,
            split="test" if fold else "train",
            fold=fold,
            text=texts.get(entry.name),
        )
        for entry, fold in tested_once(folds)
    ]


_PARTS = ("train", "test")


def _places(root: Path, entry: Entry) -> tuple[Entry, list[Path], list[Path]]:
    video = root / _CLIPS / f"{entry.name}.mp4"
    return entry, [video], [] if video.is_file() else [root / _FRAMES / entry.name]


def _list_path(use: str, captions: str, fold: int, part: str) -> Path:
    return _SETS / use / captions / f"set_{fold}" / f"{part}.txt"


def _list(path: Path, classes: tuple[str, ...]) -> list[Entry]:
    found = []
    for line, text in lines_of(path):
        row = parsed(_ROW, text, path, line, "a clip and a label, such as 00025.mp4 anger")
        label = " and ".join(row[2].split("_"))
        if label not in classes:
            raise fault(path, line, f"unknown emotion {row[2]!r}")
        english = _TEXTS.split(row[3])[-1].removeprefix("<br>").strip() if row[3] else None
        found.append(Entry(row[1], label, path, line, english))
    return found


def make(folder: Path, how: Making) -> None:
    """Writes a small set with both uses: `how.each` clips of each of the 43 classes, lists with captions too.

    Clips of multiple classes are numbered from 20001, as the owner's example suggests.
    """
    with fresh(folder) as root:
        rows: list[tuple[str, str, str]] = []
        for take in takes(how, COMPOUND, list(PARTS.values())):
            name = f"{take.index + 1 + (0 if take.label in SINGLE else 20000):05d}"
            write_video(root / _CLIPS / f"{name}.mp4", take.clip.frames)
            rows.append((name, "_".join(PARTS[take.label]), caption(take)))
        single = [row for row in rows if "_" not in row[1]]
        write_text(
            root / "labels" / "single-set.csv",
            ["clip,single_label", *(f"{name}.mp4,{label}" for name, label, _ in single)],
        )
        for use, chosen in (("single", single), ("compound", rows)):
            _write_lists(root, use, chosen)


def caption(take: Take) -> str:
    """What a generated clip shows, in one sentence: its class and its strongest action units."""
    actions = take.expression.actions
    strongest = sorted(actions.active(0.2), key=actions.intensity, reverse=True)[:3]
    seen = ", ".join(ACTION_UNITS[unit].name for unit in strongest) or "nothing moves"
    return f"A person shows {take.label}: {seen}."


def _write_lists(root: Path, use: str, rows: list[tuple[str, str, str]]) -> None:
    for fold in range(1, FOLDS + 1):
        for part in _PARTS:
            chosen = [row for row in rows if (fold_of(row[0]) == fold) == (part == "test")]
            bare = [f"{name}.mp4 {label}" for name, label, _ in chosen]
            told = [f"{name}.mp4\t{label}\t一张脸。\t{text}" for name, label, text in chosen]
            write_text(root / _list_path(use, "no_caption", fold, part), bare)
            write_text(root / _list_path(use, "with_caption", fold, part), told)


def fold_of(name: str) -> int:
    """Fold that tests a clip of a generated set."""
    return (int(name) - 1) % FOLDS + 1


_LAYOUT = (
    "data/clips/NNNNN.mp4   or data/frames/NNNNN/*.jpg\n"
    "Train & Test Set/{use}/no_caption/set_{{1..5}}/{{train,test}}.txt   NNNNN.mp4 label\n"
    "Train & Test Set/{use}/with_caption/...   the same with texts; may be absent"
)
_SOURCE = "github.com/MAFW-database/MAFW; Liu et al., ACM MM 2022"

MAFW = Benchmark(
    name="mafw",
    title="MAFW",
    task="dynamic",
    classes=SINGLE,
    folds=FOLDS,
    source=_SOURCE,
    layout=_LAYOUT.format(use="single"),
    read=read_single,
    make=make,
    marker="Train & Test Set/single/no_caption",
)
MAFW_COMPOUND = Benchmark(
    name="mafw-compound",
    title="MAFW compound",
    task="compound",
    classes=COMPOUND,
    folds=FOLDS,
    source=_SOURCE,
    layout=_LAYOUT.format(use="compound"),
    read=read_compound,
    make=make,
    marker="Train & Test Set/compound/no_caption",
    parts=PARTS,
)
