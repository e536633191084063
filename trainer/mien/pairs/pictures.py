"""Stage `pictures`: gates, the choice of moments of a track, and the crops of the spec's section 2."""

from __future__ import annotations

import io
from collections import Counter, defaultdict
from pathlib import Path

import numpy as np
from PIL import Image

from mien.corpus.find import face_rows
from mien.corpus.gates import gate
from mien.corpus.ledger import Ledger, Row, Writer
from mien.corpus.scan import Movie
from mien.corpus.video import read_frames
from mien.editing.crop import crop_face
from mien.errors import DataError
from mien.pairs.blobs import BlobWriter
from mien.pairs.options import PairOptions

USES = ("score", "side", "yaw", "blur", "inside", "size", "share", "mirrored", "quality", "faces")
"""Options that decide the outcome."""

BLOB = "pictures.bin"
"""The pictures of a video, JPEG."""


def cut_pictures(movie: Movie, path: Path, key: str, options: PairOptions, faces: Ledger) -> None:
    """Write the ledger of pictures and the pictures.

    Every face has a row with `reason` null, or the first gate that it fails: those of `mien.corpus.gates`;
    `alone` has no other face in its track; `not_chosen` passes, but the track has more than enough;
    `mirrored` lies too far at the edge of the frame; `undecodable`. A chosen one adds `picture`, for
    `read_blob`, and `matrix` [2][3], from the frame to the picture.

    Raises:
        VideoError: if the file cannot be opened any more.
    """
    rows = [{**row, "reason": gate(row, options)} for row in face_rows(faces)]
    _choose(rows, options.faces)
    wanted = defaultdict[int, list[Row]](list)
    for row in rows:
        if row["reason"] is None:
            wanted[row["frame"]].append(row)
    with Writer(path, "pictures", key) as ledger, BlobWriter(path.with_name(BLOB)) as blob:
        _cut(movie, wanted, blob, options)
        for row in rows:
            if row["reason"] is None and "picture" not in row:
                row["reason"] = "undecodable"
            ledger.add(row)
        blob.finish()
        ledger.finish(Counter(row["reason"] or "kept" for row in rows))


def _choose(rows: list[Row], most: int) -> None:
    """Of each track faces from the stillest to the most changed, evenly by rank, in place."""
    tracks = defaultdict[tuple[int, int], list[Row]](list)
    for row in rows:
        if row["reason"] is None:
            tracks[row["shot"], row["track"]].append(row)
    for passing in tracks.values():
        ranked = sorted(passing, key=lambda row: (row["change"], row["frame"]))
        places = set(np.linspace(0, len(ranked) - 1, min(most, len(ranked))).round().astype(int).tolist())
        for place, row in enumerate(ranked):
            if len(ranked) < 2:
                row["reason"] = "alone"
            elif place not in places:
                row["reason"] = "not_chosen"


def _cut(movie: Movie, wanted: dict[int, list[Row]], blob: BlobWriter, options: PairOptions) -> None:
    left = len(wanted)
    for frame in read_frames(movie.path) if wanted else ():
        if frame.index not in wanted:
            continue
        picture = frame.picture()
        for row in wanted[frame.index]:
            _cut_one(picture, row, blob, options)
        left -= 1
        if not left:
            return


def _cut_one(picture: np.ndarray, row: Row, blob: BlobWriter, options: PairOptions) -> None:
    try:
        crop = crop_face(picture, row["box"], options.size, share=options.share)
    except DataError:  # its centre lies outside the frame
        row["reason"] = "cut_off"
        return
    if crop.outside.mean() > options.mirrored:
        row["reason"] = "mirrored"
        return
    buffer = io.BytesIO()
    Image.fromarray(crop.canvas).save(buffer, "JPEG", quality=options.quality)
    row["picture"] = blob.add(buffer.getvalue())
    row["matrix"] = [[round(float(value), 4) for value in line] for line in crop.matrix]
