"""Stage 4: near copies inside a movie (emocapclip spec, section 2, step 2)."""

from __future__ import annotations

import io
from collections import Counter
from pathlib import Path

import numpy as np
from PIL import Image

from mien.corpus.gates import read_crop
from mien.corpus.ledger import Ledger, Row, Writer
from mien.corpus.measure import aligned, vectors
from mien.corpus.options import Options

USES = ("hash_bits", "face_cosine", "expression_cosine")
"""Options that decide the outcome."""


def drop_copies(path: Path, key: str, options: Options, gates: Ledger) -> None:
    """Write the ledger of faces that stay; the first of like ones in time does.

    Each chosen face of stage 3 has a row with `key`, `reason` and `dup`. `duplicate_hash`: its perceptual
    hash is that of an earlier face but for `hash_bits`, and its expression vector is near. `duplicate_face`:
    vectors of face and of expression are both nearly those of an earlier one, in whatever shot. `dup` is the
    uid of the face that stays, for all faces of a group of two or more. The row keeps the hash, as 16
    hexadecimal digits.

    Raises:
        DataError: if the crops are not those of the ledger.
    """
    rows = [row for row in gates.rows if row["reason"] is None]
    index = Copies(options)
    found = [index.add(row, read_crop(path.with_name("gates.jsonl"), row)) for row in rows]
    groups = Counter(row["dup"] for row in found)
    for row in found:
        if groups[row["dup"]] < 2:
            row["dup"] = None
    with Writer(path, "dedup", key) as ledger:
        for row in found:
            ledger.add(row)
        ledger.finish(Counter(row["reason"] or "kept" for row in found))


class Copies:
    """Faces that stay so far, by hash and vectors."""

    def __init__(self, options: Options) -> None:
        self._options = options
        self._uids: list[int] = []
        self._hashes = np.zeros(0, np.uint64)
        self._who: list[np.ndarray] = []
        self._what: list[np.ndarray] = []

    def add(self, row: Row, jpeg: bytes) -> Row:
        """Judge one face: a row of the ledger."""
        picture = np.asarray(Image.open(io.BytesIO(jpeg)).convert("RGB"))
        code = perceptual_hash(picture)
        who, what = vectors(aligned(picture, np.array(row["crop_lm5"])))
        place, reason = self._copy_of(code, who, what)
        if place < 0:
            self._uids.append(row["uid"])
            self._hashes = np.append(self._hashes, np.uint64(code))
            self._who.append(who)
            self._what.append(what)
        told = {"key": row["key"], "uid": row["uid"], "reason": reason, "dup": self._uids[place]}
        return {**told, "phash": f"{code:016x}"}

    def _copy_of(self, code: int, who: np.ndarray, what: np.ndarray) -> tuple[int, str | None]:
        if self._uids:
            faces, acts = np.stack(self._who) @ who, np.stack(self._what) @ what
            alike = acts >= self._options.expression_cosine
            # A hash of a face sees light and outline, not the mouth: alone it would drop other expressions.
            near = np.bitwise_count(self._hashes ^ np.uint64(code)) <= self._options.hash_bits
            same = faces >= self._options.face_cosine
            for found, reason in ((near & alike, "duplicate_hash"), (same & alike, "duplicate_face")):
                if found.any():
                    return int(np.where(found, acts, -2).argmax()), reason
        return -1, None


def perceptual_hash(picture: np.ndarray) -> int:
    """64-bit pHash (Zauner 2010) of uint8 [h, w, 3] RGB."""
    import imagehash

    return int(str(imagehash.phash(Image.fromarray(picture))), 16)
