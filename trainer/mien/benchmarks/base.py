"""What a benchmark is: items in an official layout, its classes and folds, and a maker of a small one.

A reader takes the folder as its owner publishes it. It never writes there, decodes nothing, and checks that
every file it names is there.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from mien.errors import DataError

Task = Literal["static", "dynamic", "compound", "au", "mcq"]
"""The five tasks (emocapclip spec, section 6.1)."""
TASKS: tuple[Task, ...] = ("static", "dynamic", "compound", "au", "mcq")

MADE = "made-by-mien.txt"
"""File at the top of a generated set, so that nobody takes a number on it for one on the real set."""


@dataclass(frozen=True)
class Question:
    """A multiple-choice question about the media of an item.

    Attributes:
        text: as the set asks it.
        options: as the set gives them, without their letters.
        answer: index of the right one.
        kind: `class` (what does this face show), `which` (which of the images shows a class), `count` (how
            many images show a class), `same` (which pair or set agrees), `other`: logic is not known.
        target: class asked for, of `which` and `count`.
        classes: all classes that an image of the source set can have, lower case.
        negated: of `which`: it asks for the images that do not show the class.
    """

    text: str
    options: tuple[str, ...]
    answer: int
    kind: Literal["class", "which", "count", "same", "other"]
    target: str | None = None
    classes: tuple[str, ...] = ()
    negated: bool = False


@dataclass(frozen=True)
class Item:
    """One sample of a benchmark.

    Attributes:
        key: unique in the benchmark, the same for every copy of the set.
        media: one image; several images (of a question); a video file; or the frames of a clip, in order.
        label: one of the benchmark's classes; None where it has none (units, questions).
        group: the person, for intervals and splits by person; the key where the set names nobody.
        split: `train`, `val` or `test`, as the owner splits.
        fold: number from 1 of the fold in which the item is tested; 0 without folds.
        units: FACS number -> 1 present, 0 absent, or an intensity in [0, 1]; numbers that were not annotated
            are left out. None where there are none.
        text: a caption or description that comes with the sample.
        question: of the task `mcq`.
    """

    key: str
    media: tuple[Path, ...]
    label: str | None = None
    group: str = ""
    split: str = "test"
    fold: int = 0
    units: Mapping[int, float] | None = None
    text: str | None = None
    question: Question | None = None


@dataclass(frozen=True)
class Making:
    """How large a generated set is.

    Attributes:
        people: different people.
        each: items of each class (of each unit, of each kind of question) over all splits.
        seed: of everything; another seed makes other people.
        size: side of a picture or frame, pixels.
        frames: of a clip.
    """

    people: int = 6
    each: int = 4
    seed: int = 0
    size: int = 96
    frames: int = 16


@dataclass(frozen=True)
class Benchmark:
    """A public set in one of its uses.

    Attributes:
        name: as the command line takes it, such as `raf-db`.
        title: as papers write it.
        task: one of `TASKS`.
        classes: labels in the order of the set's own documents; underscores never, lower case.
        units: FACS numbers that are scored, of the task `au`.
        folds: how many folds are averaged; 0 where there is one test split.
        parts: of a compound class that the set itself names by its parts: these, as single classes.
        source: owner's document or paper that the layout follows.
        layout: the folder as text, for `--help` and messages.
        read: (folder) -> all items of all splits. Raises DataError that says what the folder lacks.
        make: (folder, how) -> writes a small set in exactly that layout, with the face world.
        marker: a path below the folder that no other benchmark has, to recognise it; may hold `*`.
    """

    name: str
    title: str
    task: Task
    classes: tuple[str, ...]
    source: str
    layout: str
    read: Callable[[Path], list[Item]]
    make: Callable[[Path, Making], None]
    marker: str
    units: tuple[int, ...] = ()
    folds: int = 0
    parts: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def open(self, folder: str | Path) -> list[Item]:
        """Items of a folder, checked.

        Raises:
            DataError: if the folder does not hold this benchmark, or an item contradicts the benchmark.
        """
        root = Path(folder)
        if not root.is_dir():
            raise DataError(f"no such folder for {self.title}", where=root, fix=f"expected:\n{self.layout}")
        items = self.read(root)
        require_sound(self, items, root)
        return items


def require_sound(benchmark: Benchmark, items: Sequence[Item], where: Path) -> None:
    """Raise DataError for an empty set, a key twice, an unknown class, a missing file, a wrong fold."""
    if not items:
        raise DataError(f"{benchmark.title} has no items", where=where, fix=f"expected:\n{benchmark.layout}")
    seen: set[str] = set()
    for item in items:
        problem = _problem(benchmark, item)
        if item.key in seen:
            problem = "occurs twice"
        if problem:
            raise DataError(
                f"{benchmark.title}: item {item.key!r} {problem}",
                where=where,
                fix="take the set as its owner publishes it",
            )
        seen.add(item.key)


def _problem(benchmark: Benchmark, item: Item) -> str | None:
    if not item.media:
        return "has no media"
    for path in item.media:
        if not path.is_file():
            return f"lacks its file {path}"
    if item.split not in ("train", "val", "test"):
        return f"has an unknown split {item.split!r}"
    if not 0 <= item.fold <= benchmark.folds:
        return f"is in fold {item.fold} of {benchmark.folds}"
    if benchmark.task == "au":
        return None if item.units is not None else "has no action units"
    if benchmark.task == "mcq":
        question = item.question
        if question is None or not 0 <= question.answer < len(question.options):
            return "has no question with an answer"
        return None
    return None if item.label in benchmark.classes else f"has an unknown class {item.label!r}"
