"""From noise to edited latents: diffusers' samplers, and one feature pass a photo (magicface spec 5)."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Any, Literal, Protocol

import torch
from diffusers import DDIMScheduler, DPMSolverMultistepScheduler, UniPCMultistepScheduler
from pydantic import Field
from torch import Tensor

from mien.config import Config
from mien.systems.editing.noise import STEPS, Guidance, NoiseConfig, guided
from mien.systems.editing.reference import Bank, Pair

SAMPLERS: dict[str, Callable[..., Any]] = {
    "unipc": UniPCMultistepScheduler,
    # Its default cuts latents to -1..1, which only pixels are.
    "ddim": functools.partial(DDIMScheduler, clip_sample=False),
    "dpm++": DPMSolverMultistepScheduler,
}
"""By the name that `--sampler` takes; the first is the published one."""


# From the very last step on, where training has seen pure noise, too.
_FROM_NOTHING = {"rescale_betas_zero_snr": True, "timestep_spacing": "trailing"}
_PREDICTION = {"epsilon": "epsilon", "v": "v_prediction", "sample": "sample"}


class SampleConfig(Config):
    """How an edit is sampled."""

    sampler: Literal["unipc", "ddim", "dpm++"] = "unipc"
    steps: int = Field(default=50, ge=1, le=STEPS)
    guidance: Guidance = Guidance()
    seed: int = Field(default=424, ge=0)
    """Of the noise that all edits of a photo start from, so that a strip changes in nothing but the edit."""
    batch: int = Field(default=16, ge=1)
    """Edits at once."""


class Predicts(Protocol):
    """What the sampler needs of an editor."""

    def kept(self, photos: Tensor) -> tuple[Bank, dict[str, Pair]]:
        """See `Editor.kept`."""
        ...

    def noise(
        self, noisy: Tensor, maps: Tensor, step: Tensor, vector: Tensor, bank: Bank | None,
        prompt: Mapping[str, Pair] | None = None,
    ) -> Tensor:  # fmt: skip
        """See `Editor.noise`."""
        ...


@torch.inference_mode()
def sample(
    editor: Predicts, photo: Tensor, maps: Tensor, vectors: Tensor, noise: NoiseConfig, config: SampleConfig,
    note: Callable[[int], None] = lambda count: None,
) -> Tensor:  # fmt: skip
    """Latents of every edit of one photo, [E, C, h, w].

    Args:
        editor: trained networks, in evaluation mode.
        photo: clean latent [1, C, h, w], as the identity network takes it.
        maps: condition latents [E, M, h, w], or [1, M, h, w] for all edits.
        vectors: edits [E, width].
        noise: the schedule that the editor was trained with.
        config: how to sample.
        note: told of sampler steps done, over all batches `batches(E, config.batch)` of `config.steps` each.
    """
    generator = torch.Generator().manual_seed(config.seed)
    start = torch.randn(photo.shape, generator=generator).to(photo)
    bank, prompt = editor.kept(photo)
    made = []
    for first in range(0, len(vectors), config.batch):
        part = vectors[first : first + config.batch]
        here = maps if len(maps) == 1 else maps[first : first + config.batch]
        here = here.expand(len(part), -1, -1, -1)
        scheduler = SAMPLERS[config.sampler](
            num_train_timesteps=STEPS, beta_start=noise.beta_start, beta_end=noise.beta_end,
            beta_schedule="scaled_linear", prediction_type=_PREDICTION[noise.prediction],
            **(_FROM_NOTHING if noise.zero_snr else {}),
        )  # fmt: skip
        scheduler.set_timesteps(config.steps, device=photo.device)
        latents = start.expand(len(part), -1, -1, -1) * scheduler.init_noise_sigma
        for place, step in enumerate(scheduler.timesteps):
            scaled = scheduler.scale_model_input(latents, step)

            def predict(vector: Tensor, x: Tensor = scaled, at: Tensor = step, maps: Tensor = here) -> Tensor:
                return editor.noise(x, maps, at, vector, bank, prompt)

            scale = config.guidance.at(place / max(1, config.steps - 1))
            latents = scheduler.step(guided(predict, part, scale), step, latents).prev_sample
            note(1)
        made.append(latents)
    return torch.cat(made)


def batches(edits: int, batch: int) -> int:
    """How many batches `sample` makes of some edits."""
    return -(-edits // batch)
