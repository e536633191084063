"""Vectors of whole sets from an encoder."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch

from mien.evaluation.faceset import FaceSet
from mien.systems.encoder import Encoder


@torch.no_grad()
def embed_faces(encoder: Encoder, faces: FaceSet, batch: int = 64) -> npt.NDArray[np.float32]:
    """Unit image vectors of a set, [N, D]."""
    parts = [
        encoder.encode_images(images).float().cpu() for images in faces.batches(encoder.image_size, batch)
    ]
    return torch.cat(parts).numpy()


@torch.no_grad()
def embed_texts(encoder: Encoder, texts: Sequence[str], batch: int = 256) -> npt.NDArray[np.float32]:
    """Unit text vectors, [T, D]; a text that occurs twice is encoded once."""
    unique = list(dict.fromkeys(texts))
    parts = [encoder.encode_texts(unique[i : i + batch]).float().cpu() for i in range(0, len(unique), batch)]
    vectors = torch.cat(parts).numpy()
    place = {text: i for i, text in enumerate(unique)}
    return vectors[[place[text] for text in texts]]


def unit(vectors: npt.NDArray[np.floating]) -> npt.NDArray[np.floating]:
    """Rows scaled to length 1; a zero row stays zero."""
    length = np.linalg.norm(vectors, axis=-1, keepdims=True)
    return vectors / np.maximum(length, 1e-12)


def centres(encoder: Encoder, prompts: Sequence[Sequence[str]]) -> npt.NDArray[np.float64]:
    """The unit mean of the unit prompt vectors of each class, [C, D] (protocol `clean`)."""
    return np.stack([unit(embed_texts(encoder, some).astype(np.float64).mean(0)) for some in prompts])


def template_means(encoder: Encoder, prompts: Sequence[Sequence[str]]) -> npt.NDArray[np.float64]:
    """The mean of the unit prompt vectors of each class, not scaled to length 1, [C, D] (protocol `expclip`).

    The product with an image is the mean over templates of its logits, since a product is linear.
    """
    return np.stack([embed_texts(encoder, some).astype(np.float64).mean(0) for some in prompts])
