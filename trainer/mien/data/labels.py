"""A labels file (CSV, UTF-8, with a header) read row by row; a fault of a row is reported, not raised."""

from __future__ import annotations

import csv
import difflib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from mien.errors import DataError

MAX_LINE = 1 << 20
"""Longest line of a labels file, in bytes."""


@dataclass(frozen=True, slots=True)
class Row:
    """An image, its class and its person; `line` counts from 1 and includes the header."""

    line: int
    image: str
    label: str
    group: str


@dataclass(frozen=True, slots=True)
class RowFault:
    """A row that cannot be used."""

    line: int
    image: str
    reason: str

    def __str__(self) -> str:
        # repr: text of a stranger's file must not steer the terminal.
        return (
            f"line {self.line}: {self.image!r}: {self.reason}"
            if self.image
            else f"line {self.line}: {self.reason}"
        )


def read_labels(path: Path, *, image: str, label: str, group: str | None) -> Iterator[Row | RowFault]:
    """Rows of a labels file in order, values without surrounding blanks; empty lines are passed over.

    Args:
        path: the file.
        image: column of the image's path.
        label: column of the class.
        group: column of the person; None: each image is a group of its own, named by its path.

    Raises:
        DataError: if the file cannot be read at all: a header that is not UTF-8 or lacks a column (all
            missing ones in one message, with the nearest that is there).
    """
    with path.open("rb") as file:
        lines = _Lines(file, path)
        reader = csv.reader(iter(lines), strict=True)
        places = _places(reader, lines, path, [image, label, *([group] if group is not None else [])])
        line = reader.line_num
        while True:
            try:
                values = next(reader, None)
            except csv.Error as error:
                yield RowFault(line + 1, "", f"not valid CSV: {error}")
                line = reader.line_num
                lines.damaged = None
                continue
            if values is None:
                return
            if values:
                yield _row(line + 1, values, places, lines.damaged)
            line, lines.damaged = reader.line_num, None


class _Lines:
    """Lines as text; `damaged` says where the newest one that is not UTF-8 goes wrong."""

    def __init__(self, file: BinaryIO, path: Path) -> None:
        self.file = file
        self.path = path
        self.damaged: str | None = None

    def __iter__(self) -> Iterator[str]:
        number = 0
        while raw := self.file.readline(MAX_LINE + 1):
            number += 1
            if len(raw) > MAX_LINE:
                what = f"line {number} is longer than {MAX_LINE} bytes"
                raise DataError(what, where=self.path, fix="give a CSV file with one image a line")
            try:
                yield raw.decode("utf-8-sig" if number == 1 else "utf-8")
            except UnicodeDecodeError as error:
                self.damaged = f"not UTF-8 (byte {error.start + 1} of line {number})"
                yield raw.decode("utf-8", "replace")


@dataclass(frozen=True, slots=True)
class _Places:
    width: int
    columns: list[int]
    """Of image, label and, if asked for, group."""
    names: list[str]


def _places(reader: Iterator[list[str]], lines: _Lines, path: Path, wanted: list[str]) -> _Places:
    try:
        header = [name.strip() for name in next(reader, [])]
    except csv.Error as error:
        raise DataError(
            f"header is not valid CSV: {error}", where=path, fix="save it as plain CSV"
        ) from error
    if lines.damaged:
        raise DataError(f"header is {lines.damaged}", where=path, fix="save the file as UTF-8")
    if not any(header):
        raise DataError("no header", where=path, fix="name the columns in the first line")
    problems = []
    for name in wanted:
        if header.count(name) > 1:
            problems.append(f"column {name!r} is there {header.count(name)} times")
        elif name not in header:
            near = difflib.get_close_matches(name, header, 1, 0.5)
            problems.append(f"no column {name!r}" + (f" (did you mean {near[0]!r}?)" if near else ""))
    if problems:
        columns = ", ".join(map(repr, header[:20]))
        raise DataError("; ".join(problems), where=path, fix=f"the header has: {columns}")
    return _Places(len(header), [header.index(name) for name in wanted], wanted)


def _row(line: int, values: list[str], places: _Places, damaged: str | None) -> Row | RowFault:
    if damaged:
        return RowFault(line, "", damaged)
    if len(values) != places.width:
        return RowFault(line, "", f"has {len(values)} values, the header has {places.width}")
    found = [values[column].strip() for column in places.columns]
    empty = [name for name, value in zip(places.names, found, strict=True) if not value]
    if empty:
        return RowFault(line, found[0], f"{' and '.join(map(repr, empty))} empty")
    return Row(line, found[0], found[1], found[2] if len(found) > 2 else found[0])
