"""Towers of open_clip and their weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mien.errors import RunError
from mien.systems.weights import read_state


def load_open_clip(tower: str, weights: str | None, image_size: int) -> tuple[Any, Tensor | None]:
    """Make an open_clip model with a separate text tower, and load its weights.

    Args:
        tower: name of an open_clip config.
        weights: a local file, a pretrained tag (downloaded by open_clip), or None for random weights.
        image_size: side in pixels; position embeddings are resized to it.

    Returns:
        The model (`.visual`, `.text`) and the log of its logit scale, None for random weights.

    Raises:
        RunError: if the weights cannot be had or do not fit.
    """
    import open_clip
    from open_clip import factory

    local = weights is not None and (Path(weights).exists() or "/" in weights or "." in weights)
    tag = None if local else weights
    try:
        model = open_clip.create_model(
            tower,
            tag,
            force_custom_text=True,
            force_image_size=image_size,
            device=torch.get_default_device(),  # `mien plan` builds on meta; open_clip would go to the CPU
        )
    except (RuntimeError, OSError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise RunError(
            f"open_clip cannot make it: {reason}", where=tower, fix="check tower and weights"
        ) from error
    if local:
        read_state(Path(str(weights)))  # refuses what is not plain tensors before open_clip reads it
        try:
            factory.load_checkpoint(model, str(weights), strict=True, weights_only=True)
        except (RuntimeError, KeyError, ValueError) as error:
            reason = " ".join(str(error).split())[:300]
            raise RunError(
                f"weights do not fit {tower}: {reason}", where=weights, fix="check `model.tower`"
            ) from error
    if not hasattr(model, "text"):
        raise RunError("tower has no text encoder of its own", where=tower, fix="choose a CLIP config")
    scale = model.logit_scale.detach().reshape(()).clone() if weights else None
    return model, scale
