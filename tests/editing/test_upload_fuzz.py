"""Random and damaged files: a photo or a DataError, nothing else."""

from __future__ import annotations

import struct

import hostile_files as hostile
import numpy as np
from hostile_files import encode, picture
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from mien.editing import upload
from mien.editing.upload import Photo, read_photo
from mien.errors import DataError

PLAIN = picture()


def _photo_or_error(data: bytes) -> None:
    try:
        photo = read_photo(data, "fuzz")
    except DataError:
        return
    assert isinstance(photo, Photo)
    assert photo.pixels.dtype == np.uint8
    assert photo.pixels.ndim == 3
    assert photo.pixels.shape[2] == 3


def _seeds() -> list[bytes]:
    exif = Image.Exif()
    exif[0x0112], exif[0x010E] = 6, "words"
    exif.get_ifd(0x8769)[0x9286] = b"ASCII\0\0\0words"
    profile = hostile.swapped_profile()
    frames = {"save_all": True, "append_images": [Image.fromarray(255 - PLAIN)]}
    alpha = np.concatenate([PLAIN, PLAIN[..., :1]], axis=2)
    palette = Image.fromarray(PLAIN).quantize(8)
    return [
        encode(PLAIN, "PNG", exif=exif, icc_profile=profile),
        encode(PLAIN, "PNG", **frames),
        encode(palette, "PNG", transparency=3),
        encode(alpha, "PNG"),
        encode(PLAIN, "JPEG", exif=exif, icc_profile=profile),
        encode(PLAIN, "JPEG", progressive=True),
        encode(Image.fromarray(PLAIN).convert("CMYK"), "JPEG"),
        encode(PLAIN, "WEBP", exif=exif, icc_profile=profile),
        encode(alpha, "WEBP", lossless=True, **frames),
        encode(PLAIN, "BMP"),
        encode(PLAIN, "TIFF", exif=exif),
        encode(PLAIN, "TIFF", compression="tiff_lzw", **frames),
    ]


SEEDS = _seeds()
QUIET = settings(max_examples=400, deadline=None, derandomize=True)


@given(st.binary(max_size=400), st.sampled_from([b"", *upload._STARTS, b"RIFF\x40\0\0\0WEBPVP8 "]))
@QUIET
def test_random_bytes_give_a_photo_or_an_error(tail, head):
    _photo_or_error(head + tail)


@given(st.sampled_from(SEEDS), st.data())
@QUIET
def test_cut_files_give_a_photo_or_an_error(data, draw):
    _photo_or_error(data[: draw.draw(st.integers(0, len(data)))])


@given(st.sampled_from(SEEDS), st.data())
@QUIET
def test_flipped_bits_give_a_photo_or_an_error(data, draw):
    changed = bytearray(data)
    # Half of the flips fall on the head, where sizes and tags stand.
    places = st.integers(0, 8 * len(data) - 1) | st.integers(0, 8 * min(len(data), 400) - 1)
    for place in draw.draw(st.lists(places, min_size=1, max_size=12)):
        changed[place // 8] ^= 1 << place % 8
    if changed[:8] == b"\x89PNG\r\n\x1a\n":
        changed = bytearray(_checksums_mended(bytes(changed)))
    _photo_or_error(bytes(changed))


def _checksums_mended(data: bytes) -> bytes:
    """Else nearly each flip ends at the checksum, and none reaches what reads the chunk."""
    at, parts = 8, [data[:8]]
    while at + 12 <= len(data):
        length = struct.unpack(">I", data[at : at + 4])[0]
        if at + 12 + length > len(data):
            break
        parts.append(hostile.chunk(data[at + 4 : at + 8], data[at + 8 : at + 8 + length]))
        at += 12 + length
    return b"".join(parts) + data[at:]
