"""A small set whose samples are told apart by eye, and a transform that shows its random numbers."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from mien.data.decode import decode_sample
from mien.data.reader import Sample
from mien.data.writer import ShardWriter

CLASSES = ("anger", "happiness", "neutral")
SIDE = 16


def picture(number: int, side: int = SIDE) -> np.ndarray:
    """Smooth colours that no other number has, uint8 [side, side, 3]."""
    small = np.random.default_rng(number).integers(0, 256, (3, 3, 3), dtype=np.uint8)
    return np.asarray(Image.fromarray(small).resize((side, side), Image.Resampling.BICUBIC))


def encode(array: np.ndarray, kind: str = "JPEG", **options: Any) -> bytes:
    """Bytes of an image file."""
    target = io.BytesIO()
    Image.fromarray(array).save(target, kind, **options)
    return target.getvalue()


def members(number: int, **record: Any) -> dict[str, bytes]:
    """Sample `number`: its class goes round, four samples a person."""
    base = {"uid": 1000 + number, "label": CLASSES[number % 3], "group": f"p{number // 4}"}
    return {"jpg": encode(picture(number)), "json": json.dumps(base | record).encode()}


def write_set(out: Path, samples: int, samples_per_shard: int) -> Path:
    """A set of schema `labelled/1`; key of sample 5: `s0005`."""
    with ShardWriter(out, "labelled/1", samples_per_shard) as writer:
        for number in range(samples):
            writer.write(f"s{number:04d}", members(number))
    return out


def show(sample: Sample, rng: np.random.Generator, epoch: int) -> dict[str, Any]:
    """Item with the sample's uid, the epoch it is told, its first random numbers, and its image."""
    draws = (
        int(sample.record["uid"]) % 4 + 1
    )  # how many a sample takes must not change what the next one gets
    return {
        "uid": sample.record["uid"],
        "told": epoch,
        "draw": torch.from_numpy(rng.random(draws)[:1].copy()),
        "img": decode_sample(sample),
    }
