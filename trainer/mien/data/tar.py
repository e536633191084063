"""The part of the tar format that WebDataset shards use, read from bytes: regular members, nothing else.

Nothing is ever extracted to disk. Links, devices, folders with data and members beyond `MAX_MEMBER` are
refused. Names that lead out of the folder are refused too, for the sake of those who unpack with other tools.
Long names (pax `x`, GNU `L` headers) are understood, since Python's tarfile and webdataset write them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

from mien.errors import DataError

BLOCK = 512
"""Unit of a tar file: headers are one block, data is padded to a multiple of it."""

MAX_MEMBER = 256 << 20
"""Largest member, in bytes."""

_KINDS = {b"1": "a hard link", b"2": "a symbolic link", b"3": "a device", b"4": "a device", b"6": "a pipe"}
_END = bytes(BLOCK)


class Member(NamedTuple):
    """A regular file in a tar: name, first header block, and where its data lies (in bytes)."""

    name: str
    start: int
    data: int
    size: int

    @property
    def end(self) -> int:
        """First byte behind the padded data."""
        return self.data + padded(self.size)


def padded(size: int) -> int:
    """`size` rounded up to whole blocks."""
    return -(-size // BLOCK) * BLOCK


def split_name(name: str) -> tuple[str, str]:
    """Key and extension of a member as WebDataset has it: the base name is cut at its first dot."""
    folder, slash, base = name.removeprefix("./").rpartition("/")
    stem, _, extension = base.partition(".")
    return folder + slash + stem, extension


def walk(
    read: Callable[[int, int], bytes], start: int, stop: int, *, strict: bool = False
) -> Iterator[Member]:
    """Members between two byte offsets, up to the end marker.

    Args:
        read: gives `length` bytes at `offset`, fewer at the end of the file.
        start: offset of a header.
        stop: offset behind the last byte.
        strict: also verify each header's checksum, and that there is an end marker.

    Raises:
        DataError: with the offset, where the bytes are no header, are cut short, or more than plain files.
    """
    position, first, long_name = start, None, None
    while position + BLOCK <= stop:
        header = read(position, BLOCK)
        if header == _END:
            return
        kind, size = _parse(header, position, strict)
        begin, first = first if first is not None else position, None
        data = position + BLOCK
        if data + size > stop:
            raise DataError(f"tar is cut short at byte {position}", fix="copy or write the shard again")
        position = data + padded(size)
        if kind in b"xL":
            long_name = _long_name(kind, read(data, size)) or long_name
            first = begin
        elif kind in b"0\0":
            yield Member(_tame(long_name or _name(header)), begin, data, size)
            long_name = None
        elif kind not in b"g5":
            name = long_name or _name(header)
            raise DataError(
                f"member {name!r} is {_KINDS.get(kind, 'not a plain file')}", fix="store plain files only"
            )
    if strict:
        raise DataError(
            "tar has no end marker, so it is cut short or unfinished", fix="copy or write the shard again"
        )


def _parse(header: bytes, position: int, strict: bool) -> tuple[bytes, int]:
    """Type and data size of a header block."""
    if len(header) < BLOCK or header[257:262] != b"ustar" or (strict and not _sum_fits(header)):
        raise DataError(
            f"no tar header at byte {position}", fix="rebuild the index, or write the shard again"
        )
    try:
        size = int(header[124:136].rstrip(b" \0") or b"0", 8)
    except ValueError as error:
        raise DataError(f"tar header at byte {position} has no size", fix="write the shard again") from error
    if not 0 <= size <= MAX_MEMBER:
        raise DataError(f"member of {size} bytes at byte {position}, more than {MAX_MEMBER}", fix="split it")
    return header[156:157], size


def _sum_fits(header: bytes) -> bool:
    stated = header[148:156].strip(b" \0")
    return stated.isdigit() and int(stated, 8) == sum(header[:148]) + 256 + sum(header[156:])


def _tame(name: str) -> str:
    """The name itself, if it is safe to print and to unpack with other tools."""
    if name.startswith("/") or (".." in name and ".." in name.split("/")):
        raise DataError(f"member {name!r} leads out of the folder", fix="write the shard again")
    if not name.isprintable():
        raise DataError(f"member {name!r} has control characters in its name", fix="write the shard again")
    return name


def _name(header: bytes) -> str:
    name = header[:100].rstrip(b"\0")
    if header[345] and header[257:263] == b"ustar\0":
        name = header[345:500].rstrip(b"\0") + b"/" + name
    return name.decode("utf-8", "replace")


def _long_name(kind: bytes, data: bytes) -> str | None:
    """Name in a GNU `L` header or the `path` of a pax header; None where a pax header has no path."""
    if kind == b"L":
        return data.rstrip(b"\0").decode("utf-8", "replace")
    while data:
        length, _, _ = data.partition(b" ")
        if not length.isdigit() or not 0 < int(length) <= len(data):
            raise DataError("pax header is garbled", fix="write the shard again")
        key, _, value = data[len(length) + 1 : int(length) - 1].partition(b"=")
        if key == b"path":
            return value.decode("utf-8", "replace")
        data = data[int(length) :]
    return None
