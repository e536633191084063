"""A folder of images and a labels file to shards of schema `labelled/1`."""

from __future__ import annotations

import csv
import hashlib
import json
import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.progress import track

from mien.data.images import load_image
from mien.data.labels import Row, RowFault, read_labels
from mien.data.staging import staged
from mien.data.writer import ShardWriter
from mien.errors import DataError

SKIPPED = "skipped.csv"
"""Rows left out with `skip_bad`, in the folder of the set: line, image, reason."""

_SHOWN = 20


class PackError(DataError):
    """Rows of a labels file that cannot be packed; `str` has a line for the first 20 each and the count."""

    def __init__(self, labels: Path, faults: list[RowFault]) -> None:
        self.faults = faults
        lines = [f"{labels}: {fault}" for fault in faults[:_SHOWN]]
        if len(faults) > _SHOWN:
            lines.append(f"{labels}: and {len(faults) - _SHOWN} more lines like these")
        fix = "nothing was written; mend the lines, or leave them out with --skip-bad"
        super().__init__(f"{len(faults)} lines cannot be packed", where=labels, fix=fix)
        # As for a recipe, every problem has a line of its own; the sum and the way out come last.
        Exception.__init__(self, "\n".join([*lines, f"{labels}: {self.what}; {fix}"]))


@dataclass(frozen=True, slots=True)
class PackReport:
    """What `pack` wrote."""

    out: Path
    samples: int
    shards: int
    labels: dict[str, int]
    """Samples of each class."""
    groups: int
    """Distinct persons."""
    skipped: tuple[RowFault, ...]

    def __str__(self) -> str:
        classes = ", ".join(f"{label} {count}" for label, count in sorted(self.labels.items()))
        text = (
            f"{self.out}: {self.samples} samples of {self.groups} groups in {self.shards} shards ({classes})"
        )
        return text + (f"; {len(self.skipped)} lines left out, see {SKIPPED}" if self.skipped else "")


def pack(
    folder: Path,
    out: Path,
    *,
    labels: Path,
    image: str,
    label: str,
    group: str | None = None,
    samples_per_shard: int = 2500,
    skip_bad: bool = False,
    progress: bool = True,
) -> PackReport:
    """Pack images into a set, in the order of the labels file.

    The record of each sample is `{"uid", "label", "group", "source"}`; `source` is the path as the file has
    it, `uid` a hash of it, so it stays the same when rows are added. One image is in memory at a time.

    Args:
        folder: what the image paths are relative to; nothing outside it is read.
        out: absent or empty; appears when the set is complete.
        labels: CSV in UTF-8 with a header.
        image: column of the image paths.
        label: column of the class.
        group: column of the person, by which sets are split; None: each image is a group of its own.
        samples_per_shard: samples in every shard but the last.
        skip_bad: leave out rows that cannot be packed and list them in `skipped.csv`.
        progress: show a bar on stderr.

    Raises:
        PackError: with every row that cannot be packed, by line.
        DataError: if folder, header or `out` cannot be used, or no row is left.
    """
    if not folder.is_dir():
        raise DataError("no such folder", where=folder, fix="give the folder that the image paths start from")
    if not labels.is_file():
        raise DataError("no such labels file", where=labels, fix="give a CSV file with a header")
    faults: list[RowFault] = []
    classes: Counter[str] = Counter()
    groups: set[str] = set()
    with staged(out) as partial:
        with ShardWriter(partial, "labelled/1", samples_per_shard) as writer:
            rows = read_labels(labels, image=image, label=label, group=group)
            for number, (row, members) in enumerate(_load(rows, folder, faults, labels, progress)):
                if faults and not skip_bad:
                    continue  # nothing will be kept; the rest is read for its faults only
                writer.write(f"{number:08d}", members)
                classes[row.label] += 1
                groups.add(row.group)
            if faults and not skip_bad:
                raise PackError(labels, faults)
            if not classes:
                what = "every line is bad" if faults else "no rows"
                raise DataError(what, where=labels, fix=f"the first: {faults[0]}" if faults else "add rows")
        if faults:
            _list_skipped(faults, partial / SKIPPED)
    samples = sum(classes.values())
    shards = -(-samples // samples_per_shard)
    return PackReport(out, samples, shards, dict(classes), len(groups), tuple(faults))


def _load(
    entries: Iterator[Row | RowFault], folder: Path, faults: list[RowFault], labels: Path, progress: bool
) -> Iterator[tuple[Row, dict[str, bytes]]]:
    """Good rows with their members; the others end up in `faults`."""
    root = os.path.realpath(folder)
    seen: dict[str, Row] = {}
    for entry in _track(entries, labels, progress):
        if isinstance(entry, RowFault):
            faults.append(entry)
            continue
        try:
            path = _path(root, entry, seen)
            extension, data = load_image(path)
        except DataError as error:
            faults.append(RowFault(entry.line, entry.image, error.what))
            continue
        yield entry, {extension: data, "json": _record(entry)}


def _path(root: str, row: Row, seen: dict[str, Row]) -> Path:
    """The image of a row, inside the folder and not taken by an earlier row."""
    if "\0" in row.image:
        raise DataError("path holds a zero byte")
    path = os.path.realpath(os.path.join(root, row.image))
    if not path.startswith(root.rstrip(os.sep) + os.sep):
        raise DataError("path leads out of the folder")
    first = seen.setdefault(path, row)
    if first is not row:
        same = (first.label, first.group) == (row.label, row.group)
        raise DataError(
            f"same image as line {first.line}" + ("" if same else ", with another label or group")
        )
    if not os.path.isfile(path):
        exists = os.path.exists(path)
        raise DataError("not a plain file" if exists else f"absent (paths are relative to {root})")
    return Path(path)


def _record(row: Row) -> bytes:
    uid = int.from_bytes(hashlib.blake2b(row.image.encode(), digest_size=8).digest(), "big") >> 1
    record = {"uid": uid, "label": row.label, "group": row.group, "source": row.image}
    return json.dumps(record, ensure_ascii=False).encode()


def _list_skipped(faults: list[RowFault], path: Path) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["line", "image", "reason"])
        writer.writerows([fault.line, fault.image, fault.reason] for fault in faults)


def _track(entries: Iterator[Row | RowFault], labels: Path, progress: bool) -> Iterator[Row | RowFault]:
    if not progress:
        return entries
    with labels.open("rb") as file:
        total = sum(chunk.count(b"\n") for chunk in iter(lambda: file.read(1 << 20), b""))
    return iter(track(entries, "pack", total, console=Console(stderr=True), transient=True))
