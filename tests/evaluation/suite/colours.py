"""Toy benchmarks of coloured pictures, and an encoder that sees the mean colour and reads class words."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from mien.benchmarks.base import Benchmark, Item, Making, Task
from mien.evaluation.promptset import load_prompts

TITLE = {"raf-db": "RAF-DB"}
CLASSES = ("anger", "happiness", "sadness")
RED, GREEN, BLUE, GREY = (200, 0, 0), (0, 200, 0), (0, 0, 200), (100, 100, 100)
COLOUR = dict(zip(CLASSES, (RED, GREEN, BLUE)))


class ColourEncoder:
    """Images to their mean colour in [0, 1], not scaled; texts to the axis of the class that they name."""

    image_size = 8
    logit_scale = 10.0

    def __init__(self, axes: dict[str, int] | None = None) -> None:
        words = load_prompts("mafw").classes
        self.axes = axes or {
            word: place
            for place, label in enumerate(CLASSES)
            for word in (label, *words[label].nouns, *words[label].adjectives)
        }
        self.calls = 0
        self.normalised: list[bool] = []

    def image_features(self, images: torch.Tensor, normalise: bool = True) -> torch.Tensor:
        self.calls += len(images)
        self.normalised.append(normalise)
        return images.float().mean((2, 3)) / 255

    def encode_images(self, images: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.normalize(self.image_features(images), dim=1)

    def encode_texts(self, texts: list[str]) -> torch.Tensor:
        rows = torch.full((len(texts), 3), 1e-3)
        for row, text in zip(rows, texts):
            for word, axis in self.axes.items():
                if word in text.lower():
                    row[axis] = 1
        return torch.nn.functional.normalize(rows, dim=1)

    def patch_maps(self, images: torch.Tensor, texts: list[str]) -> torch.Tensor:
        return images.float().mean(1)[: len(texts)]


def paint(path: Path, colour: tuple[int, int, int]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (8, 8), colour).save(path)
    return path


def benchmark(
    name: str,
    read: Callable[[Path], list[Item]],
    task: Task = "static",
    classes: tuple[str, ...] = CLASSES,
    units: tuple[int, ...] = (),
    folds: int = 0,
) -> Benchmark:
    def make(folder: Path, how: Making) -> None:
        for item in read(folder):
            for path in item.media:
                paint(path, COLOUR.get(item.label or "", GREY))

    return Benchmark(
        name, TITLE.get(name, name), task, classes, "none", "*.png", read, make, "*.png", units, folds
    )


def picture_set(folder: Path, shown: list[tuple[str, str]], name: str = "toy", **more: object) -> Benchmark:
    """A static benchmark: (true class, class whose colour is drawn) an item; people in pairs."""
    items = [
        Item(f"i{i}", (paint(folder / f"{i}.png", COLOUR[seen]),), label, group=f"p{i // 2}")
        for i, (label, seen) in enumerate(shown)
    ]
    return benchmark(name, lambda _: items, **more)


def frames(media: tuple[Path, ...], count: int, how: str) -> np.ndarray:
    """Evenly spaced frame files as uint8 [count, 3, H, W]; short clips collapse under `expclip`."""
    places = [(2 * i + 1) * len(media) // (2 * count) for i in range(count)]
    if how == "expclip" and len(media) <= count:
        places = [0] * count
    return np.stack([np.asarray(Image.open(media[i])).transpose(2, 0, 1) for i in places])
