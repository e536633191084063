"""What a sample holds: schema names and versions, required members and JSON keys, the check of one sample.

Members follow the emocapclip spec, section 2: an image and a UTF-8 JSON record. All schemas carry `uid`
(int64), `label` (class) and `group` (person); `emocap/1` adds captions, `clip/1` has a video for an image,
`pair/1` two images of one person with their action units (magicface spec, section 2), `rigpair/1` the codes
of their 3D faces and the rendering of the target's beside them (rigface spec, section 2), `latents/1` a
pair as an editor's codec encodes it.
"""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from mien.errors import DataError

IMAGES = ("jpg", "jpeg", "png")
"""Member extensions of an image, in the order in which they are looked for."""

VIDEOS = ("mp4", "webm")
"""Member extensions of a video."""

PLAIN = (*IMAGES, "json", "txt", "npy", "mp4", "webm")
"""Formats a shard may hold, by the last part of a member's extension; nothing here can run code."""

REGIONS = frozenset(
    ("eyes", "brows", "forehead", "nose", "cheeks", "nasolabial", "mouth", "jaw_chin", "head_gaze", "other")
)
"""Values of a local caption's `region` (spec, section 2)."""

INTENSITIES = ("low", "moderate", "high", None)
"""Values of a local caption's `intensity` (spec, section 2)."""

MAX_JSON = 1 << 20
"""Largest JSON member, in bytes."""

Record = dict[str, Any]
Members = Mapping[str, bytes]


def video_member(members: Members) -> bytes | None:
    """Encoded bytes of the sample's video, None if it has none."""
    return next((members[name] for name in VIDEOS if name in members), None)


def image_member(members: Members, part: str | None = None) -> bytes | None:
    """Encoded bytes of the sample's image, None if it has none; `part` is one of a pair, such as `src`."""
    for name in IMAGES:
        if (data := members.get(f"{part}.{name}" if part else name)) is not None:
            return data
    return None


def parse_json(data: bytes | None, where: object = "") -> Record:
    """The JSON object in a member.

    Raises:
        DataError: if it is absent, larger than `MAX_JSON`, not UTF-8, not JSON, or not an object.
    """
    fix = "write the record as a UTF-8 JSON object"
    if data is None:
        raise DataError("sample without a json member", where=where, fix=fix)
    if len(data) > MAX_JSON:
        raise DataError(
            f"json member of {len(data)} bytes, more than {MAX_JSON}", where=where, fix="shorten it"
        )
    try:
        record = json.loads(data.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise DataError(f"json is not UTF-8 (byte {error.start})", where=where, fix=fix) from error
    except (ValueError, RecursionError) as error:
        raise DataError(f"json is not valid: {error}", where=where, fix=fix) from error
    if not isinstance(record, dict):
        raise DataError(f"json holds a {type(record).__name__}, not an object", where=where, fix=fix)
    return record


def validate(schema: str, members: Members, where: object = "") -> Record:
    """Check one sample against a schema and return its JSON record; images are not decoded here.

    Args:
        schema: a key of `SCHEMAS`.
        members: bytes by extension, such as `{"jpg": ..., "json": ...}`.
        where: shard and key, for the message.

    Raises:
        DataError: naming the first member or key that does not fit.
    """
    problem = SCHEMAS.get(schema)
    if problem is None:
        raise DataError(f"unknown schema {schema!r}", where=where, fix=f"one of: {', '.join(SCHEMAS)}")
    for name, data in members.items():
        if reason := _member_problem(name, data):
            raise DataError(reason, where=where, fix="keep images, json, txt, plain npy and video only")
    if schema in CLIPS:
        if video_member(members) is None:
            raise DataError("sample without a video", where=where, fix=f"add one of: {', '.join(VIDEOS)}")
    elif schema in PAIRS:
        if missing := [part for part in PAIRS[schema] if image_member(members, part) is None]:
            fix = f"add {missing[0]}.png or {missing[0]}.jpg"
            raise DataError(f"pair without the image {missing[0]}", where=where, fix=fix)
    elif schema in ARRAYS:
        if missing := [name for name in ARRAYS[schema] if f"{name}.npy" not in members]:
            raise DataError(f"no array {missing[0]}.npy", where=where, fix="write the sample again")
    elif image_member(members) is None:
        raise DataError("sample without an image", where=where, fix=f"add one of: {', '.join(IMAGES)}")
    record = parse_json(members.get("json"), where)
    if reason := problem(record):
        raise DataError(f"json does not fit {schema}: {reason}", where=where, fix="write the sample again")
    return record


def _member_problem(name: str, data: bytes) -> str | None:
    kind = name.rpartition(".")[2].lower()
    if kind in ("pkl", "pickle", "pth", "pt", "pyd"):
        return f"member .{name} is a pickle, which can run code"
    if kind not in PLAIN:
        return f"member .{name} is not a plain format"
    if kind == "npy":
        try:
            np.load(io.BytesIO(data), allow_pickle=False)
        except (ValueError, EOFError, OSError) as error:
            return f"member .{name} is not a plain array: {error}"
    return None


def _labelled(record: Record) -> str | None:
    if not _is_int(record.get("uid")) or not -(2**63) <= record["uid"] < 2**63:
        return "`uid` is not an int64"
    for key in ("label", "group"):
        if not isinstance(record.get(key), str) or not record[key]:
            return f"`{key}` is not a text"
    return None


def _emocap(record: Record) -> str | None:
    if reason := _labelled(record):
        return reason
    for key in ("global", "summary"):
        if not isinstance(record.get(key, 0), str | None):
            return f"`{key}` is neither a text nor null"
    locals_ = record.get("locals")
    if not isinstance(locals_, list):
        return "`locals` is not a list"
    for number, local in enumerate(locals_):
        if reason := _local(local):
            return f"`locals[{number}]` {reason}"
    if not locals_ and not record["global"] and not record["summary"]:
        return "it has no caption at all"
    return _action_units(record.get("au", {}))


def _local(local: Any) -> str | None:
    if not isinstance(local, dict) or not isinstance(local.get("text"), str) or not local["text"]:
        return "has no `text`"
    if local.get("region") not in REGIONS:
        return f"has an unknown region {local.get('region')!r}"
    if not isinstance(local.get("au"), list) or not all(_is_int(unit) for unit in local["au"]):
        return "has an `au` that is not a list of integers"
    if local.get("intensity", 0) not in INTENSITIES:
        return f"has an unknown intensity {local.get('intensity')!r}"
    return None


def _action_units(units: Any) -> str | None:
    if not isinstance(units, dict):
        return "`au` is not an object"
    for number, sides in units.items():
        numbers = isinstance(sides, list) and len(sides) == 2 and all(_is_number(side) for side in sides)
        if not number.isdigit() or not numbers:
            return f"`au` {number!r} is not [left, right]"
    return None


def _pair(record: Record) -> str | None:
    if reason := _labelled(record):
        return reason
    for key in ("au_src", "au_tgt"):
        units = record.get(key)
        if not isinstance(units, list) or len(units) != 12 or not all(_is_number(unit) for unit in units):
            return f"`{key}` is not a list of 12 numbers"
        if not all(0 <= unit <= 5 for unit in units):
            return f"`{key}` leaves 0..5"
    for key in ("jaw_src", "jaw_tgt"):
        points = record.get(key)
        if not isinstance(points, list) or len(points) != 17 or not all(_is_point(point) for point in points):
            return f"`{key}` is not a list of 17 points [x, y]"
    for key in ("video", "au_detector"):
        if not isinstance(record.get(key), str) or not record[key]:
            return f"`{key}` is not a text"
    return None


def _latents(record: Record) -> str | None:
    if reason := _labelled(record):
        return reason
    vector = record.get("vector")
    if not isinstance(vector, list) or not vector or not all(_is_number(value) for value in vector):
        return "`vector` is not a list of numbers"
    return None if isinstance(record.get("encoded"), str) else "`encoded` is not a text"


def _rig_pair(record: Record) -> str | None:
    if reason := _pair(record):
        return reason
    if not isinstance(record.get("backend"), str) or not record["backend"]:
        return "`backend` is not a text"
    for key in ("codes_src", "codes_tgt"):
        if reason := _codes(record.get(key)):
            return f"`{key}` {reason}"
    return None


def _codes(codes: Any) -> str | None:
    """Of the outer form alone: `mien.systems.rigface.records.from_record` knows lengths and ranges."""
    if not isinstance(codes, dict):
        return "is not an object"
    if not isinstance(codes.get("space"), str) or not codes["space"]:
        return "has no `space`"
    for name in ("shape", "albedo", "expression", "pose", "boxed"):
        values = codes.get(name)
        if not isinstance(values, list) or not values or not all(_is_number(value) for value in values):
            return f"has a `{name}` that is not a list of numbers"
    light = codes.get("light")
    if not isinstance(light, list) or len(light) != 9 or not all(_is_colour(band) for band in light):
        return "has a `light` that is not 9 bands [r, g, b]"
    return None if isinstance(codes.get("camera"), dict) else "has no `camera`"


def _is_colour(value: Any) -> bool:
    return isinstance(value, list) and len(value) == 3 and all(_is_number(part) for part in value)


def _is_point(value: Any) -> bool:
    return isinstance(value, list) and len(value) == 2 and all(_is_number(place) for place in value)


def _is_int(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


CLIPS = ("clip/1",)
"""Schemas whose samples are videos in place of images."""

PAIR_PARTS = ("src", "tgt", "src.parse", "tgt.parse")
"""Images of a pair: the person to edit, the goal, and what their pixels show (CelebAMask-HQ's labels)."""

PAIRS = {"pair/1": PAIR_PARTS, "rigpair/1": (*PAIR_PARTS, "tgt.render")}
"""Schemas whose samples are two pictures of one person, and the images they need; `tgt.render` is the 3D
face of the target on black."""

ARRAYS = {"latents/1": ("photo", "maps", "target", "face", "change")}
"""Schemas whose samples hold arrays in place of images, and which; see `mien.systems.editing.latents`."""

SCHEMAS: dict[str, Callable[[Record], str | None]] = {
    "labelled/1": _labelled,
    "emocap/1": _emocap,
    "clip/1": _labelled,
    "pair/1": _pair,
    "rigpair/1": _rig_pair,
    "latents/1": _latents,
}
"""Check of a JSON record, by schema name and version."""
