"""Damage to a set of shards, one fault at a time; the index is made to fit unless that is the fault."""

from __future__ import annotations

import hashlib
import json
import pickle
import random
import shutil
import struct
import tarfile
import zlib
from collections.abc import Callable
from itertools import groupby
from pathlib import Path
from typing import Any

from mien.data.index import FILE
from mien.data.tar import BLOCK

Entry = tuple[str, bytes]
"""Name and bytes of a tar member."""


def damage(source: Path, target: Path, kind: str, chance: random.Random) -> Path:
    """Copy a set and damage the copy; the copy.

    Args:
        source: a sound set.
        target: folder to make.
        kind: a key of `KINDS`.
        chance: chooses shard, sample and place.
    """
    shutil.copytree(source, target)
    shard = chance.choice(sorted(target.glob("*.tar")))
    KINDS[kind](shard, chance)
    return target


def _truncated(shard: Path, chance: random.Random) -> None:
    with shard.open("r+b") as file:
        file.truncate(chance.randrange(1, shard.stat().st_size - 1))


def _missing(shard: Path, chance: random.Random) -> None:
    shard.unlink()


def _flipped(shard: Path, chance: random.Random) -> None:
    data = bytearray(shard.read_bytes())
    data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
    shard.write_bytes(data)


def _with_sample(change: Callable[[list[Entry]], list[Entry]]) -> Callable[[Path, random.Random], None]:
    """Change the members of one sample, and let the index fit."""

    def hurt(shard: Path, chance: random.Random) -> None:
        with tarfile.open(shard) as tar:
            entries = [(member.name, _bytes(tar, member)) for member in tar.getmembers()]
        samples = [list(members) for _, members in groupby(entries, lambda entry: _key([entry]))]
        number = chance.randrange(len(samples))
        samples[number] = change(samples[number])
        _write(shard, samples)

    return hurt


def _bytes(tar: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    file = tar.extractfile(member)
    assert file is not None
    return file.read()


def _write(shard: Path, samples: list[list[Entry]]) -> None:
    blob, offsets = bytearray(), []
    for sample in samples:
        offsets.append(len(blob))
        for name, data in sample:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            blob += info.tobuf(tarfile.USTAR_FORMAT) + data + bytes(-len(data) % BLOCK)
    offsets.append(len(blob))
    blob += bytes(2 * BLOCK)
    shard.write_bytes(blob)
    index = shard.parent / FILE
    tree: dict[str, Any] = json.loads(index.read_text())
    (line,) = [line for line in tree["shards"] if line["file"] == shard.name]
    line.update(bytes=len(blob), sha256=hashlib.sha256(blob).hexdigest(), offsets=offsets)
    index.write_text(json.dumps(tree))


def _key(sample: list[Entry]) -> str:
    return sample[0][0].partition(".")[0]


def _traversal(sample: list[Entry]) -> list[Entry]:
    return [(f"../../outside/{name}", data) for name, data in sample]


def _pickle(sample: list[Entry]) -> list[Entry]:
    return [*sample, (f"{_key(sample)}.pkl", pickle.dumps({"harmless": 1}))]


def _bomb(sample: list[Entry]) -> list[Entry]:
    """A PNG of 60,000 x 60,000 pixels in a hundred bytes in place of the first picture.

    Not of a source's labels, which an editor never reads.
    """
    image = next(n for n, _ in sample if n.endswith((".jpg", ".png")) and not n.endswith(".parse.png"))
    others = [(name, data) for name, data in sample if name != image]
    return [*others, (f"{image.rpartition('.')[0]}.png", png_of(60_000, 60_000))]


def png_of(width: int, height: int) -> bytes:
    """A PNG that claims so many pixels and holds none."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    pixels = zlib.compress(b"\0")
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


KINDS: dict[str, Callable[[Path, random.Random], None]] = {
    "truncated": _truncated,
    "missing": _missing,
    "flipped": _flipped,
    "traversal": _with_sample(_traversal),
    "pickle": _with_sample(_pickle),
    "bomb": _with_sample(_bomb),
}
"""Faults by name."""
