"""What the readers of clip sets share: lists by line, names that stay in the folder, folds by subject."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from mien.errors import DataError

MOST_LIST_BYTES = 64 * 2**20
"""Largest list of a set, bytes; the largest published ones have a few."""

OWNER = "take the set as its owner publishes it"
"""How to mend most faults of a copy."""


def lines_of(path: Path) -> Iterator[tuple[int, str]]:
    """Lines of a text file that are not blank, stripped, with their numbers from 1.

    Raises:
        DataError: if the file is absent, has no lines, is too large, or is not UTF-8.
    """
    if not path.is_file():
        raise DataError("list is missing", where=path, fix=OWNER)
    if path.stat().st_size > MOST_LIST_BYTES:
        raise DataError(f"list has more than {MOST_LIST_BYTES} bytes", where=path, fix=OWNER)
    try:
        text = path.read_text("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError("list is not UTF-8 text", where=path, fix=OWNER) from error
    found = [(number, line.strip()) for number, line in enumerate(text.splitlines(), 1) if line.strip()]
    if not found:
        raise DataError("list is empty", where=path, fix=OWNER)
    yield from found


def fault(path: Path, line: int, what: str, fix: str = OWNER) -> DataError:
    """A fault of one line of a list."""
    return DataError(what, where=f"{path}, line {line}", fix=fix)


def parsed(pattern: re.Pattern[str], text: str, path: Path, line: int, shape: str) -> re.Match[str]:
    """The whole text matched, so that a name can neither leave the folder nor be misread.

    Raises:
        DataError: if it does not match; `shape` tells what was expected.
    """
    match = pattern.fullmatch(text)
    if match is None:
        raise fault(path, line, f"{text[:80]!r} is not {shape}")
    return match


def entries(folder: Path, endings: Iterable[str]) -> list[Path]:
    """Files of a folder with one of the endings (lower case, with dot), in natural order (2 before 10).

    Raises:
        DataError: if the folder is absent.
    """
    if not folder.is_dir():
        raise DataError("folder is missing", where=folder, fix=OWNER)
    wanted = tuple(endings)
    return sorted(
        (entry for entry in folder.iterdir() if entry.suffix.lower() in wanted and entry.is_file()),
        key=lambda entry: natural(entry.name),
    )


def natural(name: str) -> tuple[tuple[int, str], ...]:
    """Sort key that puts numbers by their value."""
    return tuple((int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", name))


def subject_fold(rank: int, subjects: int, folds: int) -> int:
    """Number from 1 of the fold that tests a subject: contiguous blocks, the later ones larger by one.

    91 subjects in 5 folds give 18, 18, 18, 18, 19, as in HiCMAE's preparation of CREMA-D.

    Args:
        rank: place of the subject among all subjects of the full set, from 0.
        subjects: of the full set, so that a part of it keeps its folds.
        folds: how many.
    """
    small, larger = divmod(subjects, folds)
    border = (folds - larger) * small
    if rank < border:
        return rank // small + 1
    return folds - larger + (rank - border) // (small + 1) + 1


@dataclass(frozen=True)
class Entry:
    """One line of a list of clips: name, label, where it stands, and a text beside it."""

    name: str
    label: str
    path: Path
    line: int
    text: str | None = None


def tested_once(folds: Sequence[tuple[Sequence[Entry], Sequence[Entry]]]) -> list[tuple[Entry, int]]:
    """Every clip of cross-validation lists once, with the fold that tests it (0: none does), by name.

    Args:
        folds: train and test entries of fold 1, 2, ...

    Raises:
        DataError: if a clip is tested twice, is in both lists of a fold, or its label changes.
    """
    found: dict[str, tuple[Entry, int]] = {}
    for fold, (train, test) in enumerate(folds, 1):
        tested = {entry.name for entry in test}
        for entry in test:
            before = found.get(entry.name)
            if before and before[1]:
                first = before[0]
                raise fault(entry.path, entry.line, f"{entry.name} is tested before: {_place(first)}")
            _require_same(entry, before)
            found[entry.name] = (entry, fold)
        for entry in train:
            if entry.name in tested:
                raise fault(entry.path, entry.line, f"{entry.name} is in the test list of fold {fold}, too")
            _require_same(entry, found.get(entry.name))
            found.setdefault(entry.name, (entry, 0))
    return [found[name] for name in sorted(found)]


def _require_same(entry: Entry, before: tuple[Entry, int] | None) -> None:
    if before and before[0].label != entry.label:
        what = f"{entry.name} is {entry.label!r} here and {before[0].label!r} in {_place(before[0])}"
        raise fault(entry.path, entry.line, what)


def _place(entry: Entry) -> str:
    return f"{entry.path.parent.name}/{entry.path.name}, line {entry.line}"


def media_of(entry: Entry, videos: Sequence[Path], frames: Sequence[Path]) -> tuple[Path, ...]:
    """The first folder of frames that is there, else the first video file.

    Raises:
        DataError: if there is none, with the list and line that name it; if the folder holds no frames.
    """
    for folder in frames:
        if folder.is_dir():
            found = entries(folder, (".jpg", ".jpeg", ".png"))
            if not found:
                raise DataError("folder holds no frames", where=folder, fix="unpack the set again")
            return tuple(found)
    for video in videos:
        if video.is_file():
            return (video,)
    first = (*videos, *frames)[0]
    raise fault(entry.path, entry.line, f"{entry.name} lacks its file {first}", "unpack the set again")
