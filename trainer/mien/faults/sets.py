"""A small set of captioned noise: no face is drawn, so it takes a moment."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from mien.data.writer import ShardWriter
from mien.faces.captions import describe_label

LABELS = ("happiness", "sadness", "anger", "fear", "surprise", "disgust", "neutral")


def write_set(out: Path, size: int = 96, *, seed: int = 0, first_uid: int = 1000) -> Path:
    """Write an "emocap/1" set of 32-pixel JPEGs whose uids are `first_uid`, `first_uid + 1`, ..."""
    rng = np.random.default_rng(seed)
    with ShardWriter(out, "emocap/1", samples_per_shard=24) as writer:
        for number in range(size):
            record = _record(first_uid + number, LABELS[number % len(LABELS)], rng)
            members = {"jpg": _jpeg(rng), "json": json.dumps(record).encode()}
            writer.write(f"{number:06d}", members)
    return out


def _record(uid: int, label: str, rng: np.random.Generator) -> dict[str, Any]:
    caption = describe_label(label, rng)
    locals_ = [
        {"text": local.text, "region": local.region, "au": local.au, "intensity": local.intensity}
        for local in caption.locals
    ]
    return {
        "uid": uid, "label": label, "group": f"person-{uid % 12}", "global": caption.global_,
        "summary": caption.summary, "locals": locals_,
    }  # fmt: skip


def _jpeg(rng: np.random.Generator) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(rng.integers(0, 256, (32, 32, 3), dtype=np.uint8)).save(buffer, "JPEG", quality=80)
    return buffer.getvalue()
