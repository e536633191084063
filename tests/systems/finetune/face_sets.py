"""Small sets whose classes are told by colour: images, and clips whose classes differ in order only."""

from __future__ import annotations

import io
import json
from pathlib import Path

import av
import numpy as np
from PIL import Image

from mien.data.writer import ShardWriter

CLASSES = ("red", "green", "blue")
UNEVEN = {"red": 24, "green": 12, "blue": 4}


def _record(number: int, label: str) -> bytes:
    return json.dumps({"uid": 1000 + number, "label": label, "group": f"p{number // 2}"}).encode()


def _picture(label: str, rng: np.random.Generator) -> np.ndarray:
    pixels = rng.integers(0, 90, (32, 32, 3), dtype=np.uint8)
    pixels[..., CLASSES.index(label)] += 120
    return pixels


def write_images(out: Path, counts: dict[str, int] = UNEVEN, seed: int = 0, first: int = 0) -> Path:
    """Pictures in which one colour is strong, so many a class."""
    rng = np.random.default_rng(seed)
    labels = [label for label, count in counts.items() for _ in range(count)]
    with ShardWriter(out, "labelled/1", samples_per_shard=16) as writer:
        for number, label in enumerate(rng.permutation(labels).tolist()):
            data = io.BytesIO()
            Image.fromarray(_picture(label, rng)).save(data, "PNG")
            members = {"png": data.getvalue(), "json": _record(first + number, label)}
            writer.write(f"{number:05d}", members)
    return out


def encode(frames: list[np.ndarray]) -> bytes:
    """Frames uint8 [H, W, 3] as mp4."""
    target = io.BytesIO()
    with av.open(target, "w", format="mp4") as container:
        stream = container.add_stream("mpeg4", rate=10)
        stream.height, stream.width, stream.pix_fmt = *frames[0].shape[:2], "yuv420p"
        stream.bit_rate = 4_000_000
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode())
    return target.getvalue()


def write_clips(out: Path, each: int = 8, seed: int = 0, length: int = 12) -> Path:
    """Clips that turn from dark to bright (`rise`) or back (`fall`): the same frames in another order."""
    rng = np.random.default_rng(seed)
    with ShardWriter(out, "clip/1", samples_per_shard=8) as writer:
        for number in range(2 * each):
            label = ("rise", "fall")[number % 2]
            levels = np.linspace(20, 230, length) + rng.normal(0, 4)
            levels = levels if label == "rise" else levels[::-1]
            frames = [np.full((32, 32, 3), np.clip(level, 0, 255), np.uint8) for level in levels]
            writer.write(f"{number:05d}", {"mp4": encode(frames), "json": _record(number, label)})
    return out
