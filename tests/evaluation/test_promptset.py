"""Prompt sets: expansion, hash, coverage, and one clear line for a bad file."""

from __future__ import annotations

from pathlib import Path

import pytest

from mien.errors import DataError
from mien.evaluation.promptset import covering, load_prompts, packaged
from mien.evaluation.unit_prompts import load_units, units_hash
from mien.faces.emotions import BASIC, COMPOUNDS, EMOTIONS

FILE = """
default: short
classes:
  anger: {nouns: [anger, rage], adjectives: [angry]}
  joy: {}
families:
  short: ["{class}", "a {noun} face"]
"""


def write(folder: Path, text: str) -> Path:
    path = folder / "mine.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def test_expansion(tmp_path):
    mine = load_prompts(write(tmp_path, FILE))
    assert mine.prompts("short", "anger") == ["anger", "an anger face", "a rage face"]
    assert mine.prompts("short", "joy") == ["joy", "a joy face"]


def test_packaged_sets_cover_what_the_face_world_makes():
    assert packaged() == ["emotion7", "emotion8", "ravdess", "mafw", "compound"]
    assert set(load_prompts("emotion7").classes) == set(BASIC)
    assert covering(BASIC).name == "emotion7"
    assert covering(EMOTIONS).name == "emotion8"
    assert covering([*EMOTIONS, *COMPOUNDS]).name == "compound"
    assert covering(["sadly_angry"]).name == "compound"
    assert covering(["boredom"]) is None


def test_families_of_the_packaged_set():
    seven = load_prompts("emotion7")
    assert list(seven.families) == ["noun", "expression", "photo", "ensemble5", "ensemble10"]
    assert len(seven.families["ensemble5"]) == 5
    assert len(seven.families["ensemble10"]) == 10
    assert seven.prompts("noun", "fear") == ["fear"]
    everything = [text for label in seven.classes for text in seven.prompts("ensemble10", label)]
    assert len(everything) == len(set(everything)), "two classes share a prompt"


@pytest.mark.parametrize(
    ("old", "new"), [("rage", "fury"), ("a {noun} face", "one {noun} face"), ("  joy: {}\n", "")]
)
def test_hash_follows_the_content(tmp_path, old, new):
    before = load_prompts(write(tmp_path, FILE)).sha256
    assert load_prompts(write(tmp_path, FILE + "\n# a remark\n")).sha256 == before
    assert load_prompts(write(tmp_path, FILE.replace(old, new))).sha256 != before


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (FILE.replace("default: short", "default: long"), "default family 'long' is absent"),
        (FILE.replace("{noun}", "{verb}"), "bad field: verb"),
        (FILE.replace("a {noun} face", "a {noun face"), "bad field"),
        (FILE.replace("{class}", "{adjective}").replace('"a {noun} face"', ""), "class 'joy' has no prompt"),
        (FILE.replace("families", "familys"), "familys"),
        ("[1, 2]", "is a mapping"),
        ("a: [", "not yaml"),
        (FILE.replace("default: short", "extends: nowhere"), "no such prompt set"),
    ],
)
def test_bad_files_give_one_line(tmp_path, text, message):
    with pytest.raises(DataError) as caught:
        load_prompts(write(tmp_path, text))
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_unknown_class_names_the_set_that_has_it():
    with pytest.raises(DataError, match=r"'contempt' unknown to the prompts.*--prompts emotion8"):
        load_prompts("emotion7").require(["anger", "contempt"])
    with pytest.raises(DataError, match="no such prompt set"):
        load_prompts("nothing")


def test_unit_prompts_by_number_hashed_by_their_words(tmp_path):
    path = tmp_path / "units.yaml"
    text = "units:\n  {number}: {{name: puller, present: [{said}], absent: [no smile]}}\n"
    hashes = set()
    for said in ("a smile", "a broad smile"):
        path.write_text(text.format(number=12, said=said), encoding="utf-8")
        hashes.add(units_hash(load_units(path)))
    assert len(hashes) == 2
    assert list(load_units(only=(12, 4))) == [12, 4]
    with pytest.raises(DataError, match="AU4 has no prompts"):
        load_units(path, only=(12, 4))
    path.write_text(text.format(number="smile", said="a smile"), encoding="utf-8")
    with pytest.raises(DataError, match="no unit prompts"):
        load_units(path)
