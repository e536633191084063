"""Checks of what callers pass to the contrast: each raises ValueError and says what was found."""

from __future__ import annotations

from torch import Tensor

from .side import FORMS
from .tags import Tags

EXCHANGES = ("gather", "ring")
"""Ways to see the candidates of other ranks: all at once, or one rank's at a time."""


def check_embeddings(a: Tensor, b: Tensor, scale: Tensor) -> None:
    """[R, D], [K, D] and a 0-d scale."""
    if a.ndim != 2 or b.ndim != 2 or a.shape[1] != b.shape[1]:
        raise ValueError(f"embeddings must be [R, D] and [K, D], got {[*a.shape]} and {[*b.shape]}")
    if scale.ndim != 0:
        raise ValueError(f"logit_scale must be a 0-d tensor, got shape {[*scale.shape]}")


def check_names(form: str, exchange: str, bias: Tensor | None) -> None:
    """Known form and exchange; a bias with ``sigmoid`` and only there."""
    if form not in FORMS:
        raise ValueError(f"unknown form {form!r}: choose one of {', '.join(FORMS)}")
    if exchange not in EXCHANGES:
        raise ValueError(f"unknown exchange {exchange!r}: choose one of {', '.join(EXCHANGES)}")
    if (bias is None) == (form == "sigmoid"):
        raise ValueError(f"logit_bias goes with form 'sigmoid' and only with it; the form is {form!r}")
    if bias is not None and bias.ndim != 0:
        raise ValueError(f"logit_bias must be a 0-d tensor, got shape {[*bias.shape]}")


def check_tags(tags: tuple[Tags, Tags] | None, rows: int, columns: int) -> None:
    """Tags of as many rows and candidates, with the same rules."""
    if tags is None:
        return
    if (len(tags[0]), len(tags[1])) != (rows, columns):
        raise ValueError(
            f"tags of {len(tags[0])} rows and {len(tags[1])} candidates for {rows} and {columns}"
        )
    if tags[0].rules != tags[1].rules:
        raise ValueError("tags of rows and of candidates must have the same rules")


def check_shape(tensor: Tensor | None, name: str, shape: tuple[int, ...]) -> None:
    """ValueError unless the tensor is absent or has the shape; -1 stands for any length."""
    if tensor is None:
        return
    fits = tensor.ndim == len(shape) and all(want in (-1, have) for want, have in zip(shape, tensor.shape))
    if not fits:
        wanted = ", ".join("*" if length < 0 else str(length) for length in shape)
        raise ValueError(f"{name} must have shape [{wanted}], got {[*tensor.shape]}")
