"""What a local sentence is contrasted with: V1 patch groups, V3 landmark regions (spec section 3)."""

from __future__ import annotations

import torch
from torch import Tensor

from mien.faces.actions import REGIONS
from mien.systems.emocapclip.config import LocalConfig
from mien.systems.emocapclip.rows import unit
from mien_kernels import group_patches

TEMPLATE = ((0.34, 0.42), (0.66, 0.42), (0.5, 0.6), (0.38, 0.76), (0.62, 0.76))
"""Eyes, nose tip, mouth corners of an aligned crop, (x, y) as fractions of the image, for want of `lm5`."""

# Centre, spread of each region in face coordinates: u along the line of the eyes in eye distances (0 in the
# middle; regions are symmetric, so the sides need no telling apart), v from the eyes (0) to the mouth (1).
_AREAS: dict[str, tuple[float, float, float, float]] = {
    "eyes": (0.5, 0.0, 0.25, 0.2),
    "brows": (0.5, -0.35, 0.3, 0.2),
    "forehead": (0.0, -0.8, 0.6, 0.3),
    "nose": (0.0, 0.5, 0.25, 0.3),
    "cheeks": (0.65, 0.55, 0.25, 0.25),
    "nasolabial": (0.35, 0.75, 0.2, 0.25),
    "mouth": (0.0, 1.0, 0.4, 0.2),
    "jaw_chin": (0.0, 1.5, 0.45, 0.3),
}
_FLOOR = 1e-4  # a region outside the image falls back to the whole of it


def region_masks(landmarks: Tensor, side: int) -> Tensor:
    """Share of each patch in each region.

    Args:
        landmarks: float [B, 5, 2], (x, y) as fractions of the image; NaN where unknown (then `TEMPLATE`).
        side: patches along a side of the square grid.

    Returns:
        float32 [B, R, side^2], rows sum to 1, R regions as in `REGIONS`; head_gaze and other are uniform.
    """
    known = landmarks.isfinite().all(-1).all(-1)[:, None, None]
    points = torch.where(known, landmarks.float(), landmarks.new_tensor(TEMPLATE, dtype=torch.float32))
    middle, mouth = points[:, :2].mean(1), points[:, 3:].mean(1)
    across, down = points[:, 1] - points[:, 0], mouth - middle
    ticks = (torch.arange(side, device=points.device) + 0.5) / side
    grid = torch.stack(torch.meshgrid(ticks, ticks, indexing="xy"), -1).reshape(1, -1, 2) - middle[:, None]
    u = (grid * across[:, None]).sum(-1) / across.square().sum(-1, keepdim=True).clamp(min=1e-4)
    v = (grid * down[:, None]).sum(-1) / down.square().sum(-1, keepdim=True).clamp(min=1e-4)
    masks = []
    for region in REGIONS:
        if region not in _AREAS:
            masks.append(torch.ones_like(u))
            continue
        at_u, at_v, wide, high = _AREAS[region]
        masks.append(torch.exp(-(((u.abs() - at_u) / wide) ** 2 + ((v - at_v) / high) ** 2) / 2))
    stacked = torch.stack(masks, 1) + _FLOOR
    return stacked / stacked.sum(-1, keepdim=True)


def queries(
    config: LocalConfig, patches: Tensor, sentences: Tensor, mask: Tensor, region: Tensor, landmarks: Tensor
) -> Tensor:
    """q of V1 or V3: one pooled image vector a sentence.

    Args:
        config: the branch, `group` or `region`.
        patches: x, unit rows float32 [B, P, D].
        sentences: t, unit rows float32 [B, M, D]; zero where padded.
        mask: bool [B, M], which sentences are real.
        region: int [B, M], index into `REGIONS`, -1 where padded.
        landmarks: float [B, 5, 2] as in `region_masks`.

    Returns:
        Unit rows float32 [B * M, D]; zero where padded.
    """
    batch, count = mask.shape
    if config.branch == "group":
        owner = torch.arange(batch, device=mask.device)[:, None].expand(batch, count)
        owner = owner.masked_fill(~mask, -1).reshape(-1)
        return group_patches(patches, sentences.reshape(batch * count, -1), owner, config.sigma)
    side = round(patches.shape[1] ** 0.5)
    masks = region_masks(landmarks, side)
    chosen = masks.gather(1, region.clamp(min=0)[..., None].expand(-1, -1, masks.shape[-1]))
    pooled = unit(torch.einsum("bmp,bpd->bmd", chosen.to(patches.dtype), patches))
    return pooled.masked_fill(~mask[..., None], 0).reshape(batch * count, -1)
