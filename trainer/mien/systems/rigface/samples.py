"""Samples of RigFace: source, target, grey background, rendering and psi of the target."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import torch

from mien.data.collate import collate_plain
from mien.data.reader import Sample
from mien.errors import DataError
from mien.systems.editing import latents
from mien.systems.editing.pair_samples import labels, picture
from mien.systems.editing.parsing import blacked
from mien.systems.rigface.backend import psi_shown
from mien.systems.rigface.background import DILATION, grey_background, person_mask
from mien.systems.rigface.codes import Codes
from mien.systems.rigface.config import BACKENDS, RigFaceModel
from mien.systems.rigface.records import from_record

Item = dict[str, Any]

STORED = "tgt.psi.npy"
"""Member with psi of backends whose psi is not in the codes, float32 [width]."""


class Transform:
    """A stored pair to an item. None is mirrored: psi tells left from right.

    Args:
        model: size, backend, dilations.
        train: whether the dilation is drawn for each sample; else it is `background.DILATION`.
    """

    def __init__(self, model: RigFaceModel, train: bool) -> None:
        self.size = model.image_size
        self.backend = model.backend
        self.dilation = model.dilation if train else None
        self.stamp = latents.stamp(model)

    def __call__(self, sample: Sample, rng: np.random.Generator, epoch: int) -> Item:
        """Item of `src`, `tgt`, `bg`, `render` uint8 [3, S, S], `face` [1, S, S], `vector` float32, `uid`.

        The background is the source's, without the source's person, and without the target's where the pose
        differs; rendering and vector, psi [width], are the target's (rigface spec, 2). Of a sample that was
        encoded ahead: `latents.item`; its background is dilated as in evaluation.

        Raises:
            DataError: for a pair that cannot be used, or one of another backend.
        """
        if latents.is_encoded(sample):
            return latents.item(sample, self.stamp)
        record = sample.record
        if (theirs := record.get("backend")) != self.backend:
            what = f"a pair of backend {theirs}, not of {self.backend}"
            raise DataError(what, where=sample.where, fix="set model.backend to that of the set")
        was, is_ = (from_record(record[key], sample.where) for key in ("codes_src", "codes_tgt"))
        source, _ = picture(sample, "src", self.size)
        target, _ = picture(sample, "tgt", self.size)
        shown = labels(sample, "tgt", self.size)
        # Drawn whatever the pair is, so that the numbers do not depend on it.
        grown = DILATION if self.dilation is None else float(rng.uniform(*self.dilation))
        other = shown if was.pose != is_.pose else None
        mask = person_mask(labels(sample, "src", self.size), other, grown)
        grey = grey_background(source.permute(1, 2, 0).numpy(), mask)
        return {
            "src": source.contiguous(),
            "tgt": target.contiguous(),
            "bg": torch.from_numpy(grey).permute(2, 0, 1).contiguous(),
            "render": picture(sample, "tgt.render", self.size)[0].contiguous(),
            "face": torch.from_numpy(blacked(shown, "face").astype(np.uint8))[None],
            "vector": torch.from_numpy(psi_of(sample, is_, self.backend)),
            "uid": record["uid"],
        }


def psi_of(sample: Sample, codes: Codes, backend: str) -> np.ndarray:
    """Psi of the target, float32 [width]: what the rendering shows of the codes, or what the set stores.

    Raises:
        DataError: for codes of a space that the backend does not draw, or a stored psi that is absent or of
            another form.
    """
    wanted = BACKENDS[backend]
    if codes.space != wanted.space:
        what = f"codes of {codes.space!r}, while backend {backend} draws {wanted.space!r}"
        raise DataError(what, where=sample.where, fix="make the set with one backend")
    if not wanted.stored:
        return psi_shown(codes).copy()
    fix = f"store it as {STORED}: plain float32 [{wanted.width}], finite"
    if STORED not in sample.members:
        raise DataError(f"backend {backend} without psi", where=sample.where, fix=fix)
    # That it is a plain array is checked with the record.
    psi = np.load(io.BytesIO(sample.members[STORED]), allow_pickle=False)
    if psi.shape != (wanted.width,) or psi.dtype.kind != "f" or not np.isfinite(psi).all():
        raise DataError(f"psi is {psi.dtype} {[*psi.shape]}", where=sample.where, fix=fix)
    return psi.astype(np.float32)


collate = collate_plain
"""Batches of the items, see `mien.data.collate`."""
