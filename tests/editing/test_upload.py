"""A stranger's file gives the right pixels or one clear line, and leaves nothing behind."""

from __future__ import annotations

import hashlib
import io
import os
import pickle
import tracemalloc
import zipfile
from pathlib import Path

import hostile_files as hostile
import numpy as np
import pytest
from hostile_files import SIDE, encode, picture
from PIL import Image

from mien.editing import upload
from mien.editing.upload import read_photo
from mien.errors import DataError

PLAIN = picture()


@pytest.fixture(autouse=True)
def _writes_nothing(tmp_path, monkeypatch):
    """Each test runs in an empty folder that has to stay empty."""
    inner = tmp_path / "cwd"
    inner.mkdir()
    monkeypatch.chdir(inner)
    yield
    assert not list(inner.iterdir())


def _archive() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("../../x.png", encode(PLAIN, "PNG"))
    return buffer.getvalue()


def _truncated(kind: str, part: float, **options) -> bytes:
    data = encode(picture(200, 200), kind, **options)
    return data[: int(len(data) * part)]


def _many_scans() -> bytes:
    scan = (0xDA, b"\3\1\0\2\0\3\0\0\x3f\0")
    return hostile.with_segments(encode(PLAIN, "JPEG"), *[scan] * 200)


REFUSED = {
    "empty": (b"", "file is empty"),
    "html named jpg": (b"<!doctype html><script>alert(1)</script>", "not a photo but HTML, SVG or XML"),
    "svg": (b"\xef\xbb\xbf\n <svg xmlns='http://www.w3.org/2000/svg'/>", "not a photo but HTML, SVG or XML"),
    "text": (b"just some words", "not a photo but something else"),
    "program": (b"\x7fELF\x02\x01\x01" + bytes(60), "not a photo but a program"),
    "zip": (_archive(), "not a photo but a zip archive"),
    "pickle": (pickle.dumps({"a": np.zeros(3)}), "not a photo but a pickle"),
    "gif": (encode(PLAIN, "GIF"), "not a photo but a GIF"),
    "avif": (b"\0\0\0\x20ftypavif" + bytes(40), "not a photo but a video, or a HEIC or AVIF"),
    "pdf": (b"%PDF-1.7\n" + bytes(40), "not a photo but a PDF"),
    "png signature only": (b"\x89PNG\r\n\x1a\n", "cannot be decoded|none of the formats"),
    "png cut": (_truncated("PNG", 0.5), "cannot be decoded: image file is truncated"),
    "jpeg cut": (_truncated("JPEG", 0.5), "cannot be decoded: image file is truncated"),
    "progressive jpeg cut": (_truncated("JPEG", 0.4, progressive=True), "cannot be decoded"),
    "webp cut": (_truncated("WEBP", 0.5), "cannot be decoded|none of the formats"),
    "bmp cut": (_truncated("BMP", 0.5), "cannot be decoded"),
    "tiff cut": (_truncated("TIFF", 0.5), "cannot be decoded|none of the formats"),
    "png claims 65535 x 65535": (hostile.png(65535, 65535), "too large"),
    "png claims 2^31": (hostile.png(2**31 - 1, 2**31 - 1), "too large|cannot be decoded"),
    "jpeg claims 65000 x 65000": (hostile.jpeg_header(65000, 65000), "too large"),
    "webp claims 16383 x 16383": (hostile.webp_header(16383, 16383), "too large|cannot be decoded"),
    "bmp claims 100000 x 100000": (hostile.bmp_header(100_000, 100_000), "too large"),
    "tiff claims 2^31": (hostile.tiff_header(2**31, 2**31), "too large|cannot be decoded"),
    "png of no pixels": (hostile.png(0, 0), "too small|cannot be decoded|none of the formats"),
    "one pixel": (encode(picture(1, 1), "PNG"), "too small: 1 x 1"),
    "thin": (encode(picture(4, 5000), "PNG"), "too small: 5000 x 4"),
    "png with a bomb as profile": (
        hostile.png(SIDE, SIDE, hostile.chunk(b"iCCP", b"x\0\0" + hostile.bomb())), "cannot be decoded",
    ),
    "png with a bomb as text": (
        hostile.png(SIDE, SIDE, hostile.chunk(b"zTXt", b"x\0\0" + hostile.bomb())), "cannot be decoded",
    ),
    "png with a bomb as pixels that are not there": (
        hostile.png(SIDE, SIDE, hostile.chunk(b"iTXt", b"x\0\1\0\0\0" + hostile.bomb())), "cannot be decoded",
    ),
    "png with wrong checksum": (
        encode(PLAIN, "PNG").replace(b"IDAT", b"IDAX"), "cannot be decoded|none of the formats",
    ),
    "palette png without its palette": (
        hostile.png(SIDE, SIDE, colour=3, rows=hostile.png_rows(PLAIN[..., 0])), "palette is missing",
    ),
    "tiff whose place of pixels is a float": (
        hostile.tiff_header(SIDE, SIDE).replace(b"\x11\1\4\0", b"\x11\1\x0b\0") + bytes(SIDE * SIDE),
        "a tag of a wrong type",
    ),
    "jpeg of 200 scans": (_many_scans(), "more than 100 scans"),
    "float tiff": (encode(Image.new("F", (SIDE, SIDE)), "TIFF"), "more than 8 bits"),
    "bmp in disguise": (
        b"BM" + bytes(range(256)) * 2, "cannot be decoded|none of the formats|too large|too small",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_bad_file_gets_one_clear_line_and_little_memory(case):
    data, expected = REFUSED[case]
    tracemalloc.start()
    with pytest.raises(DataError, match=expected) as caught:
        read_photo(data, "../../holiday.jpg")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    text = str(caught.value)
    assert text.startswith("holiday.jpg: ")
    assert caught.value.fix
    assert "\n" not in text
    assert ".py" not in text
    assert peak < 16 << 20


def test_huge_headers_take_no_memory_of_the_process():
    """What C libraries take is not seen by tracemalloc."""

    def resident() -> int:
        return int(Path("/proc/self/statm").read_text().split()[1]) * 4096

    before = resident()
    for data in (hostile.webp_header(9000, 9000), hostile.jpeg_header(9000, 9000), hostile.png(9000, 9000)):
        with pytest.raises(DataError):
            read_photo(data)
    assert resident() - before < 40 << 20


def test_limits_hold_before_anything_is_decoded(tmp_path, monkeypatch):
    monkeypatch.setattr(upload, "decode_pillow", lambda *_: pytest.fail("decoded"))
    monkeypatch.setattr(upload, "MAX_IMAGE", 1000)
    with pytest.raises(DataError, match="too large"):
        read_photo(encode(PLAIN, "BMP"))
    path = tmp_path / "big.png"
    path.write_bytes(bytes(5000))
    with pytest.raises(DataError, match=r"^big.png: file too large"):
        read_photo(path)


def _turned(orientation: int) -> np.ndarray:
    """What a camera stores whose tag says how to turn it back."""
    undo = {
        1: lambda p: p, 2: lambda p: p[:, ::-1], 3: lambda p: p[::-1, ::-1], 4: lambda p: p[::-1],
        5: lambda p: p.transpose(1, 0, 2), 6: lambda p: np.rot90(p, 1),
        7: lambda p: np.rot90(p, 2).transpose(1, 0, 2), 8: lambda p: np.rot90(p, -1),
    }  # fmt: skip
    return np.ascontiguousarray(undo[orientation](picture(20, 30)))


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["PNG", "WEBP", "TIFF"])
def test_camera_orientation_is_obeyed(orientation, kind):
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"lossless": True} if kind == "WEBP" else {}
    photo = read_photo(encode(_turned(orientation), kind, exif=exif, **options))
    assert (photo.pixels == picture(20, 30)).all()
    assert photo.notes == ()


def test_jpeg_orientation_is_obeyed():
    exif = Image.Exif()
    exif[0x0112] = 6
    photo = read_photo(encode(_turned(6), "JPEG", exif=exif, quality=100, subsampling=0))
    assert photo.pixels.shape == (20, 30, 3)
    assert np.abs(photo.pixels.astype(int) - picture(20, 30)).mean() < 3


def test_wrong_orientation_and_broken_exif_leave_the_photo_as_stored():
    exif = Image.Exif()
    exif[0x0112] = 77
    assert (read_photo(encode(PLAIN, "PNG", exif=exif)).pixels == PLAIN).all()
    for body in (b"Exif\0\0", b"Exif\0\0garbage", b"Exif\0\0MM\0*\0\0\0\x08\xff\xff" + b"\x12\x01\0\5" * 90):
        photo = read_photo(hostile.with_segments(encode(PLAIN, "JPEG"), (0xE1, body)))
        assert photo.pixels.shape == PLAIN.shape


def test_jpeg_with_a_megabyte_of_exif_is_read():
    plain = encode(PLAIN, "JPEG")
    body = b"Exif\0\0II*\0\x08\0\0\0\0\0" + bytes(65000)
    photo = read_photo(hostile.with_segments(plain, *[(0xE1, body)] * 16))
    assert (photo.pixels == read_photo(plain).pixels).all()


def test_pixels_hash_and_name_of_a_plain_file(tmp_path):
    path = tmp_path / "a face.png"
    path.write_bytes(encode(PLAIN, "PNG"))
    photo = read_photo(path)
    assert photo.pixels.dtype == np.uint8
    assert (photo.pixels == PLAIN).all()
    assert photo.pixels.flags.writeable
    assert (photo.name, photo.notes) == ("a face.png", ())
    assert photo.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert (read_photo(path.read_bytes(), "x.jpg").pixels == PLAIN).all()


@pytest.mark.parametrize("kind", ["BMP", "TIFF", "PNG"])
def test_lossless_kinds_give_exact_pixels(kind):
    assert (read_photo(encode(PLAIN, kind)).pixels == PLAIN).all()


def test_grey_palette_and_bilevel():
    grey = np.arange(SIDE * SIDE, dtype=np.uint32).reshape(SIDE, SIDE) % 256
    expected = np.repeat(grey.astype(np.uint8)[..., None], 3, axis=2)
    assert (read_photo(encode(Image.fromarray(grey.astype(np.uint8)), "PNG")).pixels == expected).all()
    palette = Image.fromarray(PLAIN).quantize(64)
    assert (read_photo(encode(palette, "PNG")).pixels == np.array(palette.convert("RGB"))).all()
    bits = Image.fromarray(grey > 127)
    assert set(np.unique(read_photo(encode(bits, "PNG")).pixels)) == {0, 255}


def test_sixteen_bits_are_scaled():
    deep = (np.arange(SIDE * SIDE, dtype=np.uint16).reshape(SIDE, SIDE) * 64).astype(">u2")
    data = hostile.png(SIDE, SIDE, depth=16, colour=0, rows=hostile.png_rows(deep))
    assert (read_photo(data).pixels == (deep.astype(int) >> 8)[..., None]).all()
    colours = (picture().astype(np.uint32) * 257).astype(">u2")
    data = hostile.png(SIDE, SIDE, depth=16, rows=hostile.png_rows(colours))
    assert (read_photo(data).pixels == PLAIN).all()


def test_transparent_parts_lie_over_grey():
    alpha = np.zeros((SIDE, SIDE, 1), np.uint8)
    alpha[:, 10:20], alpha[:, 20:] = 128, 255
    photo = read_photo(encode(np.concatenate([PLAIN, alpha], axis=2), "PNG"))
    assert (photo.pixels[:, :10] == 128).all()
    assert (photo.pixels[:, 20:] == PLAIN[:, 20:]).all()
    half = (PLAIN[:, 10:20].astype(float) * 128 + 128 * 127) / 255
    assert np.abs(photo.pixels[:, 10:20] - half).max() <= 1
    assert photo.notes == ("transparent: laid over grey",)
    opaque = np.full_like(alpha, 255)
    assert read_photo(encode(np.concatenate([PLAIN, opaque], axis=2), "PNG")).notes == ()


def test_transparent_palette_and_grey():
    palette = Image.fromarray(PLAIN).quantize(8)
    hole = np.array(palette) == 3
    photo = read_photo(encode(palette, "PNG", transparency=3))
    assert (photo.pixels[hole] == 128).all()
    assert (photo.pixels[~hole] == np.array(palette.convert("RGB"))[~hole]).all()
    grey = Image.merge("LA", [Image.new("L", (SIDE, SIDE), 40), Image.new("L", (SIDE, SIDE), 0)])
    assert (read_photo(encode(grey, "PNG")).pixels == 128).all()


def test_profile_is_obeyed():
    photo = read_photo(encode(PLAIN, "PNG", icc_profile=hostile.swapped_profile()))
    assert np.abs(photo.pixels.astype(int) - PLAIN[..., ::-1]).max() <= 2
    assert photo.notes == ()


@pytest.mark.parametrize("profile", [b"no profile", hostile.swapped_profile()[:200], bytes(5 << 20)])
def test_profile_of_no_use_is_told(profile):
    photo = read_photo(encode(PLAIN, "WEBP", icc_profile=profile, lossless=True))
    assert (photo.pixels == PLAIN).all()
    assert photo.notes == ("colour profile of no use: colours taken as sRGB",)


def test_print_colours_are_converted_and_told():
    photo = read_photo(encode(Image.new("CMYK", (SIDE, SIDE), (0, 255, 255, 0)), "JPEG"))
    assert np.abs(photo.pixels.astype(int) - (255, 0, 0)).max() <= 2
    assert photo.notes == ("print colours without a profile: colours are a guess",)


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "TIFF"])
def test_first_frame_of_an_animation_is_taken(kind):
    frames = [Image.fromarray(PLAIN), Image.fromarray(255 - PLAIN)]
    options = {"lossless": True} if kind == "WEBP" else {}
    photo = read_photo(encode(frames[0], kind, save_all=True, append_images=frames[1:], **options))
    assert (photo.pixels == PLAIN).all()
    told = "several pages: first one taken" if kind == "TIFF" else "animated: first frame taken"
    assert photo.notes == (told,)


def test_a_phones_photo_with_a_second_picture_and_a_film_behind_it():
    """Random bytes hold markers of scans, which are not scans of the photo."""
    options = {"append_images": [Image.fromarray(255 - PLAIN)], "quality": 100, "subsampling": 0}
    data = encode(Image.fromarray(PLAIN), "MPO", save_all=True, **options)
    film = b"\0\0\0\x20ftypmp42" + b"\xff\xda" * 500
    photo = read_photo(data + film)
    assert np.abs(photo.pixels.astype(int) - PLAIN).mean() < 3
    assert photo.notes == ()


def test_grey_with_a_profile_of_colours():
    grey = Image.fromarray(PLAIN[..., 0])
    photo = read_photo(encode(grey, "PNG", icc_profile=hostile.swapped_profile()))
    assert photo.notes == ()
    assert photo.pixels.shape == PLAIN.shape


def test_archive_behind_a_photo_is_only_bytes():
    photo = read_photo(encode(PLAIN, "PNG") + _archive())
    assert (photo.pixels == PLAIN).all()


def test_no_file_folder_pipe_or_forbidden_file(tmp_path):
    pipe = tmp_path / "pipe.png"
    os.mkfifo(pipe)
    for path in (tmp_path / "absent.png", tmp_path, pipe, Path("/dev/zero"), Path("a\0b.png")):
        with pytest.raises(DataError, match=r"no such file|cannot be read"):
            read_photo(path)
