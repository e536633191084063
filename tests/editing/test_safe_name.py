"""Whatever a sender calls a file, its name is a name and no path."""

from __future__ import annotations

import unicodedata
from pathlib import Path

import pytest
from hostile_files import encode, picture
from hypothesis import given, settings
from hypothesis import strategies as st

from mien.editing.upload import read_photo, safe_name

NAMES = {
    "../../etc/passwd": "passwd",
    "/abs/olute/me.jpg": "me.jpg",
    "..\\..\\boot.ini": "boot.ini",
    "C:\\photos\\me.png": "me.png",
    "me.jpg\0.png": "me.jpg.png",
    "..": "photo",
    "": "photo",
    "///": "photo",
    ".hidden": "hidden",
    "a\nb\x1b[31m.jpg": "ab_31m.jpg",
    "<img src=x>.png": "_img src_x_.png",
    "rm -rf $(x);`y`.jpg": "rm -rf _(x)__y_.jpg",
    "фото 見本.jpeg": "фото 見本.jpeg",
    "\u202egpj.exe": "gpj.exe",
    "CON.png": "_CON.png",
    "nul": "_nul",
    "\ud800.jpg": "jpg",
}  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_names_are_made_safe(name):
    assert safe_name(name) == NAMES[name]
    photo = read_photo(encode(picture(), "PNG"), name)
    assert photo.name == (NAMES[name] if name else "upload")


def test_long_names_keep_their_suffix():
    assert safe_name("x" * 5000 + ".jpeg") == "x" * 95 + ".jpeg"
    assert len(safe_name("見" * 500 + ".png").encode()) <= 100
    assert safe_name("x." + "y" * 5000) == ("x." + "y" * 98)


@given(st.text(max_size=300))
@settings(max_examples=300, deadline=None)
def test_any_name_becomes_a_plain_one(name):
    safe = safe_name(name)
    assert safe == safe_name(safe)
    assert 0 < len(safe.encode()) <= 101
    assert safe[0] not in ". "
    assert not set(safe) & set('/\\\0\n\r\t:*?"<>|')
    assert all(unicodedata.category(sign)[0] != "C" for sign in safe)
    assert Path(safe).name == safe
