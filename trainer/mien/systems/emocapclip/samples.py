"""Samples of EmoCapCLIP: a record and an image to tensors, items to a batch (spec section 2)."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torchvision.transforms.v2 import functional as VF

from mien.data.config import AugmentConfig
from mien.data.decode import decode_sample
from mien.data.image_memory import stack_images
from mien.data.reader import Sample
from mien.errors import DataError
from mien.faces.actions import REGIONS
from mien.faces.captions import describe_label
from mien.faces.captions_check import mentions_side
from mien.systems.emocapclip.config import ModelConfig, ObjectiveConfig
from mien.systems.emocapclip.tokens import CONTEXT, tokenize

Item = dict[str, Any]
_REGION = {name: number for number, name in enumerate(REGIONS)}


@dataclass(frozen=True)
class Captions:
    """What is said of one image; None where a part is missing."""

    global_: str | None
    summary: str | None
    locals: tuple[tuple[str, str], ...]
    """(sentence, region) pairs."""

    @property
    def sentences(self) -> tuple[tuple[str, str], ...]:
        """(sentence, region) of the whole caption; global sentence and summary speak of region other."""
        first, last = (((text, "other"),) if text else () for text in (self.global_, self.summary))
        return (*first, *self.locals, *last)

    @property
    def texts(self) -> list[str]:
        """Every sentence."""
        return [text for text in (self.global_, self.summary, *(text for text, _ in self.locals)) if text]


def captions_of(sample: Sample, rng: np.random.Generator) -> Captions:
    """Captions of a sample: those of its record, or made from its label where it has none.

    Raises:
        DataError: if the record has neither captions nor a label that captions can be made of.
    """
    record = sample.record
    if "global" in record or "locals" in record or "summary" in record:
        locals_ = tuple((item["text"], item["region"]) for item in record.get("locals") or [])
        return Captions(record.get("global"), record.get("summary"), locals_)
    try:
        made = describe_label(record["label"], rng)
    except KeyError as error:
        fix = "give captions, or one of the labels of mien.faces.emotions"
        raise DataError(
            f"no caption for label {record.get('label')!r}", where=sample.where, fix=fix
        ) from error
    return Captions(made.global_, made.summary, tuple((local.text, local.region) for local in made.locals))


class Transform:
    """A stored sample to an item; all randomness comes from the generator, which the stream keys.

    Args:
        model: for the image size.
        objective: for M and guidance.
        augment: random changes, None for evaluation (resize only).
    """

    def __init__(self, model: ModelConfig, objective: ObjectiveConfig, augment: AugmentConfig | None) -> None:
        self.size = model.image_size
        self.count = objective.local.sentences
        self.whole = objective.local.draw == "caption"
        self.guided = objective.mining.rule is not None and objective.mining.source == "guide"
        self.augment = augment

    def __call__(self, sample: Sample, rng: np.random.Generator, epoch: int) -> Item:
        """Item with `img` uint8 [3, S, S], tokens int32, `uid`, `grp`, `lm5` float32 [5, 2] (NaN: unknown).

        Raises:
            DataError: for an image or record that cannot be used.
        """
        record, image = sample.record, decode_sample(sample)
        captions = captions_of(sample, rng)
        mirror = self.augment is not None and rng.random() < self.augment.flip
        mirror = mirror and not any(mentions_side(text) for text in captions.texts)
        image, landmarks = self._image(image, _landmarks(record), rng, mirror)
        drawn = captions.sentences if self.whole else captions.locals
        chosen = sorted(rng.permutation(len(drawn))[: self.count].tolist())
        item = {
            "img": image,
            "lm5": landmarks,
            "uid": record["uid"],
            "grp": group_key(record),
            "tok_g": tokenize(captions.global_) if captions.global_ else None,
            "tok_s": tokenize(captions.summary) if captions.summary else None,
            "tok_l": [tokenize(drawn[number][0]) for number in chosen],
            "region_l": [_REGION[drawn[number][1]] for number in chosen],
        }
        if self.guided:
            item["guide"] = _guide(sample)
        return item

    def _image(
        self, image: Tensor, landmarks: np.ndarray, rng: np.random.Generator, mirror: bool
    ) -> tuple[Tensor, np.ndarray]:
        """Crop, resize, mirror and change the colours; landmarks in pixels become fractions of the result."""
        height, width = image.shape[1:]
        top, left, high, wide = 0, 0, height, width
        if self.augment is not None:
            top, left, high, wide = crop_box(height, width, self.augment.scale, rng)
        image = VF.resized_crop(image, top, left, high, wide, [self.size, self.size], antialias=True)
        landmarks = (landmarks - (left, top)) / (wide, high)
        if mirror:
            image = image.flip(2)
            landmarks = landmarks[[1, 0, 2, 4, 3]] * (-1, 1) + (1, 0)
        if self.augment is not None and self.augment.jitter:
            image = jitter(image, self.augment.jitter, rng)
        return image, landmarks.astype(np.float32)


def crop_box(
    height: int, width: int, scale: tuple[float, float], rng: np.random.Generator
) -> tuple[int, int, int, int]:
    """Top, left, height, width of a random crop: an area share in `scale`, aspect near the image's."""
    side = rng.uniform(*scale) ** 0.5
    aspect = np.exp(rng.uniform(-0.1, 0.1) / 2)
    high, wide = (
        max(1, round(full * min(1.0, part)))
        for full, part in ((height, side / aspect), (width, side * aspect))
    )
    return int(rng.integers(height - high + 1)), int(rng.integers(width - wide + 1)), high, wide


def jitter(image: Tensor, strength: float, rng: np.random.Generator) -> Tensor:
    """Brightness, contrast and saturation by factors in 1 +- strength, in one pass: uint8 [3, H, W]."""
    bright, contrast, saturation = rng.uniform(1 - strength, 1 + strength, 3).tolist()
    x = image.float().mul_(bright)
    x = torch.lerp(x.mean(0, keepdim=True), x, saturation)
    return torch.lerp(x.mean(), x, contrast).round_().clamp_(0, 255).to(torch.uint8)


def _landmarks(record: dict[str, Any]) -> np.ndarray:
    """`lm5` in pixels, float64 [5, 2]; NaN where the record has none."""
    points = np.asarray(record.get("lm5") or np.full((5, 2), np.nan), np.float64)
    return points if points.shape == (5, 2) else np.full((5, 2), np.nan)


def _guide(sample: Sample) -> np.ndarray:
    """`guide.npy` of a sample, float32 [rows, d].

    Raises:
        DataError: if it is absent or no plain float array of two dimensions.
    """
    data = sample.members.get("guide.npy")
    if data is None:
        raise DataError(
            "sample without guide.npy", where=sample.where, fix="write guides, or mine with source online"
        )
    try:
        guide = np.load(io.BytesIO(data), allow_pickle=False)
    except (ValueError, EOFError, OSError) as error:
        raise DataError(
            f"guide.npy cannot be read: {error}", where=sample.where, fix="write it again"
        ) from error
    if guide.ndim != 2 or guide.dtype.kind != "f":
        raise DataError(
            f"guide.npy is {guide.dtype} {[*guide.shape]}", where=sample.where, fix="write float [rows, d]"
        )
    return guide.astype(np.float32)


def group_key(record: dict[str, Any]) -> int:
    """Non-negative int64 of images that are not each other's positives: `dup`, else the shot; -1: none."""
    if record.get("dup") is not None:
        text = f"dup {record['dup']}"
    elif record.get("movie") is not None and record.get("shot") is not None:
        text = f"shot {record['movie']} {record['shot']}"
    else:
        return -1
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big") >> 1


class Collate:
    """Items to a batch whose shapes depend on the recipe only; a None item becomes a dead row.

    Keys: `img` uint8 [B, 3, S, S]; `tok_g`, `tok_s` int32 [B, 77] with `has_g`, `has_s` bool [B]; `tok_l`
    int32 [B, M, 77] with `mask_l` bool, `region_l` int64 [B, M] (-1 where padded); `lm5` float32 [B, 5, 2];
    `uid`, `grp` int64 [B]; `valid` bool [B]; with guidance from files `guide` float32 [B, rows, d].
    """

    def __init__(self, model: ModelConfig, objective: ObjectiveConfig) -> None:
        self.size = model.image_size
        self.count = objective.local.sentences
        mining = objective.mining
        self.guide = (
            (mining.guide_rows, mining.guide_width) if mining.rule and mining.source == "guide" else None
        )

    def __call__(self, items: Sequence[Item | None]) -> dict[str, Tensor]:
        """Collate B items.

        Raises:
            DataError: for guidance of another shape than the recipe says.
        """
        size, count = len(items), self.count
        black = torch.zeros(self.size, self.size, 3, dtype=torch.uint8).permute(2, 0, 1)
        whole = {level: np.zeros((size, CONTEXT), np.int32) for level in "gs"}
        has = {level: np.zeros(size, bool) for level in "gs"}
        local, mask = np.zeros((size, count, CONTEXT), np.int32), np.zeros((size, count), bool)
        region = np.full((size, count), -1, np.int64)
        landmarks = np.full((size, 5, 2), np.nan, np.float32)
        ids = {key: np.full(size, -1, np.int64) for key in ("uid", "grp")}
        for row, item in enumerate(items):
            if item is None:
                continue
            for level in "gs":
                if item[f"tok_{level}"] is not None:
                    whole[level][row], has[level][row] = item[f"tok_{level}"], True
            for place, (tokens, area) in enumerate(zip(item["tok_l"], item["region_l"], strict=True)):
                local[row, place], region[row, place], mask[row, place] = tokens, area, True
            landmarks[row] = item["lm5"]
            for key, column in ids.items():
                column[row] = item[key]
        arrays: dict[str, np.ndarray] = {f"tok_{level}": whole[level] for level in "gs"} | {
            f"has_{level}": has[level] for level in "gs"
        }
        arrays |= {"tok_l": local, "mask_l": mask, "region_l": region, "lm5": landmarks, **ids}
        arrays["valid"] = np.array([item is not None for item in items])
        if self.guide is not None:
            arrays["guide"] = self._guides(items, self.guide)
        batch = {key: torch.from_numpy(array) for key, array in arrays.items()}
        batch["img"] = stack_images([black if item is None else item["img"] for item in items])
        return batch

    def _guides(self, items: Sequence[Item | None], shape: tuple[int, int]) -> np.ndarray:
        guides = np.full((len(items), *shape), np.nan, np.float32)
        for row, item in enumerate(items):
            if item is not None and item["guide"].shape != shape:
                what = f"guide.npy has shape {[*item['guide'].shape]}, the recipe says {[*shape]}"
                raise DataError(
                    what, where=f"uid {item['uid']}", fix="set objective.mining.guide_rows, guide_width"
                )
            if item is not None:
                guides[row] = item["guide"]
        return guides
