"""Stage 3: gates, the choice of frames, and the crops (emocapclip spec, section 2, step 1)."""

from __future__ import annotations

import hashlib
import io
import os
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image

from mien.corpus.find import face_rows
from mien.corpus.ledger import Ledger, Row, Writer
from mien.corpus.options import FaceOptions, Options
from mien.corpus.scan import Movie
from mien.corpus.video import read_frames
from mien.errors import DataError

USES = ("score", "side", "yaw", "blur", "inside", "per_shot", "margin", "size", "quality")
"""Options that decide the outcome."""

CROPS = "crops.bin"
"""The crops of a movie, one JPEG after another; rows of the ledger say where each is."""

_ENOUGH = 0.6  # change of a further frame of a shot, relative to the first one
_APART_MS = 500


def select_faces(movie: Movie, path: Path, key: str, options: Options, faces: Ledger) -> None:
    """Write the ledger of chosen faces and their crops.

    Every face of stage 2 has a row with `reason` null, or the first gate that it fails: `low_score`, `small`,
    `profile`, `cut_off`, `blurred`; `not_chosen` passes them all but its frame is not taken. A chosen one
    adds `key`, `uid`, `at`, `bytes` and `sha` of its JPEG, and `bbox` and `crop_lm5` in pixels of the crop.
    Of a shot the frames of largest `change` are taken, 1 to `per_shot`, at least half a second apart.

    Raises:
        VideoError: if the file cannot be opened any more.
    """
    rows = [{**row, "reason": gate(row, options)} for row in face_rows(faces)]
    chosen = choose(rows, options.per_shot)
    for row in rows:
        if row["reason"] is None and (row["shot"], row["frame"]) not in chosen:
            row["reason"] = "not_chosen"
    wanted = defaultdict[int, list[Row]](list)
    for row in rows:
        if row["reason"] is None:
            wanted[row["frame"]].append(row)
    with Writer(path, "gates", key) as ledger, _Crops(path.with_name(CROPS)) as crops:
        for row, picture in _pictures(movie.path, wanted):
            row.update(crops.add(row, picture, options), **_names(movie, row))
        lost = [row for taken in wanted.values() for row in taken if "at" not in row]
        for row in lost:
            row["reason"] = "undecodable"
        for row in rows:
            ledger.add(row)
        crops.finish()
        ledger.finish(Counter(row["reason"] or "kept" for row in rows))


def gate(row: Row, options: FaceOptions) -> str | None:
    """The first gate that a face fails, None if it passes."""
    fails = {
        "low_score": row["score"] < options.score,
        "small": min(row["box"][2:]) < options.side,
        "profile": abs(row["yaw"]) > options.yaw,
        "cut_off": row["inside"] < options.inside,
        "blurred": row["blur"] < options.blur,
    }
    return next((reason for reason, failed in fails.items() if failed), None)


def choose(rows: list[Row], most: int) -> set[tuple[int, int]]:
    """(shot, frame) of the frames to take: where the faces that pass change most in sum."""
    change = defaultdict[int, Counter[tuple[int, int]]](Counter)
    for row in rows:
        if row["reason"] is None:
            change[row["shot"]][row["frame"], row["t_ms"]] += row["change"]
    taken = set[tuple[int, int]]()
    for shot, sums in change.items():
        best = sorted(sums.items(), key=lambda item: (-item[1], item[0]))
        times = list[int]()
        for (frame, t_ms), value in best:
            near = any(abs(t_ms - time) < _APART_MS for time in times)
            if len(times) < most and value >= _ENOUGH * best[0][1] and not near:
                times.append(t_ms)
                taken.add((shot, frame))
    return taken


def square(box: list[float], margin: float) -> tuple[float, float, float]:
    """Left, top and side of the square crop around a box (left, top, width, height)."""
    left, top, width, height = box
    side = max(width, height) * margin
    return left + width / 2 - side / 2, top + height / 2 - side / 2, side


def read_crop(path: Path, row: Row) -> bytes:
    """The JPEG of a chosen face, from the `crops.bin` beside its ledger.

    Raises:
        DataError: if the file is not the one that the ledger speaks of.
    """
    fix = "delete the ledger of gates; it is made anew"
    try:
        with path.with_name(CROPS).open("rb") as file:
            data = os.pread(file.fileno(), row["bytes"], row["at"])
    except OSError as error:
        raise DataError(
            error.strerror or str(error), where=path, fix="delete the ledger; it is made anew"
        ) from error
    if hashlib.sha256(data).hexdigest()[:16] != row["sha"]:
        raise DataError(f"damaged crop {row['key']}", where=path, fix=fix)
    return data


def _pictures(path: Path, wanted: dict[int, list[Row]]) -> Iterator[tuple[Row, np.ndarray]]:
    left = len(wanted)
    for frame in read_frames(path) if wanted else ():
        if frame.index in wanted:
            picture = frame.picture()
            yield from ((row, picture) for row in wanted[frame.index])
            left -= 1
            if not left:
                return


def _names(movie: Movie, row: Row) -> Row:
    text = f"{movie.name}_{row['shot']:05d}_{row['frame']:07d}_{row['face']:02d}"
    digest = hashlib.sha256(text.encode()).digest()
    return {"key": text, "uid": int.from_bytes(digest[:8], "big") >> 1}


class _Crops:
    """Writes the crops aside, and renames when all are there."""

    def __init__(self, path: Path) -> None:
        self._path, self._aside, self._size = path, path.with_name(path.name + ".part"), 0
        self._file = self._aside.open("wb")

    def __enter__(self) -> _Crops:
        return self

    def __exit__(self, *error: object) -> None:
        self._file.close()

    def add(self, row: Row, picture: np.ndarray, options: Options) -> Row:
        left, top, side = square(row["box"], options.margin)
        scale = options.size / side
        buffer = io.BytesIO()
        image = crop(picture, (left, top, side), options.size)
        Image.fromarray(image).save(buffer, "JPEG", quality=options.quality)
        data = buffer.getvalue()
        self._file.write(data)
        at, self._size = self._size, self._size + len(data)
        x, y, width, height = row["box"]
        moved = [(x - left) * scale, (y - top) * scale, width * scale, height * scale]
        points = [[(px - left) * scale, (py - top) * scale] for px, py in row["lm5"]]
        return {
            "at": at,
            "bytes": len(data),
            "sha": hashlib.sha256(data).hexdigest()[:16],
            "bbox": [round(value, 1) for value in moved],
            "crop_lm5": [[round(value, 1) for value in point] for point in points],
        }

    def finish(self) -> None:
        self._file.flush()
        os.fsync(self._file.fileno())
        self._aside.replace(self._path)


def crop(picture: np.ndarray, area: tuple[float, float, float], size: int) -> np.ndarray:
    """A square (left, top, side in pixels) as uint8 [size, size, 3]; borders go on outside the picture."""
    import cv2

    left, top, side = area
    x0, y0, whole = int(np.floor(left)), int(np.floor(top)), int(np.ceil(side)) + 1
    height, width = picture.shape[:2]
    above, below = max(-y0, 0), max(y0 + whole - height, 0)
    before, after = max(-x0, 0), max(x0 + whole - width, 0)
    inner = picture[max(y0, 0) : max(y0 + whole, 0), max(x0, 0) : max(x0 + whole, 0)]
    part = cv2.copyMakeBorder(inner, above, below, before, after, cv2.BORDER_REPLICATE)
    scale = size / side
    if scale < 1:  # an affine map does not average: shrink first, then shift by the rest
        shrunk = max(size, round(whole * scale))
        part = cv2.resize(part, (shrunk, shrunk), interpolation=cv2.INTER_AREA)
        left, top, scale = (
            (left - x0) * shrunk / whole,
            (top - y0) * shrunk / whole,
            size / (side * shrunk / whole),
        )
    else:
        left, top = left - x0, top - y0
    move = np.array([[scale, 0, (0.5 - left) * scale - 0.5], [0, scale, (0.5 - top) * scale - 0.5]])
    return cv2.warpAffine(part, move, (size, size), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
