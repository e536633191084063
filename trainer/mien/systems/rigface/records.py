"""Codes as the plain dict that the records of shards hold, and back."""

from __future__ import annotations

import difflib
from typing import Any

import numpy as np

from mien.errors import DataError
from mien.faces.camera import Camera
from mien.systems.rigface.codes import Codes

VERSION = 1
"""Of the form of a record."""

_ARRAYS = ("shape", "albedo", "expression", "light")
_ANGLES = ("pose", "boxed", "gaze")
_KEYS = ("v", "space", *_ARRAYS, *_ANGLES, "camera")
_CAMERA = ("distance", "scale", "shift")
_FIX = "make the set again with this version of mien"


def to_record(codes: Codes) -> dict[str, Any]:
    """A dict of numbers, strings and lists that JSON holds without loss; about 2 KB of text."""
    camera = codes.camera
    return {
        "v": VERSION,
        "space": codes.space,
        **{name: _numbers(getattr(codes, name)) for name in _ARRAYS},
        **{name: list(getattr(codes, name)) for name in _ANGLES},
        "camera": {"distance": camera.distance, "scale": camera.scale, "shift": list(camera.shift)},
    }


def from_record(record: object, where: object = "") -> Codes:
    """The inverse of `to_record`.

    Args:
        record: what JSON gave.
        where: sample or file, for errors.

    Raises:
        DataError: a key is missing or unknown, a value is of the wrong kind, shape or range, or the record is
            of another version.
    """
    at = f"{where}: " if where else ""
    fields = _checked(record, _KEYS, f"{at}codes")
    if fields["v"] != VERSION:
        raise DataError(f"version {fields['v']!r} in place of {VERSION}", where=f"{at}codes.v", fix=_FIX)
    camera = _checked(fields["camera"], _CAMERA, f"{at}codes.camera")
    lens = [_number(camera[name], f"{at}codes.camera.{name}") for name in ("distance", "scale")]
    right, down = _list(camera["shift"], 2, f"{at}codes.camera.shift")
    if not isinstance(fields["space"], str):
        raise DataError("the name of a space is text", where=f"{at}codes.space", fix=_FIX)
    values = {name: fields[name] for name in (*_ARRAYS, *_ANGLES)}
    for name, value in values.items():
        if not isinstance(value, list):
            raise DataError(f"{value!r} in place of a list", where=f"{at}codes.{name}", fix=_FIX)
    try:
        return Codes(**values, camera=Camera(lens[0], lens[1], (right, down)), space=fields["space"])
    except DataError as error:
        raise DataError(error.what, where=f"{at}{error.where}", fix=error.fix) from error


def _numbers(array: np.ndarray) -> list[Any]:
    """Nested lists of the shortest decimals that give the same float32."""
    if array.ndim > 1:
        return [_numbers(row) for row in array]
    return [float(str(value)) for value in array]


def _checked(value: object, keys: tuple[str, ...], where: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise DataError(f"a {type(value).__name__} in place of a mapping", where=where, fix=_FIX)
    for key in value:
        if key not in keys:
            close = difflib.get_close_matches(str(key), keys, n=1)
            fix = f"did you mean {close[0]!r}?" if close else _FIX
            raise DataError(f"unknown key {key!r}", where=where, fix=fix)
    missing = [key for key in keys if key not in value]
    if missing:
        raise DataError(f"lacks {', '.join(missing)}", where=where, fix=_FIX)
    return value


def _number(value: object, where: str) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise DataError(f"{value!r} in place of a number", where=where, fix=_FIX)
    return float(value)


def _list(value: object, count: int, where: str) -> list[float]:
    if not isinstance(value, list) or len(value) != count:
        raise DataError(f"{value!r} in place of {count} numbers", where=where, fix=_FIX)
    return [_number(item, where) for item in value]
