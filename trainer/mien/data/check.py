"""Verify a set: the index against its tars, and each sample against the schema. Changes nothing."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

import numpy as np
from rich.console import Console
from rich.progress import Progress

from mien.data import index as index_file
from mien.data.decode import decode
from mien.data.index import FILE, Index, Shard, samples_of, sha256_of
from mien.data.location import locate
from mien.data.retry import RemoteError
from mien.data.schema import IMAGES, VIDEOS, Record, validate, video_member
from mien.data.source import FolderSource, RemoteSource, open_source
from mien.data.tar import Member, split_name
from mien.data.video import read_frames
from mien.errors import DataError

_SHOWN = 50
_MEND = "copy or write the set again; `mien data index` accepts the tars as they are, if each is whole"


@dataclass(frozen=True, slots=True)
class Problem:
    """What is wrong with a shard, or with one sample of it (`sample` counts from 0 in the shard)."""

    shard: str
    reason: str
    sample: int | None = None
    key: str = ""

    def __str__(self) -> str:
        place = "" if self.sample is None else f" sample {self.sample} {self.key!r}:"
        return f"{self.shard}:{place} {self.reason}"


class CheckError(DataError):
    """A set with problems; `str` has one line for each of the first 50, and how many more."""

    def __init__(self, report: CheckReport) -> None:
        self.report = report
        super().__init__(f"{len(report.problems)} problems", where=report.folder, fix=_MEND)
        lines = [f"{report.folder}/{problem}" for problem in report.problems[:_SHOWN]]
        if (more := len(report.problems) - _SHOWN) > 0:
            lines.append(f"{report.folder}: and {more} more")
        Exception.__init__(self, "\n".join(lines))


@dataclass(slots=True)
class CheckReport:
    """What `check` found."""

    folder: Path | str
    schema: str = ""
    shards: int = 0
    samples: int = 0
    bytes: int = 0
    problems: list[Problem] = field(default_factory=list)
    """What has to be mended."""
    notes: list[Problem] = field(default_factory=list)
    """What may be meant: images that are there twice, tars that the index does not list."""

    @property
    def ok(self) -> bool:
        """No problem found; notes do not count."""
        return not self.problems

    def __str__(self) -> str:
        size = f"{self.samples} samples in {self.shards} shards, {self.bytes / 1e6:.1f} MB, {self.schema}"
        end = "ok" if self.ok else f"{len(self.problems)} problems"
        return f"{self.folder}: {size}: {end}" + (f", {len(self.notes)} notes" if self.notes else "")

    def raise_if_bad(self) -> None:
        """Raise what the command line prints.

        Raises:
            CheckError: if there is a problem.
        """
        if not self.ok:
            raise CheckError(self)


def check(folder: Path | str, deep: bool = True, progress: bool = False) -> CheckReport:
    """Verify a set.

    Args:
        folder: holds `index.json`; or the URL of one.
        deep: also read every sample: schema, no pickles, images decode, keys and uids are unique. Without it:
            index, sizes, checksums, tar headers and offsets; of a remote set, index and sizes.
        progress: show a bar on stderr.

    Returns:
        Every problem; an unusable index is the only one then. Never raises for a damaged set.

    Raises:
        RemoteError: for a server that cannot be read.
    """
    place = locate(folder)
    report = CheckReport(place)
    try:
        index, source = open_source(place)
    except RemoteError:
        raise
    except DataError as error:
        report.problems.append(Problem(FILE, error.what))
        return report
    report.schema, report.shards, report.samples = index.schema, len(index.shards), index.samples
    report.bytes = sum(shard.bytes for shard in index.shards)
    seen = _Seen(report) if deep else None
    with Progress(console=Console(stderr=True), transient=True, disable=not progress) as bar:
        task = bar.add_task("check", total=report.bytes)
        for shard in index.shards:
            _Check(source, shard, index, report, seen).run()
            bar.advance(task, shard.bytes)
    report.notes += [Problem(name, "is not in the index") for name in source.strays(index)]
    return report


@dataclass(slots=True)
class _Check:
    """One shard."""

    source: FolderSource | RemoteSource
    shard: Shard
    index: Index
    report: CheckReport
    seen: _Seen | None

    def run(self) -> None:
        try:
            found = self.source.size(self.shard.file)
            if found is None:
                self._problem("shard file is missing")
            elif found != self.shard.bytes:
                cut = "is cut short" if found < self.shard.bytes else "has grown"
                self._problem(f"shard {cut}: {found} bytes, index states {self.shard.bytes}")
            elif self.seen is not None or isinstance(self.source, FolderSource):
                with self.source.opened(self.shard) as file:
                    self._contents(file)
        except OSError as error:
            self._problem(f"cannot be read: {error.strerror}")

    def _problem(self, reason: str, sample: int | None = None, key: str = "") -> None:
        self.report.problems.append(Problem(self.shard.file, reason, sample, key))

    def _contents(self, file: BinaryIO) -> None:
        if sha256_of(file) != self.shard.sha256:
            self._problem("content has changed: SHA-256 is not the one in the index")
        starts, end = [], 0
        try:
            for number, (key, members) in enumerate(
                samples_of(Path(self.shard.file), file, self.shard.bytes, strict=True)
            ):
                starts.append(members[0].start)
                end = members[-1].end
                if self.seen is not None:
                    self._sample(file, number, key, members)
        except DataError as error:
            self._problem(error.what)
            return
        self._offsets(np.array([*starts, end], dtype=np.int64))

    def _offsets(self, found: np.ndarray) -> None:
        stated = self.shard.offsets
        if len(found) != len(stated):
            self._problem(f"holds {len(found) - 1} samples, index states {self.shard.samples}")
        elif (wrong := np.flatnonzero(found != stated)).size:
            first = int(wrong[0])
            what = "ends" if first == self.shard.samples else f"sample {first} begins"
            places = f"at byte {found[first]}, index states {stated[first]}"
            self._problem(f"{what} {places} ({wrong.size} wrong offsets)")

    def _sample(self, file: BinaryIO, number: int, key: str, members: list[Member]) -> None:
        assert self.seen is not None
        parts: dict[str, bytes] = {}
        if sum(member.size for member in members) > index_file.MAX_SAMPLE:
            self._problem(f"sample of more than {index_file.MAX_SAMPLE} bytes", number, key)
            return
        for member in members:
            extension = split_name(member.name)[1]
            if extension in parts:
                self._problem(f"member .{extension} is there twice", number, key)
            parts[extension] = os.pread(file.fileno(), member.size, member.data)
        try:
            record = validate(self.index.schema, parts)
            for name in parts:
                if name.rpartition(".")[2] in IMAGES:
                    decode(parts[name])
            if (video := video_member(parts)) is not None:
                read_frames(video, lambda total: [total - 1])
        except DataError as error:
            self._problem(error.what, number, key)
            return
        for reason in self.seen.problems(self.shard.file, number, key, record, parts):
            self._problem(reason, number, key)


class _Seen:
    """Keys, uids and images met so far; 16 bytes stand for a key or an image, so large sets fit in memory."""

    def __init__(self, report: CheckReport) -> None:
        self.report = report
        self._first: dict[bytes, tuple[str, int]] = {}

    def problems(
        self, shard: str, number: int, key: str, record: Record, parts: dict[str, bytes]
    ) -> Iterator[str]:
        """Reasons; twins among the images go to the notes of the report."""
        here = (shard, number)
        first = self._meet(b"key", key.encode(), here)
        if first is not None:
            yield f"key is also that of {_place(first)}"
        elif (first := self._meet(b"uid", str(record["uid"]).encode(), here)) is not None:
            yield f"uid {record['uid']} is also that of {_place(first)}"
        # A pair has neither: its pictures are in other pairs of the video too.
        media = next((parts[name] for name in (*IMAGES, *VIDEOS) if name in parts), None)
        if media is not None and (first := self._meet(b"image", media, here)) is not None:
            what = "image" if any(name in parts for name in IMAGES) else "video"
            self.report.notes.append(Problem(shard, f"same {what} as {_place(first)}", number, key))

    def _meet(self, kind: bytes, data: bytes, here: tuple[str, int]) -> tuple[str, int] | None:
        """The earlier place with the same thing, if any."""
        first = self._first.setdefault(hashlib.blake2b(data, digest_size=16, person=kind).digest(), here)
        return None if first is here else first


def _place(place: tuple[str, int]) -> str:
    return f"{place[0]} sample {place[1]}"
