"""Kinds of bad shard: `write_good` makes a set, each entry of `BAD_SHARDS` damages one in place.

Where a fault is inside a sample, the index is made to fit the damaged tar: this fault is the only one.
"""

from __future__ import annotations

import hashlib
import io
import json
import pickle
import struct
import tarfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from mien.data.index import FILE

from .toys import members, write_set

SAMPLES, SAMPLES_PER_SHARD = 12, 4
SHARD = "shard-00001.tar"
"""The shard that gets the damage: samples 4 to 7."""

Entry = tuple[tarfile.TarInfo, bytes]


def write_good(path: Path) -> Path:
    """A sound set of 12 samples in 3 shards."""
    return write_set(path, SAMPLES, SAMPLES_PER_SHARD)


def entry(name: str, data: bytes, kind: bytes = tarfile.REGTYPE) -> Entry:
    info = tarfile.TarInfo(name)
    info.type, info.size = kind, len(data)
    return info, data


def _index(folder: Path, change: Callable[[dict[str, Any]], None]) -> None:
    tree = json.loads((folder / FILE).read_text())
    change(tree)
    (folder / FILE).write_text(json.dumps(tree))


def _rewrite(folder: Path, change: Callable[[list[list[Entry]]], None]) -> None:
    """Change the samples (lists of tar entries) of the shard and make its line in the index fit."""
    with tarfile.open(folder / SHARD) as tar:
        entries = [(info, tar.extractfile(info).read()) for info in tar.getmembers()]  # type: ignore[union-attr]
    samples = [entries[first : first + 2] for first in range(0, len(entries), 2)]
    change(samples)
    blob, offsets = bytearray(), []
    for sample in samples:
        offsets.append(len(blob))
        for info, data in sample:
            blob += info.tobuf(tarfile.USTAR_FORMAT) + data + bytes(-len(data) % 512)
    offsets.append(len(blob))
    _store(folder, bytes(blob) + bytes(1024), offsets)


def _store(folder: Path, blob: bytes, offsets: list[int] | None = None) -> None:
    (folder / SHARD).write_bytes(blob)

    def fit(tree: dict[str, Any]) -> None:
        shard = tree["shards"][1]
        shard["bytes"], shard["sha256"] = len(blob), hashlib.sha256(blob).hexdigest()
        if offsets is not None:
            tree["samples"] += len(offsets) - 1 - shard["samples"]
            shard["samples"], shard["offsets"] = len(offsets) - 1, offsets

    _index(folder, fit)


def _member(folder: Path, name: str, data: bytes) -> None:
    """Put other bytes into `s0005`: replace the member of that extension, or add one."""

    def change(samples: list[list[Entry]]) -> None:
        kept = [item for item in samples[1] if item[0].name != f"s0005.{name}"]
        samples[1] = sorted([*kept, entry(f"s0005.{name}", data)], key=lambda item: item[0].name)

    _rewrite(folder, change)


def _truncated(folder: Path) -> None:
    data = (folder / SHARD).read_bytes()
    (folder / SHARD).write_bytes(data[: len(data) // 2])


def _truncated_and_indexed(folder: Path) -> None:
    """Cut inside the last member, with an index that calls that the size."""
    data = (folder / SHARD).read_bytes()[:-1500]  # the end marker is 1024 bytes, the member before it 512
    _store(folder, data)
    _index(folder, lambda tree: tree["shards"][1]["offsets"].__setitem__(-1, len(data) // 512 * 512))


def _flipped(folder: Path) -> None:
    """One bit of a label: everything still reads, only the checksum tells."""
    data = bytearray((folder / SHARD).read_bytes())
    data[data.index(b"happiness")] ^= 1
    (folder / SHARD).write_bytes(bytes(data))


def _damaged_header(folder: Path) -> None:
    """Header of the second sample overwritten."""
    data = bytearray((folder / SHARD).read_bytes())
    start = json.loads((folder / FILE).read_text())["shards"][1]["offsets"][1]
    data[start : start + 512] = bytes(range(256)) * 2
    _store(folder, bytes(data))


def _huge_member(folder: Path) -> None:
    data = bytearray((folder / SHARD).read_bytes())
    start = json.loads((folder / FILE).read_text())["shards"][1]["offsets"][1]
    info = tarfile.TarInfo("s0005.jpg")
    info.size = 0o77777777777
    data[start : start + 512] = info.tobuf(tarfile.USTAR_FORMAT)
    _store(folder, bytes(data))


def _offset_shifted(folder: Path) -> None:
    """A sample that begins at its second member."""
    _index(folder, lambda tree: tree["shards"][1]["offsets"].__setitem__(1, _second_member(folder)))


def _second_member(folder: Path) -> int:
    with tarfile.open(folder / SHARD) as tar:
        return tar.getmembers()[3].offset


def png_bomb(width: int, height: int) -> bytes:
    """A PNG of a few dozen bytes that claims that many pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    pixels = zlib.compress(b"\0")
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


def _bomb(folder: Path) -> None:
    def change(samples: list[list[Entry]]) -> None:
        samples[1] = [samples[1][1], entry("s0005.png", png_bomb(60000, 60000))]

    _rewrite(folder, change)


def _object_array() -> bytes:
    target = io.BytesIO()
    np.save(target, np.array([{"a": 1}], dtype=object), allow_pickle=True)
    return target.getvalue()


def _record(**change: Any) -> bytes:
    record = json.loads(members(5)["json"]) | change
    return json.dumps({key: value for key, value in record.items() if value is not None}).encode()


def _rename(name: str) -> Callable[[Path], None]:
    """The image of `s0005` under another name."""

    def change(samples: list[list[Entry]]) -> None:
        samples[1][0] = entry(name, samples[1][0][1])

    return lambda folder: _rewrite(folder, change)


def _link(folder: Path) -> None:
    def change(samples: list[list[Entry]]) -> None:
        link = entry("s0005.png", b"", tarfile.SYMTYPE)
        link[0].linkname = "/etc/passwd"
        samples[1] = [link, samples[1][1]]

    _rewrite(folder, change)


def _again(key: str, number: int) -> Callable[[Path], None]:
    """One more sample at the end of the shard."""

    def change(samples: list[list[Entry]]) -> None:
        samples.append([entry(f"{key}.{name}", data) for name, data in sorted(members(number).items())])

    return lambda folder: _rewrite(folder, change)


def _no_image(folder: Path) -> None:
    _rewrite(folder, lambda samples: samples[1].pop(0))


BAD_SHARDS: dict[str, Callable[[Path], None]] = {
    "truncated_tar": _truncated,
    "truncated_tar_that_the_index_fits": _truncated_and_indexed,
    "flipped_bit": _flipped,
    "damaged_header": _damaged_header,
    "member_of_8_GiB": _huge_member,
    "missing_shard": lambda folder: (folder / SHARD).unlink(),
    "missing_index": lambda folder: (folder / FILE).unlink(),
    "index_not_json": lambda folder: (folder / FILE).write_text('{"format": 1, "sch'),  # type: ignore[dict-item]
    "index_not_utf8": lambda folder: (folder / FILE).write_bytes(b"\xff\xfe\x00"),  # type: ignore[dict-item]
    "index_of_another_format": lambda folder: _index(folder, lambda tree: tree.update(format=99)),
    "index_of_another_schema": lambda folder: _index(folder, lambda tree: tree.update(schema="labelled/99")),
    "index_of_nothing": lambda folder: _index(folder, lambda tree: tree.update(shards=[], samples=0)),
    "index_with_a_path": lambda folder: _index(
        folder, lambda tree: tree["shards"][1].update(file="../../etc/passwd")
    ),
    "offset_outside_the_file": lambda folder: _index(
        folder, lambda tree: tree["shards"][1]["offsets"].__setitem__(-1, 1 << 40)
    ),
    "offset_inside_a_sample": _offset_shifted,
    "pickle_member": lambda folder: _member(folder, "pkl", pickle.dumps({"a": 1})),
    "pickled_array": lambda folder: _member(folder, "npy", _object_array()),
    "member_of_unknown_kind": lambda folder: _member(folder, "exe", b"MZ"),
    "missing_image": _no_image,
    "undecodable_jpeg": lambda folder: _member(folder, "jpg", members(5)["jpg"][:200]),
    "image_that_is_text": lambda folder: _member(folder, "jpg", b"not an image"),
    "pixel_bomb": _bomb,
    "broken_json": lambda folder: _member(folder, "json", b'{"uid": 5, "label":'),
    "json_not_utf8": lambda folder: _member(folder, "json", b'{"uid": 5, "label": "\xff"}'),
    "json_too_deep": lambda folder: _member(folder, "json", b"[" * 200_000),
    "record_without_label": lambda folder: _member(folder, "json", _record(label=None)),
    "uid_beyond_int64": lambda folder: _member(folder, "json", _record(uid=1 << 63)),
    "path_traversal": _rename("../../outside/s0005.jpg"),
    "absolute_path": _rename("/tmp/s0005.jpg"),
    "control_characters": _rename("s0005\x1b[2J.jpg"),
    "symbolic_link": _link,
    "duplicate_key": _again("s0000", 50),
    "duplicate_uid": _again("s0050", 0),
}
"""Damage by name; every one makes `mien data check` fail with one line."""

ONLY_CHECK = ("flipped_bit", "duplicate_key", "duplicate_uid")
"""Damage that reading sample by sample cannot see."""
