"""`index.json`: what a set of shards holds, with a checksum per shard and the byte offset of each sample.

    {"format": 1, "schema": "emocap/1", "samples": 6000,
     "shards": [{"file": "shard-00000.tar", "samples": 2500, "bytes": ..., "sha256": "...",
                 "offsets": [0, ...]}, ...]}

`offsets` has one entry more than there are samples: the last is where the tar's end marker begins.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from mien.data.schema import SCHEMAS, validate
from mien.data.tar import BLOCK, Member, split_name, walk
from mien.errors import DataError

FILE = "index.json"
"""Name of the index inside a set's folder."""

FORMAT = 1
"""Version of the index file itself."""

MAX_INDEX = 1 << 30
"""Largest index file, in bytes."""

MAX_SAMPLE = 512 << 20
"""Largest sample with all its members, in bytes."""

_REBUILD = "run `mien data index` on the folder, or write the set again"


@dataclass(frozen=True, slots=True)
class Shard:
    """One tar of a set; `offsets` is int64 [samples + 1], strictly rising, in bytes."""

    file: str
    bytes: int
    sha256: str
    offsets: NDArray[np.int64]

    @property
    def samples(self) -> int:
        """Number of samples in the tar."""
        return len(self.offsets) - 1


@dataclass(frozen=True, slots=True)
class Index:
    """A whole set."""

    schema: str
    shards: tuple[Shard, ...]

    @property
    def samples(self) -> int:
        """Number of samples in the set."""
        return sum(shard.samples for shard in self.shards)

    @property
    def sha(self) -> str:
        """SHA-256 (hex) that stands for the content of the set: its schema and shards in order."""
        text = "\n".join([self.schema, *(shard.sha256 for shard in self.shards)])
        return hashlib.sha256(text.encode()).hexdigest()


def save(index: Index, folder: Path) -> None:
    """Write `index.json` so that it is there whole or not at all."""
    shards = [
        {
            "file": s.file,
            "samples": s.samples,
            "bytes": s.bytes,
            "sha256": s.sha256,
            "offsets": s.offsets.tolist(),
        }
        for s in index.shards
    ]
    tree = {"format": FORMAT, "schema": index.schema, "samples": index.samples, "shards": shards}
    temporary = folder / f".{FILE}.tmp"
    with temporary.open("w", encoding="utf-8") as file:
        json.dump(tree, file, separators=(",", ":"))
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(folder / FILE)
    sync_folder(folder)


def load(folder: Path) -> Index:
    """Read and check `folder/index.json`.

    Raises:
        DataError: if it is absent, too large, not JSON, of another format or schema, inconsistent, or empty.
    """
    path = folder / FILE
    if not path.is_file():
        tars = folder.is_dir() and any(folder.glob("*.tar"))
        what = "no index.json" if folder.is_dir() else "no such folder"
        raise DataError(what, where=folder, fix=_REBUILD if tars else "give the folder of a set")
    check_size(path.stat().st_size, path)
    return parse(path.read_bytes(), path)


def check_size(size: int, where: object) -> None:
    """Refuse an index of more than `MAX_INDEX` bytes with a DataError; `where` is its path or URL."""
    if size > MAX_INDEX:
        raise DataError(f"index of more than {MAX_INDEX} bytes", where=where, fix="split the set")


def parse(data: bytes, where: object) -> Index:
    """Check the content of an index.

    Args:
        data: of the file.
        where: its path or URL, for messages.

    Raises:
        DataError: if it is not JSON, of another format or schema, inconsistent, or empty.
    """
    try:
        tree = json.loads(data.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise DataError(f"not valid JSON: {error}", where=where, fix=_REBUILD) from error
    return _parse(tree, where)


def _parse(tree: Any, path: object) -> Index:
    if not isinstance(tree, dict) or tree.get("format") != FORMAT:
        found = tree.get("format") if isinstance(tree, dict) else type(tree).__name__
        raise DataError(f"index format {found!r}, this version reads {FORMAT}", where=path, fix=_REBUILD)
    if tree.get("schema") not in SCHEMAS:
        fix = f"this version reads: {', '.join(SCHEMAS)}"
        raise DataError(f"unknown schema {tree.get('schema')!r}", where=path, fix=fix)
    if not isinstance(tree.get("shards"), list):
        raise DataError("`shards` is not a list", where=path, fix=_REBUILD)
    shards = tuple(
        _parse_shard(entry, f"{path}: shards[{number}]") for number, entry in enumerate(tree["shards"])
    )
    index = Index(tree["schema"], shards)
    if index.samples == 0:
        raise DataError("the set is empty", where=path, fix="write at least one sample")
    if tree.get("samples") != index.samples:
        raise DataError(
            f"states {tree.get('samples')} samples, lists {index.samples}", where=path, fix=_REBUILD
        )
    if len({shard.file for shard in shards}) != len(shards):
        raise DataError("a shard is listed twice", where=path, fix=_REBUILD)
    return index


def _parse_shard(entry: Any, where: str) -> Shard:
    try:
        file, size, sha, offsets = (entry[key] for key in ("file", "bytes", "sha256", "offsets"))
        array = np.asarray(offsets)
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(f"shard entry is incomplete ({error})", where=where, fix=_REBUILD) from error
    if (
        not isinstance(file, str)
        or not is_plain_name(file)
        or not isinstance(size, int)
        or not isinstance(sha, str)
    ):
        raise DataError("shard entry has a wrong type or a path in `file`", where=where, fix=_REBUILD)
    if array.ndim != 1 or len(array) < 1 or array.dtype.kind != "i" or entry.get("samples") != len(array) - 1:
        raise DataError("`offsets` is not one integer per sample and the end", where=where, fix=_REBUILD)
    steps = np.diff(array)
    if array[0] < 0 or array[-1] > size or (steps <= 0).any() or (array % BLOCK).any():
        raise DataError("`offsets` do not rise in whole blocks inside the file", where=where, fix=_REBUILD)
    if (steps > MAX_SAMPLE).any():
        raise DataError(f"a sample of more than {MAX_SAMPLE} bytes", where=where, fix="split it")
    return Shard(file, size, sha, array.astype(np.int64))


def is_plain_name(name: str) -> bool:
    """Whether a name can only mean a file inside its folder, locally and in a URL."""
    return Path(name).name == name and name not in ("", ".", "..") and "\\" not in name and name.isprintable()


def build(folder: Path, schema: str | None = None) -> Index:
    """Index the tars of a folder, such as a WebDataset made by others, in the order of their names.

    Args:
        folder: holds `*.tar`; the tars are only read.
        schema: a key of `SCHEMAS`; if None, the richest schema that the first sample fits.

    Raises:
        DataError: for a folder without tars, a tar that is damaged or holds more than plain files, or a first
            sample that fits no schema.
    """
    shards = []
    files = sorted(folder.glob("*.tar"))
    if not files:
        raise DataError("no *.tar files", where=folder, fix="give the folder of a WebDataset")
    for path in files:
        shard = _scan(path)
        if shard.samples:
            schema = schema or _sniff(path, shard)
            shards.append(shard)
    if schema is None:
        raise DataError("the set is empty", where=folder, fix="write at least one sample")
    if schema not in SCHEMAS:
        raise DataError(f"unknown schema {schema!r}", where=folder, fix=f"one of: {', '.join(SCHEMAS)}")
    return Index(schema, tuple(shards))


def samples_of(
    path: Path, file: BinaryIO, size: int, *, strict: bool = False
) -> Iterator[tuple[str, list[Member]]]:
    """Key and members of each sample of an open tar, in file order: neighbours of one key are one sample.

    Raises:
        DataError: from `walk`, with the path.
    """

    def read(offset: int, length: int) -> bytes:
        return os.pread(file.fileno(), length, offset)

    key, members = "", list[Member]()
    try:
        for member in walk(read, 0, size, strict=strict):
            found = split_name(member.name)[0]
            if members and found != key:
                yield key, members
                members = []
            key = found
            members.append(member)
    except DataError as error:
        raise DataError(error.what, where=path, fix=error.fix) from error
    if members:
        yield key, members


def _scan(path: Path) -> Shard:
    size = path.stat().st_size
    starts, end = [], 0
    with path.open("rb") as file:
        for _, members in samples_of(path, file, size, strict=True):
            starts.append(members[0].start)
            end = members[-1].end
        sha = sha256_of(file)
    return Shard(path.name, size, sha, np.array([*starts, end], dtype=np.int64))


def _sniff(path: Path, shard: Shard) -> str:
    """The richest schema that the first sample fits."""
    with path.open("rb") as file:
        key, members = next(samples_of(path, file, shard.bytes))
        parts = {split_name(m.name)[1]: os.pread(file.fileno(), m.size, m.data) for m in members}
    where, reason = f"{path}: {key}", ""
    for schema in reversed(SCHEMAS):
        try:
            validate(schema, parts, where)
        except DataError as error:
            reason = error.what
        else:
            return schema
    raise DataError(f"the first sample fits no schema ({reason})", where=where, fix="see `mien data pack`")


def sha256_of(file: BinaryIO) -> str:
    """SHA-256 (hex) of a whole file, wherever it stands."""
    digest = hashlib.sha256()
    file.seek(0)
    while chunk := file.read(1 << 20):
        digest.update(chunk)
    return digest.hexdigest()


def sync_folder(folder: Path) -> None:
    """Flush a folder's entries, so that a rename in it outlives a power cut."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
