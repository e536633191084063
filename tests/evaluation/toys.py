"""A toy world: the class is the bright quadrant of the picture, and an encoder that sees and reads it."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from mien.data.writer import ShardWriter
from mien.evaluation.promptset import load_prompts

CLASSES = ("anger", "happiness", "neutral", "sadness")
SIDE = 32


def quadrant(number: int, strength: float, rng: np.random.Generator) -> np.ndarray:
    """Grey noise with one brighter quadrant, uint8 [SIDE, SIDE, 3]."""
    half = SIDE // 2
    picture = rng.normal(100, 20, (SIDE, SIDE))
    row, column = divmod(number, 2)
    picture[row * half : (row + 1) * half, column * half : (column + 1) * half] += strength
    return np.repeat(picture.clip(0, 255).astype(np.uint8)[:, :, None], 3, axis=2)


def record(label: str, number: int, group: str, uid: int) -> dict:
    """A captioned record; AU12 is present for happiness only, AU4 for anger and sadness."""
    units = {"12": [0.8 * (label == "happiness"), 0.1], "4": [0.6 * (label in {"anger", "sadness"}), 0.0]}
    place = ("upper left", "upper right", "lower left", "lower right")[number]
    return {
        "v": 1,
        "uid": uid,
        "label": label,
        "group": group,
        "global": f"This face shows {label}.",
        "summary": f"The {place} is bright, so the face reads as {label}.",
        "locals": [
            {"text": f"The {place} is bright, {word}.", "region": "mouth", "au": [12], "intensity": "high"}
            for word in ("clearly", "strongly", "plainly")
        ],
        "au": units,
    }


def write_set(
    out: Path,
    *,
    people: int,
    images: int,
    seed: int,
    first: int = 0,
    captions: bool = True,
    strength: float = 40,
) -> Path:
    """`images` samples of `people` people numbered from `first`; classes in turn."""
    rng = np.random.default_rng(seed)
    with ShardWriter(out, "emocap/1" if captions else "labelled/1") as writer:
        for i in range(images):
            number = i % len(CLASSES)
            said = record(CLASSES[number], number, f"p{first + i // len(CLASSES) % people}", 1000 * seed + i)
            if not captions:
                said = {key: said[key] for key in ("v", "uid", "label", "group")}
            buffer = io.BytesIO()
            Image.fromarray(quadrant(number, strength, rng)).save(buffer, "PNG")
            writer.write(f"s{seed}_{i:05d}", {"png": buffer.getvalue(), "json": json.dumps(said).encode()})
    return out


class FakeEncoder:
    """Images to their four quadrant means, centred; texts to the quadrant of the class word they hold."""

    image_size = SIDE
    logit_scale = 20.0

    def __init__(self) -> None:
        words = load_prompts("emotion7").classes
        self.axes = {
            word: number
            for number, label in enumerate(CLASSES)
            for word in {label, *words[label].nouns, *words[label].adjectives}
        }

    def encode_images(self, images: torch.Tensor) -> torch.Tensor:
        half = SIDE // 2
        means = torch.nn.functional.avg_pool2d(images.float().mean(1, keepdim=True), half).flatten(1)
        return torch.nn.functional.normalize(means - means.mean(1, keepdim=True), dim=1)

    def encode_texts(self, texts: list[str]) -> torch.Tensor:
        vectors = torch.full((len(texts), 4), 0.01)
        for row, text in zip(vectors, texts):
            for word in text.lower().strip(".").split():
                if word in self.axes:
                    row[self.axes[word]] += 1
        return torch.nn.functional.normalize(vectors - vectors.mean(1, keepdim=True), dim=1)

    def patch_maps(self, images: torch.Tensor, texts: list[str]) -> torch.Tensor:
        assert len(images) == len(texts)
        return torch.nn.functional.avg_pool2d(images.float().mean(1, keepdim=True), 4)[:, 0] / 255
