"""From the media of items to one unit vector each: pictures in batches, clips as the mean of their frames,
or as what an encoder of clips makes of them.

Two protocols (emocapclip spec, section 6.3) that differ in pixels and in frames, so a table holds one of
them: `clean` lets the encoder normalise and spaces frames evenly; `expclip` gives pixels in [0, 1] without
CLIP's mean and deviation and samples frames as the published loader of Exp-CLIP does.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Protocol, get_args, runtime_checkable

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional as F

from mien.data.decode import decode
from mien.data.images import load_image
from mien.errors import DataError, MienError
from mien.evaluation.encoding import unit
from mien.systems.encoder import Encoder

ProtocolName = Literal["clean", "expclip"]
PROTOCOLS: tuple[ProtocolName, ...] = get_args(ProtocolName)
"""Ways to treat pixels, frames and prompts."""

FRAMES = 16
"""Frames taken of a clip."""

PICTURES = frozenset(
    {".jpg", ".jpeg", ".png", ".bmp", ".gif", ".ppm", ".pgm", ".tif", ".tiff", ".webp"}
)  # fmt: skip
"""Endings of files that are one picture; a single file of another ending is a clip."""

Media = tuple[Path, ...]
Floats = npt.NDArray[np.float64]
ClipReader = Callable[[Sequence[Path], int, Literal["even", "expclip"]], npt.NDArray[np.uint8]]
"""(media, count, how) -> uint8 [count, 3, H, W]; raises DataError for a clip that cannot be read."""


@runtime_checkable
class FeatureEncoder(Protocol):
    """An encoder that also shows the embedding before it is normalised."""

    def image_features(self, images: Tensor, normalise: bool = True) -> Tensor:
        """Images uint8 [B, 3, H, W] to float32 [B, D] on the CPU, of any length.

        Args:
            images: pictures.
            normalise: subtract CLIP's mean and divide by its deviation; else pixels are in [0, 1].
        """
        ...


@runtime_checkable
class ClipEncoder(Protocol):
    """An encoder of whole clips."""

    def encode_clip(self, frames: Tensor) -> Tensor:
        """Frames uint8 [T, 3, H, W] of one clip in order to its embedding float32 [D], not normalised."""
        ...


def read_clip(media: Sequence[Path], count: int, how: Literal["even", "expclip"]) -> npt.NDArray[np.uint8]:
    """Frames of a clip, uint8 [count, 3, H, W]; decoded by `mien.benchmarks.clips`."""
    from mien.benchmarks.clips import clip_frames

    frames: npt.NDArray[np.uint8] = clip_frames(media, count, how)
    return frames


def is_clip(media: Media) -> bool:
    """Whether the media of an item are frames or a video file."""
    return len(media) > 1 or media[0].suffix.lower() not in PICTURES


@dataclass
class Embedder:
    """Unit vectors of media by one encoder and one protocol; each is computed once.

    Args:
        encoder: what to score.
        protocol: of `PROTOCOLS`.
        clips: reads frames.
        batch: pictures at once.

    Raises:
        MienError: for `expclip` with an encoder that shows no features without CLIP's normalisation, or with
            one of clips: that protocol averages frames.
    """

    encoder: Encoder
    protocol: ProtocolName
    clips: ClipReader = read_clip
    batch: int = 64
    damaged: dict[Media, str] = field(default_factory=dict)
    """Why media could not be read."""
    _vectors: dict[Media, Floats] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.protocol not in PROTOCOLS:
            raise MienError(f"unknown protocol '{self.protocol}'", fix="choose of " + ", ".join(PROTOCOLS))
        if self.protocol == "expclip" and isinstance(self.encoder, ClipEncoder):
            raise MienError(
                "this encoder takes whole clips, and that protocol averages frames",
                where="expclip",
                fix="use --protocol clean",
            )
        if self.protocol == "expclip" and not isinstance(self.encoder, FeatureEncoder):
            raise MienError(
                "this encoder cannot leave out CLIP's normalisation",
                where="expclip",
                fix="use --protocol clean",
            )

    @property
    def note(self) -> str:
        """How clips become one vector, for the report."""
        if isinstance(self.encoder, ClipEncoder):
            return f"{FRAMES} frames through the clip encoder"
        raw = isinstance(self.encoder, FeatureEncoder)
        return f"mean of {FRAMES} frame embeddings {'before' if raw else 'after'} normalisation"

    def prepare(self, media: Iterable[Media], step: Callable[[int], object] = lambda _: None) -> None:
        """Compute what is not known yet; media that cannot be read are entered in `damaged`.

        Args:
            media: of items.
            step: told how many of them are done.
        """
        waiting: list[tuple[Media, Tensor]] = []
        for one in media:
            if one not in self._vectors and one not in self.damaged:
                try:
                    if is_clip(one):
                        self._vectors[one] = self._clip(one)
                    else:
                        waiting.append((one, self._fit(_picture(one[0])[None])))
                except DataError as error:
                    self.damaged[one] = str(error)
            if len(waiting) == self.batch:
                self._flush(waiting)
            step(1)
        self._flush(waiting)

    def vectors(self, media: Sequence[Media]) -> Floats:
        """Unit vectors float64 [N, D] of media that were prepared and are whole."""
        return np.stack([self._vectors[one] for one in media])

    def _flush(self, waiting: list[tuple[Media, Tensor]]) -> None:
        if waiting:
            rows = unit(self._features(torch.cat([picture for _, picture in waiting])))
            self._vectors.update((one, row) for (one, _), row in zip(waiting, rows))
            waiting.clear()

    def _clip(self, media: Media) -> Floats:
        how: Literal["even", "expclip"] = "even" if self.protocol == "clean" else "expclip"
        frames = self._fit(torch.from_numpy(np.ascontiguousarray(self.clips(media, FRAMES, how))))
        if isinstance(self.encoder, ClipEncoder):
            row = self.encoder.encode_clip(frames).double().cpu().numpy().reshape(-1)
            return np.asarray(unit(row), dtype=np.float64)
        return np.asarray(unit(self._features(frames).mean(0)), dtype=np.float64)

    def _features(self, images: Tensor) -> Floats:
        if isinstance(self.encoder, FeatureEncoder):
            rows = self.encoder.image_features(images, normalise=self.protocol == "clean")
        else:
            rows = self.encoder.encode_images(images)
        return rows.double().cpu().numpy()

    def _fit(self, images: Tensor) -> Tensor:
        """Resized to the encoder's square without regard to the aspect, uint8 [N, 3, S, S]."""
        side = self.encoder.image_size
        if images.shape[-2:] == (side, side):
            return images
        resized = F.interpolate(
            images.float(), (side, side), mode="bilinear", antialias=True, align_corners=False
        )
        return resized.round_().clamp_(0, 255).to(torch.uint8)


def _picture(path: Path) -> Tensor:
    """A picture file as uint8 [3, H, W]."""
    try:
        return decode(load_image(path)[1])
    except DataError as error:
        raise DataError(error.what, where=path, fix="fetch the file again") from error
