"""Noise of the training: schedule, what each sample draws, loss, guidance (magicface spec, 3 to 5)."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple

import torch
from pydantic import Field
from torch import Tensor

from mien.config import Config
from mien.systems.editing.config import NoiseConfig
from mien.systems.ranks import mean_count

__all__ = [
    "STEPS", "Draw", "Guidance", "NoiseConfig", "alphas", "cleaned", "draw", "error", "goal", "guided",
    "noised", "weights",
]  # fmt: skip

STEPS = 1000
"""Time steps of Stable Diffusion 1.5's schedule."""


def alphas(config: NoiseConfig) -> Tensor:
    """Product of 1 - beta up to each time step, float64 [1000]: square roots of betas rise evenly.

    With `zero_snr` its root is moved and stretched so that the last one is 0 and the first one as before.
    """
    ends = math.sqrt(config.beta_start), math.sqrt(config.beta_end)
    betas = torch.linspace(*ends, STEPS, dtype=torch.float64).square()
    kept = (1 - betas).cumprod(0)
    if config.zero_snr:
        root = kept.sqrt()
        kept = ((root - root[-1]) * root[0] / (root[0] - root[-1])).square()
    return kept


class Draw(NamedTuple):
    """What a micro batch draws."""

    step: Tensor
    """Time steps, int64 [B]."""
    noise: Tensor
    """float32 [B, C, h, w]."""
    keep: Tensor
    """bool [B]: whether the sample keeps its condition vector."""


def draw(config: NoiseConfig, seed: int, at: int, uids: Sequence[int], shape: Sequence[int]) -> Draw:
    """Time steps, noise and dropped conditions of samples, on the CPU.

    Each depends on (seed, step of the training, uid of the sample) alone: neither on the rank nor on the
    number of ranks, so that a resumed or a re-sharded run repeats them.

    Args:
        config: how to draw.
        seed: of the run.
        at: steps done so far.
        uids: of the samples.
        shape: of a latent, (C, h, w).
    """
    steps, noises, keeps = [], [], []
    for uid in uids:
        key = hashlib.blake2b(f"{seed}/{at}/{uid}".encode(), digest_size=8).digest()
        generator = torch.Generator().manual_seed(int.from_bytes(key, "big") >> 1)
        steps.append(_step(config.late, generator))
        keeps.append(torch.rand((), generator=generator) >= config.drop)
        noise = torch.randn(tuple(shape), generator=generator)
        if config.offset:
            noise = noise + config.offset * torch.randn(shape[0], 1, 1, generator=generator)
        noises.append(noise)
    return Draw(torch.stack(steps), torch.stack(noises), torch.stack(keeps))


def _step(late: float, generator: torch.Generator) -> Tensor:
    if late == 1:
        return torch.randint(STEPS, (), generator=generator)
    even = torch.rand((), generator=generator, dtype=torch.float64)
    return (STEPS * even ** (1 / late)).long().clamp(max=STEPS - 1)


def noised(clean: Tensor, noise: Tensor, alpha: Tensor) -> Tensor:
    """sqrt(alpha) clean + sqrt(1 - alpha) noise; alpha [B] of each sample's time step."""
    alpha = alpha.to(clean.dtype).view(-1, *[1] * (clean.ndim - 1))
    return alpha.sqrt() * clean + (1 - alpha).sqrt() * noise


def goal(config: NoiseConfig, clean: Tensor, noise: Tensor, alpha: Tensor) -> Tensor:
    """What the denoiser should say, [B, C, h, w]; arguments as of `noised`."""
    if config.prediction == "epsilon":
        return noise
    if config.prediction == "sample":
        return clean
    return noised(noise, -clean, alpha)


def cleaned(config: NoiseConfig, predicted: Tensor, noisy: Tensor, alpha: Tensor) -> Tensor:
    """The clean latent that a prediction of `goal` amounts to; poor where noise has left nothing of it.

    predicted, noisy: [B, C, h, w]; alpha [B].
    """
    if config.prediction == "sample":
        return predicted
    alpha = alpha.to(noisy.dtype).view(-1, *[1] * (noisy.ndim - 1))
    if config.prediction == "epsilon":
        return (noisy - (1 - alpha).sqrt() * predicted) / alpha.sqrt().clamp_min(1e-3)
    return alpha.sqrt() * noisy - (1 - alpha).sqrt() * predicted


def weights(config: NoiseConfig, alpha: Tensor) -> Tensor:
    """Weight of each sample's squared error, [B]: 1, or that of min-SNR for what is predicted."""
    if config.min_snr is None:
        return torch.ones_like(alpha)
    snr = alpha / (1 - alpha)
    of_clean = snr.clamp(max=config.min_snr)
    return {"epsilon": of_clean / snr, "v": of_clean / (snr + 1), "sample": of_clean}[config.prediction]


def error(predicted: Tensor, wanted: Tensor, weight: Tensor, valid: Tensor) -> Tensor:
    """Weighted mean squared errors of the valid samples, summed, over how many a rank has on average; 0-d.

    predicted, wanted: [B, C, h, w]; weight: [B] or [B, 1, h, w]; valid: bool [B].
    """
    squares = (predicted.float() - wanted.float()).square()
    weight = weight.float().view(len(weight), 1, *(weight.shape[2:] or (1, 1)))
    return ((squares * weight).flatten(1).mean(1) * valid).sum() / mean_count(valid.float().sum())


class Guidance(Config):
    """Guidance over the condition vector: eps(0) + scale (eps(vector) - eps(0))."""

    scale: float = Field(default=3.0, ge=0)
    """1 is no guidance, and one pass in place of two."""
    start: float = Field(default=0.0, ge=0, le=1)
    """Share of the sampler's steps after which it begins."""
    stop: float = Field(default=1.0, ge=0, le=1)
    """Share of the sampler's steps after which it ends."""
    shape: Literal["constant", "cosine"] = "constant"
    """`cosine`: rises from 1 to `scale` and falls back to 1 between `start` and `stop`."""

    def at(self, progress: float) -> float:
        """Scale at a share 0..1 of the steps."""
        if not self.start <= progress <= self.stop:
            return 1.0
        if self.shape == "constant" or self.start == self.stop:
            return self.scale
        place = (progress - self.start) / (self.stop - self.start)
        rise = float(0.5 - 0.5 * torch.cos(torch.tensor(2 * torch.pi * place)))
        return 1 + (self.scale - 1) * rise


def guided(predict: Callable[[Tensor], Tensor], vector: Tensor, scale: float) -> Tensor:
    """Prediction for `vector` [B, width], guided; zero vectors and scale 1 take one pass."""
    if scale == 1 or not vector.any():
        return predict(vector)
    without, with_ = predict(torch.zeros_like(vector)), predict(vector)
    return without + scale * (with_ - without)
