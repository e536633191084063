"""A folder and a labels file: what is packed, and every fault of the file in one error with line numbers."""

from __future__ import annotations

import csv
import os
import signal
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from mien.data.check import check
from mien.data.decode import decode, decode_sample, image_size
from mien.data.images import load_image
from mien.data.labels import RowFault, read_labels
from mien.data.pack import SKIPPED, PackError, pack
from mien.data.reader import ShardSet
from mien.errors import DataError

from .bad_shards import png_bomb
from .toys import encode, picture

GOOD = [
    ("a/0.jpg", "happiness", "p0"),
    ("a/1.png", "anger", "p1"),
    ("a/2.bmp", "anger", "p0"),
    ("b.jpg", "neutral", "p2"),
]


@pytest.fixture
def folder(tmp_path):
    """Four sound images in three formats."""
    (root := tmp_path / "photos").mkdir()
    (root / "a").mkdir()
    for number, (name, _, _) in enumerate(GOOD):
        kind = {"jpg": "JPEG", "png": "PNG", "bmp": "BMP"}[name[-3:]]
        (root / name).write_bytes(encode(picture(number), kind))
    return root


def write_labels(path, rows=GOOD, header=("image", "emotion", "person")):
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([header, *rows])
    return path


def run(folder, labels, out, **options):
    columns = {"image": "image", "label": "emotion", "group": "person", "progress": False} | options
    return pack(folder, out, labels=labels, **columns)


def faults_of(folder, rows, tmp_path):
    with pytest.raises(PackError) as caught:
        run(folder, write_labels(tmp_path / "bad.csv", rows), tmp_path / "out")
    assert not (tmp_path / "out").exists()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bad.csv", "photos"]
    return caught.value


def message_of(read, source):
    """What a reader says of a file: empty where it takes it. Any other exception goes through."""
    try:
        read(source)
    except DataError as error:
        return str(error)
    return ""


def test_what_is_packed(folder, tmp_path):
    report = run(
        folder, write_labels(tmp_path / "labels.csv"), tmp_path / "deep" / "out", samples_per_shard=3
    )
    assert (report.samples, report.shards, report.groups, report.skipped) == (4, 2, 3, ())
    assert report.labels == {"happiness": 1, "anger": 2, "neutral": 1}
    assert str(report).endswith("4 samples of 3 groups in 2 shards (anger 2, happiness 1, neutral 1)")
    shards = ShardSet(tmp_path / "deep" / "out")
    assert check(shards.folder).ok
    assert len({sample.record["uid"] for sample in shards}) == 4
    for number, (sample, (name, label, person)) in enumerate(zip(shards, GOOD, strict=True)):
        record = sample.record
        assert (record["label"], record["group"], record["source"]) == (label, person, name)
        if name.endswith(".bmp"):
            assert (decode_sample(sample).permute(1, 2, 0).numpy() == picture(number)).all()
        else:
            assert sample.members[name[-3:]] == (folder / name).read_bytes()
    assert (tmp_path / "deep" / "out").stat().st_mode & 0o777 == 0o777 & ~_umask()


def _umask():
    mask = os.umask(0)
    os.umask(mask)
    return mask


def test_the_same_bytes_again_and_uids_that_stay(folder, tmp_path):
    labels = write_labels(tmp_path / "labels.csv")
    run(folder, labels, tmp_path / "one")
    (tmp_path / "two").mkdir()  # an empty folder is as good as none
    run(folder, labels, tmp_path / "two")
    assert ShardSet(tmp_path / "one").sha == ShardSet(tmp_path / "two").sha
    run(folder, write_labels(labels, GOOD[::-1]), tmp_path / "three")
    by_source = [
        {s.record["source"]: s.record["uid"] for s in ShardSet(tmp_path / name)} for name in ("one", "three")
    ]
    assert by_source[0] == by_source[1]


def test_without_persons_each_image_is_a_group(folder, tmp_path):
    report = run(folder, write_labels(tmp_path / "labels.csv"), tmp_path / "out", group=None)
    assert report.groups == 4
    assert [sample.record["group"] for sample in ShardSet(tmp_path / "out")] == [name for name, _, _ in GOOD]


def test_every_fault_in_one_error(folder, tmp_path):
    (folder / "text.jpg").write_text("no image")
    (folder / "cut.jpg").write_bytes((folder / "b.jpg").read_bytes()[:300])
    (folder / "bomb.png").write_bytes(png_bomb(50000, 50000))
    (folder / "empty.jpg").touch()
    (tmp_path / "photos" / "pipe").mkdir()
    (folder / "out.jpg").symlink_to("/etc/hostname")
    (folder / "loop.jpg").symlink_to("loop.jpg")
    rows = [
        GOOD[0],  # line 2
        ("absent.jpg", "anger", "p"),
        ("text.jpg", "anger", "p"),
        ("cut.jpg", "anger", "p"),
        ("bomb.png", "anger", "p"),  # line 6
        ("../outside.jpg", "anger", "p"),
        ("/etc/hostname", "anger", "p"),
        ("out.jpg", "anger", "p"),
        ("loop.jpg", "anger", "p"),  # line 10
        ("pipe", "anger", "p"),
        ("a/0.jpg", "happiness", "p0"),
        ("./a/../a/0.jpg", "sadness", "p0"),
        ("b.jpg", "", " "),
        ("b.jpg", "anger"),  # line 15
        ("", "anger", "p"),
        ("x" * 300 + ".jpg", "anger", "p"),
        ("empty.jpg", "anger", "p"),
        ("zero\0.jpg", "anger", "p"),
    ]
    error = faults_of(folder, rows, tmp_path)
    expected = {
        3: "absent (paths are relative to",
        4: "image is in none of the formats BMP, GIF, PPM",
        5: "image cannot be decoded",
        6: "image too large: 50000 x 50000 pixels",
        7: "path leads out of the folder",
        8: "path leads out of the folder",
        9: "path leads out of the folder",
        10: "absent",
        11: "not a plain file",
        12: "same image as line 2",
        13: "same image as line 2, with another label or group",
        14: "'emotion' and 'person' empty",
        15: "has 2 values, the header has 3",
        16: "'image' empty",
        17: "absent",
        18: "file is empty",
        19: "path holds a zero byte",
    }
    assert [fault.line for fault in error.faults] == list(expected)
    for fault in error.faults:
        assert expected[fault.line] in fault.reason, fault
    lines = str(error).splitlines()
    assert len(lines) == len(expected) + 1
    assert lines[0].startswith(f"{tmp_path}/bad.csv: line 3: 'absent.jpg': absent")
    assert lines[-1].startswith(f"{tmp_path}/bad.csv: 17 lines cannot be packed; nothing was written; mend")
    assert all(line.isprintable() for line in lines)


def test_many_faults_are_counted(folder, tmp_path):
    error = faults_of(folder, [(f"{number}.jpg", "anger", "p") for number in range(50)], tmp_path)
    assert len(error.faults) == 50
    assert len(str(error).splitlines()) == 22
    assert "and 30 more lines" in str(error)


def test_skip_bad_leaves_a_list(folder, tmp_path):
    rows = [GOOD[0], ("absent.jpg", "anger", "p"), *GOOD[1:], GOOD[0]]
    report = run(folder, write_labels(tmp_path / "labels.csv", rows), tmp_path / "out", skip_bad=True)
    assert (report.samples, [fault.line for fault in report.skipped]) == (4, [3, 7])
    assert "2 lines left out" in str(report)
    with (tmp_path / "out" / SKIPPED).open() as file:
        table = list(csv.reader(file))
    assert table[0] == ["line", "image", "reason"]
    assert table[2] == ["7", "a/0.jpg", "same image as line 2"]
    assert check(tmp_path / "out").ok
    with pytest.raises(DataError, match="every line is bad"):
        run(folder, write_labels(tmp_path / "none.csv", rows[1:2]), tmp_path / "none", skip_bad=True)
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "no header"),
        (b"\n\n", "no header"),
        (b"image,emotion,person\n", "no rows"),
        (b"image;emotion;person\n", "no column 'image'.*no column 'emotion'"),
        (b"image,emotoin,person\n", r"no column 'emotion' \(did you mean 'emotoin'\?\)"),
        (b"Image,emotion\n", r"no column 'image' \(did you mean 'Image'\?\); no column 'person'"),
        (b"image,emotion,emotion,person\n", "column 'emotion' is there 2 times"),
        (b"image,emotion,p\xe9rson\n", r"header is not UTF-8 \(byte 16 of line 1\)"),
        ("image,emotion,person\n".encode("utf-16"), "header is not UTF-8"),
        (b"image,emotion,person\n" + b"x" * (1 << 20) + b"yy", "line 2 is longer than"),
    ],
)
def test_a_file_that_is_no_labels_file(folder, tmp_path, content, message):
    (tmp_path / "labels.csv").write_bytes(content)
    with pytest.raises(DataError, match=message) as caught:
        run(folder, tmp_path / "labels.csv", tmp_path / "out")
    assert str(tmp_path / "labels.csv") in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_rows_of_odd_files(tmp_path):
    path = tmp_path / "odd.csv"
    path.write_bytes(
        b"\xef\xbb\xbf image , label \r\n"
        b'"a,1.jpg", joy \r\n'
        b"\r\n"
        b'"two\nlines.jpg",joy\r\n'  # lines 4 and 5
        b"caf\xe9.jpg,joy\r\n"
        b'"x"y,joy\r\n'
        b"caf\xc3\xa9.jpg,joy\r\n"
        b'"never closed,joy\r\n'
    )
    rows = list(read_labels(path, image="image", label="label", group=None))
    assert [(row.line, row.image) for row in rows] == [
        (2, "a,1.jpg"),
        (4, "two\nlines.jpg"),
        (6, ""),
        (7, ""),
        (8, "café.jpg"),
        (9, ""),
    ]
    assert [row.reason for row in rows if isinstance(row, RowFault)] == [
        "not UTF-8 (byte 4 of line 6)",
        "not valid CSV: ',' expected after '\"'",
        "not valid CSV: unexpected end of data",
    ]


def test_places_that_cannot_be_used(folder, tmp_path):
    labels = write_labels(tmp_path / "labels.csv")
    with pytest.raises(DataError, match="no such folder"):
        run(tmp_path / "absent", labels, tmp_path / "out")
    with pytest.raises(DataError, match="no such labels file"):
        run(folder, tmp_path / "absent.csv", tmp_path / "out")
    with pytest.raises(DataError, match="is not empty"):
        run(folder, labels, folder)
    with pytest.raises(DataError, match="is a file"):
        run(folder, labels, labels)
    with pytest.raises(DataError, match="Not a directory"):
        run(folder, labels, labels / "below" / "a" / "file")


def test_a_kill_leaves_nothing_under_the_name(folder, tmp_path):
    labels = write_labels(tmp_path / "labels.csv")
    script = f"""
import os, signal
from pathlib import Path
from mien.data import pack as module
whole = module.load_image
def die(path):
    if path.name == "b.jpg":
        os.kill(os.getpid(), signal.SIGKILL)
    return whole(path)
module.load_image = die
folder, out, labels = (Path(path) for path in {[str(folder), str(tmp_path / "out"), str(labels)]!r})
module.pack(folder, out, labels=labels, image="image", label="emotion", samples_per_shard=1, progress=False)
"""
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == -signal.SIGKILL
    assert not (tmp_path / "out").exists()
    assert run(folder, labels, tmp_path / "out").samples == 4


@pytest.mark.parametrize("kind", ["GIF", "PPM", "TIFF", "WEBP"])
def test_other_formats_become_png(tmp_path, kind):
    path = tmp_path / "picture.jpg"  # the name says nothing
    path.write_bytes(encode(picture(1), kind, **({"lossless": True} if kind == "WEBP" else {})))
    extension, data = load_image(path)
    assert extension == "png"
    error = np.abs(decode(data).permute(1, 2, 0).numpy().astype(int) - picture(1))
    assert error.max() == 0 or (kind == "GIF" and error.mean() < 16)  # a GIF has 256 colours


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF"])
def test_the_orientation_tag_is_obeyed(tmp_path, kind):
    """A phone held upright: stored lying on its side, tag 6 says to turn it."""
    upright = np.zeros((24, 16, 3), np.uint8)
    upright[:8] = 255
    tag = Image.Exif()
    tag[0x0112] = 6
    stored = Image.fromarray(np.ascontiguousarray(np.rot90(upright)))
    stored.save(tmp_path / "photo", kind, exif=tag)
    image = decode(load_image(tmp_path / "photo")[1])
    assert image.shape == (3, 24, 16)
    assert image[:, :6].min() > 200
    assert image[:, 10:].max() < 50


@pytest.mark.parametrize("mode", ["L", "LA", "P", "RGBA", "CMYK", "I;16", "1"])
def test_every_kind_of_pixel_is_rgb_in_the_end(tmp_path, mode):
    grey = Image.fromarray(np.full((8, 8), 128, np.uint8))
    if mode == "I;16":
        image = Image.fromarray(np.full((8, 8), 128 << 8, np.uint16))
    else:
        image = grey.convert("RGB")
        image = image.quantize(4) if mode == "P" else image.convert(mode)
    image.save(tmp_path / "photo", "JPEG" if mode == "CMYK" else "PNG")
    decoded = decode(load_image(tmp_path / "photo")[1])
    assert decoded.shape == (3, 8, 8)
    if mode != "1":
        assert (decoded.int() - 128).abs().max() <= 2


def test_deep_values_without_a_range_are_refused(tmp_path):
    Image.fromarray(np.ones((8, 8), np.float32)).save(tmp_path / "photo.tif", "TIFF")
    with pytest.raises(DataError, match="more than 8 bits"):
        load_image(tmp_path / "photo.tif")


@pytest.mark.parametrize("kind", ["BMP", "GIF", "TIFF", "WEBP"])
def test_damaged_files_of_other_formats(tmp_path, kind):
    whole = encode(picture(2, 64), kind)
    rng = np.random.default_rng(0)
    for cut in (len(whole) // 2, 30, 4):
        (tmp_path / "photo").write_bytes(whole[:cut])
        with pytest.raises(DataError):
            load_image(tmp_path / "photo")
    for _ in range(30):  # noise may still be an image, but never another kind of error
        data = bytearray(whole)
        for place in rng.integers(0, len(data), 5).tolist():
            data[place] = int(rng.integers(256))
        (tmp_path / "photo").write_bytes(bytes(data))
        assert "\n" not in message_of(load_image, tmp_path / "photo")


def test_noise_in_jpeg_and_png_gives_an_image_or_a_clear_error(capfd):
    rng = np.random.default_rng(1)
    for kind in ("JPEG", "PNG"):
        whole = encode(picture(3, 40), kind)
        assert image_size(whole) == (40, 40)
        for _ in range(150):
            data = bytearray(whole)
            for place in rng.integers(0, len(data), int(rng.integers(1, 8))).tolist():
                data[place] = int(rng.integers(256))
            data = data[: int(rng.integers(1, 2 * len(data)))]
            assert "\n" not in message_of(decode, bytes(data))
    capfd.readouterr()  # the decoder has its say about each


def test_photographs(wild_faces, tmp_path):
    """The folder that this was made for."""
    report = run(wild_faces, wild_faces / "labels.csv", tmp_path / "out")
    assert (report.samples, report.groups) == (4297, 2340)
    assert report.labels["surprise"] == 267
