"""A trained EmoCapCLIP as an encoder, its weights for export, and starting a model from another's weights."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mien.engine.rundir import RunFolder
from mien.errors import RunError
from mien.systems.emocapclip.config import ModelConfig, ObjectiveConfig
from mien.systems.emocapclip.model import EmoCapCLIP
from mien.systems.emocapclip.rows import unit
from mien.systems.emocapclip.tokens import tokenize
from mien.systems.weights import load_strictly, read_state, state_for_export


class EmoCapEncoder:
    """The two towers at rest: `mien.systems.encoder.Encoder`.

    Args:
        model: trained weights.
        image_size: side in pixels that the image tower takes.
        patches: whether the patch head was trained; without, patches are read by the head of the whole image.
        device: where to compute; None takes a GPU if there is one.
    """

    def __init__(
        self, model: EmoCapCLIP, image_size: int, patches: bool, device: torch.device | None = None
    ) -> None:
        self.device = device or torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.model = model.to(self.device).eval().requires_grad_(False)
        self.image_size = image_size
        self.logit_scale = float(model.log_scale.exp())
        self.patches = patches

    @torch.inference_mode()
    def encode_images(self, images: Tensor) -> Tensor:
        """Images uint8 [B, 3, H, W] of any size to unit rows float32 [B, D] on the CPU."""
        return self._rows(self.model.image(self.model.normalise(self._fit(images))).embedding).cpu()

    @torch.inference_mode()
    def image_features(self, images: Tensor, normalise: bool = True) -> Tensor:
        """Embeddings of images uint8 [B, 3, H, W], not scaled to length 1: float32 [B, D] on the CPU.

        Args:
            images: pictures of any size.
            normalise: with CLIP's mean and deviation; without, pixels are in [0, 1] (spec 6.3, expclip).
        """
        fitted = self._fit(images)
        pixels = self.model.normalise(fitted) if normalise else fitted.float() / 255
        embedding: Tensor = self.model.image(pixels).embedding
        return embedding.float().cpu()

    @torch.inference_mode()
    def encode_texts(self, texts: list[str]) -> Tensor:
        """T texts, at least one, to unit rows float32 [T, D] on the CPU."""
        return self.model.read(self._tokens(texts)).cpu()

    @torch.inference_mode()
    def patch_maps(self, images: Tensor, texts: list[str]) -> Tensor:
        """Cosine of each image's patches with its own text: float32 [B, h, w] on the CPU.

        Raises:
            ValueError: if there is not one text an image.
        """
        if len(images) != len(texts):
            raise ValueError(f"{len(images)} images and {len(texts)} texts: give one text an image")
        seen = self.model.image(self.model.normalise(self._fit(images))).patches
        maps = torch.einsum("bpd,bd->bp", self._head(seen), self.model.read(self._tokens(texts)))
        side = round(maps.shape[1] ** 0.5)
        return maps.unflatten(1, (side, side)).cpu()

    @property
    def looks(self) -> tuple[str, ...]:
        """How `heat_maps` can look, the best first; by `patches` only if the patch head was trained."""
        return ("patches", "gradient") if self.patches else ("gradient",)

    def heat_maps(self, images: Tensor, targets: Tensor, by: str) -> Tensor:
        """Where each image resembles its own target: float32 [B, h, w] on the CPU, larger is more.

        By patches: cosine of unit(W_loc LN_loc(h)) with the target. By the gradient: |gradient x input| of
        the cosine of the whole image, summed over colours, averaged over cells of an eighth of the side.

        Args:
            images: uint8 [B, 3, H, W] of any size.
            targets: unit rows float32 [B, D], of texts or classes.
            by: one of `looks`.
        """
        fitted, targets = self._fit(images), targets.to(self.device)
        if by == "patches":
            with torch.inference_mode():
                patches = self.model.project(self.model.image(self.model.normalise(fitted)).patches)
                maps = torch.einsum("bpd,bd->bp", patches, targets)
                side = round(maps.shape[1] ** 0.5)
                return maps.unflatten(1, (side, side)).cpu()
        with torch.enable_grad():
            pixels = self.model.normalise(fitted).requires_grad_()
            rows = self._rows(self.model.image(pixels).embedding)
            score = (rows * targets.clone()).sum()  # as a copy: they may come from inference mode
            (gradient,) = torch.autograd.grad(score, pixels)
        share = (gradient * pixels.detach()).sum(1, keepdim=True).abs()
        return F.adaptive_avg_pool2d(share, self.image_size // 8)[:, 0].cpu()

    def _head(self, patches: Tensor) -> Tensor:
        norm, projection = self.model.image.head()
        if self.patches or norm is None or projection is None:
            return self.model.project(patches)
        return self._rows(norm(patches) @ projection)

    def _rows(self, embeddings: Tensor) -> Tensor:
        """What the image tower's head gives, [..., D], to unit rows float32."""
        return unit(embeddings)

    def _fit(self, images: Tensor) -> Tensor:
        """Resized to the tower's square, uint8 on the model's device, without regard to the aspect."""
        images = images.to(self.device)
        if images.shape[-2:] != (self.image_size, self.image_size):
            size = (self.image_size, self.image_size)
            resized = F.interpolate(
                images.float(), size, mode="bilinear", antialias=True, align_corners=False
            )
            images = resized.round_().clamp_(0, 255).to(torch.uint8)
        return images

    def _tokens(self, texts: list[str]) -> Tensor:
        return torch.stack([torch.tensor(tokenize(text)) for text in texts]).to(self.device)


def load(run: str | Path, which: str = "last", device: torch.device | None = None) -> EmoCapEncoder:
    """The encoder of a run, with averaged weights where the run kept an average.

    Args:
        run: run folder.
        which: `last`, `best` or a step number.
        device: where to compute; None takes a GPU if there is one.

    Raises:
        RunError: if the run or checkpoint cannot be used.
    """
    folder = RunFolder.open(run)
    recipe = folder.recipe
    assert isinstance(recipe.model, ModelConfig)
    assert isinstance(recipe.objective, ObjectiveConfig)
    bare = recipe.model.model_copy(
        update={"weights": None, "init_from": None}
    )  # all weights come from the run
    model = EmoCapCLIP(bare, recipe.objective)
    load_strictly(model, state_for_export(folder, which), folder.path)
    return EmoCapEncoder(model, recipe.model.image_size, recipe.objective.local.patches, device)


def start_from(model: nn.Module, source: str) -> None:
    """Load all weights of a run folder or of an exported safetensors file.

    Raises:
        RunError: if the source is absent or its tensors do not fit.
    """
    path = Path(source)
    if path.is_dir():
        state = state_for_export(RunFolder.open(path))
    elif path.exists():
        state = read_state(path)
    else:
        raise RunError(
            "nothing to start from", where=source, fix="set model.init_from to a run folder or file"
        )
    load_strictly(model, state, source)
