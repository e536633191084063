"""Stage `labels`: action units, parts, jaw, pose and identity of every picture."""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from mien.corpus.ledger import Ledger, Row, Writer
from mien.estimators.identity import IdentityEstimator, identities
from mien.estimators.units import UnitEstimator, intensities
from mien.faces.production import png
from mien.pairs.blobs import BlobWriter, read_blob
from mien.pairs.pictures import BLOB as PICTURES
from mien.systems.facereader.load import Reader

BLOB = "labels.bin"
"""What the pixels of each picture show, PNG; see `mien.systems.editing.parsing.CLASSES`."""

_BATCH = 16


@dataclass(frozen=True)
class Estimators:
    """Who reads the pictures.

    Attributes:
        reader: parts, jaw and pose.
        name: of the reader.
        units: intensities.
        identity: who it is.
    """

    reader: Reader
    name: str
    units: UnitEstimator
    identity: IdentityEstimator

    @property
    def names(self) -> tuple[str, str, str]:
        """Of all three: other ones label anew."""
        return self.name, self.units.name, self.identity.name


def label_pictures(path: Path, key: str, pictures: Ledger, estimators: Estimators) -> None:
    """Write the ledger of labels: the rows of the pictures that were kept, and what was read off each.

    A row adds `units` (12 intensities), `jaw` and `jaw_rest` (17 points, pixels of the picture), `pose`
    (degrees), `who` (unit row) and `parse`, for `read_blob`; `reason` is `unread` where the estimator of
    units says nothing finite.

    Raises:
        DataError: if a picture is damaged, or an estimator gives numbers of another shape.
    """
    kept = [row for row in pictures.rows if row["reason"] is None]
    counts = Counter[str]()
    with Writer(path, "labels", key) as ledger, BlobWriter(path.with_name(BLOB)) as blob:
        for batch in _batches(kept):
            shown = [_decoded(path, row) for row in batch]
            stacked = torch.from_numpy(np.stack(shown)).permute(0, 3, 1, 2).contiguous()
            for row, picture, read in zip(batch, shown, _read(stacked, estimators), strict=True):
                if read is None:
                    labelled = {**row, "reason": "unread"}
                else:
                    labelled = {**row, **read, **_seen(picture, estimators.reader, blob)}
                counts[labelled["reason"] or "kept"] += 1
                ledger.add(labelled)
        blob.finish()
        ledger.finish(counts)


def _batches(rows: Sequence[Row]) -> Iterator[Sequence[Row]]:
    for first in range(0, len(rows), _BATCH):
        yield rows[first : first + _BATCH]


def _decoded(path: Path, row: Row) -> np.ndarray:
    data = read_blob(path.with_name(PICTURES), row["picture"])
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))


def _read(pictures: Tensor, estimators: Estimators) -> Iterator[dict[str, Any] | None]:
    """Units, pose and identity of each picture; None where no units can be read."""
    units = intensities(estimators.units, pictures)
    who = identities(estimators.identity, pictures)
    poses = estimators.reader.measure(pictures).pose
    for levels, row, pose in zip(units, who, poses, strict=True):
        if np.isnan(levels).any():
            yield None
        else:
            yield {
                "units": [round(float(level), 3) for level in levels],
                "who": [round(float(value), 5) for value in row],
                "pose": [round(float(angle), 2) for angle in pose],
            }


def _seen(picture: np.ndarray, reader: Reader, blob: BlobWriter) -> dict[str, Any]:
    face = reader.read(picture)
    return {
        "parse": blob.add(png(face.labels)),
        "jaw": [[round(float(x), 2), round(float(y), 2)] for x, y in face.jaw],
        "jaw_rest": [[round(float(x), 2), round(float(y), 2)] for x, y in face.jaw_rest],
    }
