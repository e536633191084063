"""What makes runs of editors short."""

from __future__ import annotations

SMALL = (
    "model.image_size=32", "model.unet.channels=[16,16]", "model.unet.groups=4", "model.unet.heads=2",
    "model.unet.prompt_width=8", "engine.threads=1", "engine.global_batch=8", "engine.schedule.warmup=2",
    "engine.log_every=1", "engine.ema=0.9", "data.workers=0", "data.log_samples=true", "data.val=null",
    "engine.val_every=null", "tracking.wandb=off",
)  # fmt: skip
"""Overrides of the tiny recipes."""
