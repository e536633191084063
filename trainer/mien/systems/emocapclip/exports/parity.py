"""The same images and texts through mien and through what was exported."""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec

import torch
from torch import Tensor

from mien.errors import RunError
from mien.systems.emocapclip.load import EmoCapEncoder

TOLERANCE = 1e-4
"""Largest difference of a coordinate of a unit row that counts as rounding; large towers sum more terms."""
TEXTS = [
    "The face shows happiness.",
    "anger",
    "The inner corners of the brows are raised and drawn together, which suggests sadness; it isn't calm.",
]


def require(*packages: str) -> None:
    """Raise RunError where an optional package is absent."""
    absent = [name for name in packages if find_spec(name) is None]
    if absent:
        raise RunError(
            f"{' and '.join(absent)} missing: this format needs it",
            where="--to",
            fix="pip install 'mien[export]'",
        )


def require_same(
    encoder: EmoCapEncoder,
    images_of: Callable[[Tensor], Tensor],
    texts_of: Callable[[list[str]], Tensor],
    name: str,
) -> float:
    """Compare embeddings of three random images and of `TEXTS`.

    Args:
        encoder: mien's own.
        images_of: normalised images float32 [3, 3, S, S] to embeddings [3, D], of any length.
        texts_of: texts to embeddings [T, D], of any length.
        name: of the format, for the message.

    Returns:
        The largest difference of a coordinate of the unit rows.

    Raises:
        RunError: if it is above `TOLERANCE`.
    """
    side = encoder.image_size
    random = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (3, 3, side, side), generator=random, dtype=torch.uint8)
    with torch.inference_mode():
        seen = torch.nn.functional.normalize(images_of(encoder.model.normalise(images)).float(), dim=-1)
        read = torch.nn.functional.normalize(texts_of(TEXTS).float(), dim=-1)
    pairs = ((seen, encoder.encode_images(images)), (read, encoder.encode_texts(TEXTS)))
    apart = max(float((other - own).abs().max()) for other, own in pairs)
    if not apart <= TOLERANCE:
        raise RunError(
            f"embeddings of the {name} model differ by {apart:.2g}: it computes something else",
            where=name,
            fix="export to another format",
        )
    return apart
