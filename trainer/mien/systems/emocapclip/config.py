"""The `model:` and `objective:` sections of an EmoCapCLIP recipe (spec sections 3 to 5)."""

from __future__ import annotations

import difflib
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from mien.config import Config
from mien.data.config import TrainConfig
from mien.errors import RunError


@cache
def open_clip_names() -> tuple[str, ...]:
    """Names of the model configs that open_clip ships, read from its folder without importing it."""
    spec = find_spec("open_clip")
    if spec is None or spec.origin is None:
        return ()
    return tuple(sorted(path.stem for path in (Path(spec.origin).parent / "model_configs").glob("*.json")))


class TinyConfig(Config):
    """Towers small enough to learn from scratch on a CPU in minutes; only read when `model.tower` is tiny."""

    widths: tuple[int, int, int, int] = (32, 64, 128, 192)
    """Channels of the four image stages; the last two keep the same grid."""
    blocks: tuple[int, int, int, int] = (1, 1, 1, 1)
    """Residual blocks of the four image stages."""
    embed: int = Field(default=128, ge=8)
    """Width D of the shared embedding space."""
    vocabulary_width: int = Field(default=64, ge=8)
    """Width of the token table (49,408 rows), projected to `text_width`: keeps the largest tensor small."""
    text_width: int = Field(default=128, ge=8)
    """Width of the text transformer."""
    text_layers: int = Field(default=2, ge=1)
    """Layers of the text transformer."""
    text_heads: int = Field(default=4, ge=1)
    """Attention heads of the text transformer."""

    @model_validator(mode="after")
    def _divides(self) -> TinyConfig:
        if self.text_width % self.text_heads:
            raise ValueError(
                f"text_width {self.text_width} must be a multiple of text_heads {self.text_heads}"
            )
        return self


class ModelConfig(Config):
    """The two towers."""

    tower: str = "tiny"
    """`tiny`, or the name of any open_clip config. OpenAI weights need the `-quickgelu` variant of a name."""
    weights: str | None = None
    """Starting weights of an open_clip tower: a local file (safetensors, or torch weights without code) or a
    pretrained tag such as `openai`, which open_clip downloads. null starts from random weights."""
    image_size: int = Field(default=224, ge=32, le=1024)
    """Side in pixels of the square image that the tower sees."""
    checkpointing: bool = False
    """Recompute the towers' activations in the backward pass: less memory, about a third more time."""
    text_buckets: tuple[Annotated[int, Field(ge=2, le=77)], ...] = ()
    """Lengths in tokens, rising, that cropped sentences are padded up to (77 beyond the last); the number of
    sentences is rounded up too. Embeddings stay the same, while torch.compile and the memory allocator meet
    few shapes. Empty: sentences are cropped to the longest."""
    init_from: str | None = None
    """Run folder or exported safetensors file of the same towers to start from: all weights, both scales."""
    tiny: TinyConfig = TinyConfig()

    @field_validator("tower")
    @classmethod
    def _known(cls, value: str) -> str:
        names = ("tiny", *open_clip_names())
        if value not in names:
            close = difflib.get_close_matches(value, names, n=1)
            hint = f"did you mean {close[0]!r}?" if close else "write tiny or the name of an open_clip config"
            raise ValueError(f"no tower called {value!r}; {hint}")
        return value

    @model_validator(mode="after")
    def _fits(self) -> ModelConfig:
        if list(self.text_buckets) != sorted(set(self.text_buckets)):
            raise ValueError(f"text_buckets rise, such as [16, 32, 48], not {list(self.text_buckets)}")
        if self.tower == "tiny" and self.weights:
            raise ValueError("weights are for open_clip towers; a tiny tower starts from `init_from`")
        if self.tower == "tiny" and self.image_size % 8:
            raise ValueError(f"image_size {self.image_size} must be a multiple of 8 for the tiny tower")
        if self.weights and self.init_from:
            raise ValueError("give either weights or init_from: the second would replace the first")
        return self


class LocalConfig(Config):
    """The local level: sentences about single facial areas (spec section 3, "Local branch")."""

    branch: Literal["none", "cls", "group", "attn", "region"] = "group"
    """What a sentence is contrasted with. `cls` (V0): the whole image. `group` (V1): the patches the sentence
    speaks of. `attn` (V2): patches pooled by attention that the sentence asks for, negatives too, with a
    sigmoid loss (FLAIR). `region` (V3): the patches of its region, placed by landmarks (`lm5`). `none`: no
    level."""
    weight: float = Field(default=0.5, ge=0)
    """lambda_loc."""
    sentences: int = Field(default=4, ge=1, le=16)
    """M: sentences drawn from each caption at a step, without replacement."""
    draw: Literal["local", "caption"] = "local"
    """What is drawn from: the local sentences, or all sentences of the caption, global and summary too."""
    scale: float = Field(default=1 / 0.07, ge=1, le=100)
    """Multiplier of the local logits at the start; learned, apart from the global one."""
    sigma: float | None = Field(default=None, ge=0, lt=1)
    """`group`: similarities below it (after scaling to 0..1) are dropped; null is 1 / patches."""
    bias: float | None = Field(default=None, ge=-100, le=100)
    """Sigmoid only: what is added to the local logits at the start; learned; null is -10."""
    negatives: int | None = Field(default=None, ge=1)
    """`attn`: K, other images that lend an image one sentence as a negative; null: all of the batch."""

    @property
    def active(self) -> bool:
        """Whether the level takes part."""
        return self.branch != "none" and self.weight > 0

    @property
    def patches(self) -> bool:
        """Whether the branch needs patch embeddings."""
        return self.active and self.branch != "cls"

    @model_validator(mode="after")
    def _negatives_are_of_attn(self) -> LocalConfig:
        if self.negatives is not None and self.branch != "attn":
            raise ValueError(f"negatives is for branch attn; branch {self.branch} sees all sentences")
        return self


class MiningConfig(Config):
    """Cross-modal guided positive mining (spec section 4)."""

    rule: Literal["swap", "consensus", "cross", "union", "text", "image"] | None = None
    """What makes another pair a positive: R1 `swap`, R2 `consensus`, R3 `cross`, R4 `union`, `text`, `image`;
    null mines nothing."""
    source: Literal["online", "guide", "table"] = "online"
    """Guidance: the detached embeddings of this step (G1), the `guide.npy` of each sample (G2), or neighbours
    in the whole set, mined beforehand (`data.train.neighbours`); of those the ones in the batch count."""
    guide_width: int = Field(default=0, ge=0, le=4096)
    """`guide`: columns of `guide.npy`."""
    guide_rows: Literal[1, 2] = 1
    """`guide`: rows of `guide.npy`. 1: text; images are compared by their embeddings. 2: text, image."""
    every: int | None = Field(default=None, ge=1)
    """`table`: epochs after which the run mines its training set anew with its own averaged weights; a run
    without `data.train.neighbours` begins without mined positives. Null keeps the table it was given."""
    k: int = Field(default=4, ge=1, le=64)
    """Positives a row, at most."""
    threshold: float = 1.5
    """tau: how many standard deviations above the mean similarity a positive must lie."""
    ignore: int = Field(default=8, ge=0, le=64)
    """Likely false negatives a row that are left out of the normaliser, at most."""
    ignore_threshold: float = 2.0
    """tau_ign, in standard deviations of the text similarity."""
    share: float = Field(default=0.3, ge=0, lt=1)
    """lam: share of the target that mined positives get once warm; the own pair keeps the rest."""
    hold_steps: int = Field(default=0, ge=0)
    """Steps without mined positives at the start (spec: 2 epochs)."""
    ramp_steps: int = Field(default=0, ge=0)
    """Steps over which the share then rises linearly (spec: 2 epochs)."""
    local_k: int = Field(default=4, ge=0, le=64)
    """Positives a sentence, from equal regions only; 0 mines none at the local level."""
    local_threshold: float = 2.0
    """tau of the local level."""
    local_ignore: int = Field(default=32, ge=0, le=256)
    """Sentences of the same region that are left out because they say nearly the same, at most."""
    local_same: float = Field(default=0.95, gt=0, le=1)
    """Sentence cosine from which two sentences of a region say the same."""

    @model_validator(mode="after")
    def _guided(self) -> MiningConfig:
        if self.source == "guide" and self.rule == "cross":
            raise ValueError("rule cross compares images with texts of this step: it needs source online")
        if self.source == "guide" and self.rule and not self.guide_width:
            raise ValueError("source guide needs guide_width, the columns of the samples' guide.npy")
        if self.every is not None and (self.source != "table" or self.rule is None):
            raise ValueError("every mines tables: it needs a rule and source table")
        return self


class ObjectiveConfig(Config):
    """L = global_weight L_g + summary_weight L_s + sentences_weight L_v0 + local.weight L_local (spec 3)."""

    loss: Literal["softmax", "sigmoid"] = "softmax"
    """`softmax`: CLIP's cross-entropy over a row. `sigmoid`: each pair by itself, with a learned bias
    (SigLIP, Zhai et al. 2023)."""

    global_weight: float = Field(default=0.5, ge=0)
    """Weight of the level image - global sentence; 0 switches it off."""
    summary_weight: float = Field(default=0.5, ge=0)
    """Weight of the level image - summary sentence; 0 switches it off."""
    sentences_weight: float = Field(default=0.0, ge=0)
    """Weight of the level image - drawn sentences, all of which are its positives (DreamLIP, FLAIR), at the
    global scale beside `local`; 0 switches it off."""
    local: LocalConfig = LocalConfig()
    mining: MiningConfig = MiningConfig()
    scale: float | None = Field(default=None, ge=1, le=100)
    """Multiplier of the global logits at the start; null takes the checkpoint's, without one 1 / 0.07, or 10
    for the sigmoid loss."""
    bias: float | None = Field(default=None, ge=-100, le=100)
    """Sigmoid only: what is added to the global logits at the start; learned; null is -10."""
    max_scale: float = Field(default=100.0, ge=1)
    """Upper clamp of both multipliers after each step; the lower one is 1."""
    form: Literal["out", "in", "dec"] = "out"
    """How several positives share a row's loss (spec 7.6)."""
    backend: Literal["auto", "dense", "chunked", "triton"] = "auto"
    """Back end of `mien_kernels`; auto goes by device, dtype and size."""
    exchange: Literal["gather", "ring"] = "gather"
    """How candidates of other ranks are seen: all at once, or one rank's at a time (less memory)."""

    @model_validator(mode="after")
    def _something(self) -> ObjectiveConfig:
        if not (self.whole or self.sentences_weight or self.local.active):
            raise ValueError("every level has weight 0: there is nothing to train on")
        if self.mining.rule and not self.whole:
            raise ValueError("mining compares whole captions: give global_weight or summary_weight a value")
        if self.exchange == "ring" and self.backend == "dense":
            raise ValueError("exchange ring works tile by tile: choose backend auto, chunked or triton")
        if self.scale is not None and self.scale > self.max_scale:
            raise ValueError(f"scale {self.scale} lies above max_scale {self.max_scale}")
        if self.local.scale > self.max_scale:
            raise ValueError(f"local.scale {self.local.scale} lies above max_scale {self.max_scale}")
        return self

    @model_validator(mode="after")
    def _sigmoid(self) -> ObjectiveConfig:
        if self.loss == "sigmoid" and self.form != "out":
            raise ValueError(f"form {self.form} shares a softmax among positives: loss sigmoid has none")
        if self.loss == "softmax" and self.bias is not None:
            raise ValueError("bias is for loss sigmoid: a softmax does not feel it")
        if not self.local_sigmoid and self.local.bias is not None:
            raise ValueError("local.bias is for loss sigmoid or local.branch attn")
        return self

    @property
    def whole(self) -> bool:
        """Whether images are contrasted with whole captions: their global sentence or their summary."""
        return bool(self.global_weight or self.summary_weight)

    @property
    def reads_sentences(self) -> bool:
        """Whether drawn sentences take part in any level."""
        return self.local.active or self.sentences_weight > 0

    @property
    def local_sigmoid(self) -> bool:
        """Whether the local level has a sigmoid loss."""
        return self.local.active and (self.loss == "sigmoid" or self.local.branch == "attn")


def check_neighbours(train: TrainConfig | None, mining: MiningConfig) -> None:
    """Raise RunError where mined tables are asked for and cannot be had."""
    if train is None or mining.rule is None or mining.source != "table":
        return
    if mining.every is not None and train.mix is not None:
        raise RunError(
            "neighbours are numbered in one set, not in a mixture",
            where="objective.mining.every",
            fix="give data.train.shards, or set it to null",
        )
    if mining.every is None and train.neighbours is None:
        raise RunError(
            "objective.mining.source is table, but no table is given",
            where="data.train.neighbours",
            fix="write one with `mien mine RUN SET FILE`, or let the run mine: objective.mining.every=1",
        )
