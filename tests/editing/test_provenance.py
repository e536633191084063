"""An edited file says what it is made of, shows when it was altered, and never replaces the photo."""

from __future__ import annotations

import io
import json
import os
from datetime import UTC, datetime
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from hostile_files import encode, picture
from PIL import Image
from pydantic import ValidationError

from mien.editing import provenance
from mien.editing.claim import CONSENT, GENERATOR, SOURCE_TYPE, Ingredient, Model, Origin
from mien.editing.mark import marked
from mien.editing.provenance import check_target, read_provenance, write_edit
from mien.editing.upload import read_photo
from mien.errors import DataError

EDIT = picture(96, 128)
PARAMETERS = {
    "action_units": {"AU12": 3.0, "AU6": 1.5},
    "seed": 424,
    "sampler": "unipc",
    "steps": 50,
    "guidance": 3.0,
    "mask_mode": "person",
    "note": 'Zoë <&> "quoted"',
}


@pytest.fixture
def photo(tmp_path) -> Path:
    exif = Image.Exif()
    exif[0x010F] = "SecretCamera"
    path = tmp_path / "my face.jpg"
    path.write_bytes(encode(picture(96, 128), "JPEG", exif=exif))
    return path


@pytest.fixture
def origin(photo) -> Origin:
    return Origin(
        created=datetime(2026, 5, 4, 3, 2, 1, tzinfo=UTC),
        parameters=PARAMETERS,
        ingredient=Ingredient.of(read_photo(photo)),
        model=Model(
            run="/home/someone/checkpoints/magicface/20260101-000000-abcd", recipe_hash="ab12", step=100
        ),
    )


@pytest.mark.parametrize(("name", "state"), [
    ("out.png", "intact"), ("out.webp", "intact"), ("out.jpg", "unchecked"), ("out.JPEG", "unchecked"),
])  # fmt: skip
@pytest.mark.parametrize("visible", [False, True])
def test_claim_comes_back_from_each_kind_of_file(tmp_path, photo, origin, name, state, visible):
    path = write_edit(tmp_path / name, EDIT, origin, source=photo, visible_mark=visible)
    found = read_provenance(path)
    assert found.state == state
    claim = found.claim.model_dump(mode="json")
    assert claim["claim_generator"] == GENERATOR
    assert claim["created"] == "2026-05-04T03:02:01Z"
    expected = {"action": "c2pa.edited", "digitalSourceType": SOURCE_TYPE, "parameters": PARAMETERS}
    assert claim["actions"] == [expected]
    sha = read_photo(photo).sha256
    assert claim["ingredients"] == [{"title": "my face.jpg", "sha256": sha, "relationship": "parentOf"}]
    assert claim["model"] == {"run": "20260101-000000-abcd", "recipe_hash": "ab12", "step": 100}
    assert (claim["pixels"]["width"], claim["pixels"]["height"]) == (128, 96)
    assert (claim["visible_mark"], claim["notice"]) == (visible, CONSENT)
    written = read_photo(path).pixels
    expected = marked(EDIT) if visible else EDIT
    assert np.abs(written.astype(int) - expected).mean() < (0.001 if state == "intact" else 4)


@pytest.mark.parametrize("name", ["out.png", "out.webp", "out.jpg"])
def test_other_programs_find_the_source_type(tmp_path, origin, name):
    path = write_edit(tmp_path / name, EDIT, origin)
    with Image.open(path) as image:
        image.load()
        packet = image.info["xmp"]
    description = ElementTree.fromstring(packet.decode())[0][0]
    assert description.tag == "{http://www.w3.org/1999/02/22-rdf-syntax-ns#}Description"
    space = "{http://iptc.org/std/Iptc4xmpExt/2008-02-29/}"
    assert description.attrib[f"{space}DigitalSourceType"] == SOURCE_TYPE
    assert packet.strip().startswith(b"<?xpacket begin=")
    assert packet.strip().endswith(b'<?xpacket end="r"?>')


@pytest.mark.parametrize("name", ["out.png", "out.webp", "out.jpg"])
def test_no_path_and_nothing_of_the_photo_gets_out(tmp_path, origin, name):
    data = write_edit(tmp_path / name, EDIT, origin).read_bytes()
    for secret in (b"someone", b"/home", b"checkpoints", b"SecretCamera", os.fsencode(tmp_path)):
        assert secret not in data


@pytest.mark.parametrize("value", ["/home/me/x.png", "C:\\x", {"a": ["b", {"c": "~/x"}]}, {"/k": 1}])
def test_a_path_among_the_parameters_is_refused(origin, value):
    with pytest.raises(ValidationError, match="looks like a path"):
        Origin(**{**origin.model_dump(), "parameters": {"x": value}})


def test_time_needs_a_zone(origin):
    with pytest.raises(ValidationError):
        Origin(**{**origin.model_dump(), "created": datetime(2026, 1, 1)})


@pytest.mark.parametrize("name", ["out.png", "out.webp"])
def test_one_level_of_one_pixel_shows_as_altered(tmp_path, origin, name):
    path = write_edit(tmp_path / name, EDIT, origin)
    with Image.open(path) as image:
        kept = {"exif": image.info.get("exif", b""), "pnginfo": None, "lossless": True}
        text = image.info.get(provenance.CHUNK)
        pixels = np.array(image)
    if name.endswith("png"):
        kept["pnginfo"] = provenance._png(text)["pnginfo"]
    pixels[5, 5, 0] ^= 1
    Image.fromarray(pixels).save(path, **kept)
    assert read_provenance(path).state == "altered"


def test_turned_or_cut_pictures_show_as_altered(tmp_path, origin):
    path = write_edit(tmp_path / "a.png", EDIT, origin)
    with Image.open(path) as image:
        chunks = provenance._png(image.info[provenance.CHUNK])
        flat = Image.fromarray(EDIT.reshape(128, 96, 3))
        for changed in (flat, image.crop((0, 0, 100, 96)), image.transpose(Image.Transpose.ROTATE_180)):
            changed.save(tmp_path / "b.png", **chunks)
            assert read_provenance(tmp_path / "b.png").state == "altered"


def test_file_without_or_with_a_damaged_claim(tmp_path, origin):
    path = tmp_path / "x.png"
    path.write_bytes(encode(EDIT, "PNG"))
    with pytest.raises(DataError, match="no claim"):
        read_provenance(path)
    for text in ("{", "[]", "[" * 40_000, "x" * 200_000, json.dumps({"form": "mien.edit/2"})):
        Image.fromarray(EDIT).save(path, **provenance._png(text))
        with pytest.raises(DataError, match=r"damaged|cannot be decoded"):
            read_provenance(path)
    with pytest.raises(DataError, match="no such file"):
        read_provenance(tmp_path / "absent.png")
    path.write_bytes(b"<html>")
    with pytest.raises(DataError, match="none of the formats"):
        read_provenance(path)
    path.write_bytes(encode(EDIT, "JPEG", exif=b"Exif\0\0garbage"))
    with pytest.raises(DataError):
        read_provenance(path)


@pytest.mark.parametrize(
    "name", ["out.gif", "out", "out.png.exe", "absent/out.png", "folder.png", "a\0b.png", "x" * 300 + ".png"]
)
def test_a_place_of_no_use_is_told_before_any_work(tmp_path, origin, monkeypatch, name):
    (tmp_path / "folder.png").mkdir()
    before = sorted(tmp_path.iterdir())
    with pytest.raises(DataError) as caught:
        check_target(tmp_path / name)
    assert caught.value.fix
    monkeypatch.setattr(provenance, "marked", lambda _: pytest.fail("worked"))
    with pytest.raises(DataError):
        write_edit(tmp_path / name, EDIT, origin, visible_mark=True)
    assert sorted(tmp_path.iterdir()) == before


def test_the_photo_is_never_overwritten(tmp_path, photo, origin):
    before = photo.read_bytes()
    (tmp_path / "link.jpg").symlink_to(photo)
    os.link(photo, tmp_path / "hard.jpg")
    (tmp_path / "sub").mkdir()
    for path in (photo, tmp_path / "link.jpg", tmp_path / "hard.jpg", tmp_path / "sub" / ".." / photo.name):
        with pytest.raises(DataError, match="would overwrite its photo"):
            write_edit(path, EDIT, origin, source=photo)
    assert photo.read_bytes() == before


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path, origin, monkeypatch):
    path = write_edit(tmp_path / "a.png", EDIT, origin)
    before = path.read_bytes()

    def full(*_):
        raise OSError(28, "No space left on device")

    for name in ("fsync", "replace"):
        with monkeypatch.context() as patch:
            patch.setattr(provenance.os, name, full)
            with pytest.raises(DataError, match=r"cannot be written: No space left"):
                write_edit(path, 255 - EDIT, origin)
        assert path.read_bytes() == before
        assert [file.name for file in tmp_path.glob("*a.png*")] == ["a.png"]
    write_edit(path, 255 - EDIT, origin)
    assert (read_photo(path).pixels == 255 - EDIT).all()


@pytest.mark.parametrize(("name", "width"), [("a.webp", 16_384), ("a.jpg", 65_501)])
def test_too_long_a_picture_for_the_format_is_told(tmp_path, origin, name, width):
    with pytest.raises(DataError, match="too long for"):
        write_edit(tmp_path / name, np.zeros((16, width, 3), np.uint8), origin)
    write_edit(tmp_path / name, np.zeros((16, width - 1, 3), np.uint8), origin)


def test_too_long_a_claim_is_told(tmp_path, origin):
    long = Origin(**{**origin.model_dump(), "parameters": {"x": "y" * 60_000}})
    with pytest.raises(DataError, match="claim of"):
        write_edit(tmp_path / "a.jpg", EDIT, long)
    assert not list(tmp_path.glob("*a.jpg*"))


@pytest.mark.parametrize("level", [0, 60, 128, 200, 255])
@pytest.mark.parametrize("size", [(16, 16), (64, 64), (300, 200), (2000, 1500)])
def test_the_mark_is_readable_on_any_ground_and_small(level, size):
    ground = np.full((*size, 3), level, np.uint8)
    done = marked(ground)
    assert (ground == level).all()
    changed = (done != level).any(axis=2)
    if size[0] < 60:
        return
    box = np.argwhere(changed)
    spot = done[box[:, 0].min() :, box[:, 1].min() :][..., 0]
    plate = float(np.median(spot[changed[box[:, 0].min() :, box[:, 1].min() :]]))
    light, dark = (((value / 255) ** 2.2 + 0.05) for value in (float(spot.max()), plate))
    if level != 255:  # there the brightest of the corner is the ground itself
        assert light / dark > 4.5  # contrast of WCAG
    assert (255 / 255 + 0.05) / dark > 4.5
    assert changed.mean() < (0.35 if size == (64, 64) else 0.04)
    assert not changed[: size[0] // 2].any()


def test_consent_notice_is_two_short_sentences():
    assert CONSENT.count(".") == 2
    assert len(CONSENT) < 160


def test_json_in_the_file_is_plain(tmp_path, origin):
    path = write_edit(tmp_path / "a.png", EDIT, origin)
    with Image.open(io.BytesIO(path.read_bytes())) as image:
        image.load()
        claim = json.loads(image.info["mien.edit"])
    assert claim["form"] == "mien.edit/1"
    assert claim["actions"][0]["parameters"] == PARAMETERS
