"""Latents made ahead: the pictures of a set go through the codec once, and not at every step.

A sample of schema latents/1 holds float16 arrays in place of pictures: of the photo and the condition maps as
the codec gives them, of the target likewise (unscaled), and what weighs places: the share that shows the face
and how far source and target differ there. Its record says what they were made with.
"""

from __future__ import annotations

import hashlib
import io
import json
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from mien.config import Config
from mien.data import schema
from mien.data.reader import Sample
from mien.errors import DataError
from mien.systems.editing.pair_samples import as_pixels

SCHEMA = "latents/1"
ARRAYS = schema.ARRAYS[SCHEMA]
"""Members, with the extension npy: float16 [C, h, w]; C is 1 of the last two."""

_NOT_SEEN = (
    "unet", "condition", "prompt", "checkpointing", "init_from", "guidance", "face_share", "dilation",
)  # fmt: skip


def stamp(model: Config) -> str:
    """Stands for what of a `model:` section decides the latents: size, codec but for its folder, maps."""
    section = model.model_dump(mode="json")
    seen = {name: value for name, value in section.items() if name not in _NOT_SEEN}
    seen["codec"].pop("folder")
    return hashlib.sha256(json.dumps(seen, sort_keys=True).encode()).hexdigest()[:16]


def places(source: Tensor, target: Tensor, face: Tensor, side: int) -> tuple[Tensor, Tensor]:
    """Of each place of the latents: the share that shows the face, and the mean change around it.

    Args:
        source: uint8 [B, 3, S, S].
        target: like `source`.
        face: 0 or 1, [B, 1, S, S].
        side: of the latents.

    Returns:
        float32 [B, 1, side, side] in 0..1, and of values -1..1 in 0..2.
    """
    share = F.adaptive_avg_pool2d(face.float(), side)
    around = F.avg_pool2d((as_pixels(target) - as_pixels(source)).abs().mean(1, keepdim=True), 5, 1, 2)
    return share, F.adaptive_avg_pool2d(around, side)


def is_encoded(sample: Sample) -> bool:
    """Whether a sample holds latents in place of pictures."""
    return f"{ARRAYS[0]}.npy" in sample.members


def item(sample: Sample, wanted: str) -> dict[str, Any]:
    """Arrays of a sample as float16 tensors, its `vector` float32 and `uid`.

    Args:
        sample: of schema latents/1.
        wanted: `stamp` of the recipe's model.

    Raises:
        DataError: if the latents were made with something else, or an array is absent or of another form.
    """
    record = sample.record
    if record.get("encoded") != wanted:
        what = "latents of another size, codec or condition than the recipe's"
        raise DataError(what, where=sample.where, fix="make them again: mien data encode RECIPE OUT")
    arrays = {name: torch.from_numpy(_array(sample, name)) for name in ARRAYS}
    return {**arrays, "vector": torch.tensor(record["vector"], dtype=torch.float32), "uid": record["uid"]}


def members(record: dict[str, Any], arrays: dict[str, Tensor], where: str) -> dict[str, bytes]:
    """What a sample of schema latents/1 is written as.

    Raises:
        DataError: for values that float16 cannot hold.
    """
    written = {"json": json.dumps(record).encode()}
    for name in ARRAYS:
        values = arrays[name].to(torch.float16)
        if not values.isfinite().all():
            what = f"latents of {name} leave what float16 holds"
            raise DataError(what, where=where, fix="check the autoencoder and the picture")
        buffer = io.BytesIO()
        np.save(buffer, values.cpu().numpy(), allow_pickle=False)
        written[f"{name}.npy"] = buffer.getvalue()
    return written


def _array(sample: Sample, name: str) -> np.ndarray:
    # That it is there and a plain array is checked with the record.
    array: np.ndarray = np.load(io.BytesIO(sample.members[f"{name}.npy"]), allow_pickle=False)
    if array.dtype != np.float16 or array.ndim != 3:
        what = f"array {name} is {array.dtype} {[*array.shape]}, not float16 [C, h, w]"
        fix = "make the set again: mien data encode RECIPE OUT"
        raise DataError(what, where=sample.where, fix=fix)
    return array
