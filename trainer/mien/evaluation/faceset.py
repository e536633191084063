"""A labelled set as evaluation needs it: records in memory, images decoded on demand.

A damaged sample stops an evaluation: a number over part of a set would not say so.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torchvision.transforms.v2 import functional as vision

from mien.data.decode import decode_sample
from mien.data.reader import ShardSet
from mien.data.schema import CLIPS, validate, video_member
from mien.data.video import read_frames, spread
from mien.errors import DataError

PRESENT = 0.3
"""An action unit counts as present from this intensity on either side (FACS B and above, in [0, 1])."""


@dataclass(frozen=True)
class FaceSet:
    """Samples of a shard set, in index order."""

    shards: ShardSet
    name: str
    indices: npt.NDArray[np.int64]
    """Index of each sample in the shard set."""
    keys: list[str]
    records: list[dict[str, Any]]
    """JSON of each sample (`label`, `group`, captions, `au`)."""

    def __len__(self) -> int:
        return len(self.keys)

    @property
    def labels(self) -> list[str]:
        """Class of each sample."""
        return [record["label"] for record in self.records]

    @property
    def groups(self) -> list[str]:
        """Person of each sample."""
        return [record["group"] for record in self.records]

    def texts(self, level: str) -> list[str | None]:
        """The `global` or `summary` sentence of each sample, None where there is none."""
        return [record.get(level) for record in self.records]

    def take(self, keep: Sequence[int] | npt.NDArray[np.integer]) -> FaceSet:
        """The samples at these positions."""
        positions = [int(i) for i in keep]
        return FaceSet(
            self.shards,
            self.name,
            self.indices[positions],
            [self.keys[i] for i in positions],
            [self.records[i] for i in positions],
        )

    def of_classes(self, classes: Sequence[str]) -> FaceSet:
        """The samples whose label is in `classes`.

        Raises:
            DataError: when a class has no sample at all.
        """
        absent = sorted(set(classes) - set(self.labels))
        if absent:
            have = ", ".join(sorted(set(self.labels)))
            raise DataError(
                f"no sample of class '{absent[0]}'", where=self.name, fix=f"choose of {have} with --classes"
            )
        return self.take([i for i, label in enumerate(self.labels) if label in set(classes)])

    def image(self, position: int) -> Tensor:
        """Decoded image, of a clip its middle frame, uint8 [3, H, W].

        Raises:
            DataError: when it is damaged.
        """
        sample = self.shards.read(int(self.indices[position]))
        video = video_member(sample.members) if self.shards.schema in CLIPS else None
        return decode_sample(sample) if video is None else read_frames(video, spread(1), sample.where)[0]

    def batches(self, size: int, batch: int = 64) -> Iterator[Tensor]:
        """All images in order, uint8 [<= batch, 3, size, size]; aspect is not kept (spec, section 6.3)."""
        for start in range(0, len(self), batch):
            images = (self.image(i) for i in range(start, min(start + batch, len(self))))
            yield torch.stack([_resize(image, size) for image in images])

    def units(self) -> dict[int, npt.NDArray[np.bool_]]:
        """Presence of each action unit that any sample names, bool [N] by FACS number.

        Raises:
            DataError: when no sample carries `au`.
        """
        if not any(record.get("au") for record in self.records):
            raise DataError("no sample carries `au` intensities", where=self.name, fix="leave --task au out")
        strengths = [
            {int(n): max(map(float, sides)) for n, sides in record.get("au", {}).items()}
            for record in self.records
        ]
        numbers = sorted({n for units in strengths for n in units})
        return {n: np.array([units.get(n, 0.0) >= PRESENT for units in strengths]) for n in numbers}


def open_faces(folder: str | Path, classes: Sequence[str] | None = None) -> FaceSet:
    """Read every record of a shard set.

    Args:
        folder: holds `index.json`.
        classes: keep only these labels; all when None.

    Raises:
        DataError: for an empty set, a damaged sample, or a class without samples.
    """
    shards = ShardSet(folder)
    name = str(folder)
    if len(shards) == 0:
        raise DataError("the set is empty", where=name, fix="give a set with samples")
    keys, records = [], []
    for i in range(len(shards)):
        sample = shards.read(i)
        keys.append(sample.key)
        records.append(validate(shards.schema, sample.members, sample.where))
    faces = FaceSet(shards, name, np.arange(len(keys)), keys, records)
    return faces.of_classes(classes) if classes else faces


def require_disjoint(train: FaceSet, test: FaceSet) -> None:
    """Raise DataError when a person is in both sets: the numbers would not be about unseen people."""
    shared = sorted(set(train.groups) & set(test.groups))
    if shared:
        raise DataError(
            f"{len(shared)} test people (such as '{shared[0]}') are also in {train.name}",
            where=test.name,
            fix="split by person, or pass --allow-overlap if that is meant",
        )


def _resize(image: Tensor, size: int) -> Tensor:
    if image.shape[-2:] == (size, size):
        return image
    return vision.resize(image, [size, size], antialias=True)
