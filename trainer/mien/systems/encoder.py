"""What evaluation needs of a trained model, whatever the system."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from torch import Tensor

from mien.data.reader import Sample


class Encoder(Protocol):
    """Images and texts in one space; calls move their input to the model's device and keep no graph."""

    @property
    def image_size(self) -> int:
        """Side in pixels that images are resized to."""
        ...

    @property
    def logit_scale(self) -> float:
        """Multiplier of cosines before a softmax over classes."""
        ...

    def encode_images(self, images: Tensor) -> Tensor:
        """Images uint8 [B, 3, H, W] of any size to unit rows float32 [B, D] on the CPU."""
        ...

    def encode_texts(self, texts: list[str]) -> Tensor:
        """T texts to unit rows float32 [T, D] on the CPU."""
        ...

    def patch_maps(self, images: Tensor, texts: list[str]) -> Tensor:
        """Cosine of each image's patches with its own text: float32 [B, h, w] on the CPU."""
        ...

    @property
    def looks(self) -> tuple[str, ...]:
        """How `heat_maps` can look, the best first: by `patches`, by the `gradient`."""
        ...

    def heat_maps(self, images: Tensor, targets: Tensor, by: str) -> Tensor:
        """Where images uint8 [B, 3, H, W] resemble their own unit rows [B, D]: float32 [B, h, w]."""
        ...


class Classifier(Protocol):
    """A model with classes of its own."""

    @property
    def classes(self) -> tuple[str, ...]:
        """Labels, in the order of the outputs."""
        ...

    def probabilities(self, samples: Iterable[Sample]) -> Tensor:
        """Probabilities of the classes, float32 [N, C] on the CPU; labels are not looked at."""
        ...
