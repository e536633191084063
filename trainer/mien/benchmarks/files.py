"""Reading the small files of a benchmark: lists, tables, with messages that name file and line."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from mien.errors import DataError

MAX_LIST = 256 << 20
"""Largest list or table, in bytes."""
_FIX = "take the set as its owner publishes it"


def require(root: Path, name: str, layout: str) -> Path:
    """A file or folder of the layout.

    Raises:
        DataError: if it is absent.
    """
    path = root / name
    if not path.exists():
        raise DataError(f"lacks {name}", where=root, fix=f"expected:\n{layout}")
    return path


def inside(root: Path, name: str, where: str) -> Path:
    """The file that a list names, which must lie below `root`.

    Raises:
        DataError: if the name leads out of the folder, or there is no such file.
    """
    path = root / name
    if Path(name).is_absolute() or ".." in Path(name).parts:
        raise DataError(f"{name!r} leads out of the set", where=where, fix=_FIX)
    if not path.is_file():
        raise DataError(f"names {name!r}, which is absent", where=where, fix=f"looked for {path}")
    return path


def lines(path: Path) -> Iterator[tuple[int, str]]:
    """(line number, text without its end) of a list; empty lines are left out.

    Raises:
        DataError: if it is too large or not UTF-8.
    """
    for number, line in enumerate(_text(path).splitlines(), 1):
        if line.strip():
            yield number, line.strip()


def fields(path: Path, count: int, separator: str | None = None) -> Iterator[tuple[int, list[str]]]:
    """(line number, exactly `count` words) of a list.

    Raises:
        DataError: for a line with another number of words.
    """
    for number, line in lines(path):
        words = line.split(separator)
        if len(words) != count:
            what = f"has {len(words)} columns, not {count}"
            raise DataError(what, where=f"{path}:{number}", fix=_FIX)
        yield number, [word.strip() for word in words]


def table(path: Path, columns: tuple[str, ...]) -> Iterator[tuple[int, dict[str, str]]]:
    """(line number, cells by column) of a CSV with a head.

    Raises:
        DataError: if a column is missing or a row has another number of cells.
    """
    rows = csv.reader(_text(path).splitlines())
    try:
        head = [cell.strip() for cell in next(rows, [])]
        if missing := [name for name in columns if name not in head]:
            raise DataError(f"lacks the column {missing[0]!r}", where=path, fix=f"it has: {', '.join(head)}")
        for cells in rows:
            if not cells:
                continue
            if len(cells) != len(head):
                what = f"has {len(cells)} cells, the head {len(head)}"
                raise DataError(what, where=f"{path}:{rows.line_num}", fix=_FIX)
            yield rows.line_num, dict(zip(head, (cell.strip() for cell in cells), strict=True))
    except csv.Error as error:
        raise DataError(f"is no CSV: {error}", where=f"{path}:{rows.line_num}", fix=_FIX) from error


def tree(path: Path) -> Any:
    """Content of a JSON file.

    Raises:
        DataError: if it is none.
    """
    try:
        return json.loads(_text(path))
    except (ValueError, RecursionError) as error:
        raise DataError(f"is no JSON: {error}", where=path, fix=_FIX) from error


def number(text: str, where: str) -> int:
    """A whole number.

    Raises:
        DataError: if it is none.
    """
    try:
        return int(text)
    except ValueError as error:
        raise DataError(f"{text!r} is not a whole number", where=where, fix=_FIX) from error


def chosen(key: str, names: dict[str, str], where: str) -> str:
    """The class of a label as the set writes it.

    Raises:
        DataError: for a label that the set does not know.
    """
    if key not in names:
        known = ", ".join(map(str, names))
        raise DataError(f"unknown label {key!r}", where=where, fix=f"known: {known}")
    return names[key]


def numbered(classes: Sequence[str], first: int) -> dict[str, str]:
    """Labels that are numbers from `first` on, as texts."""
    return {str(number): name for number, name in enumerate(classes, first)}


def _text(path: Path) -> str:
    try:
        if path.stat().st_size > MAX_LIST:
            raise DataError(f"is larger than {MAX_LIST} bytes", where=path, fix=_FIX)
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(f"is not UTF-8 (byte {error.start})", where=path, fix=_FIX) from error
    except OSError as error:
        raise DataError(f"cannot be read: {error.strerror}", where=path, fix=_FIX) from error
