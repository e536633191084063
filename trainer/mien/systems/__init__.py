"""The systems that mien trains: one explicit table.

Heavy modules are imported when a system is first used.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mien.config import Config
from mien.errors import RunError
from mien.systems.emocapclip.config import ModelConfig, ObjectiveConfig

if TYPE_CHECKING:
    from torch import Tensor

    from mien.engine.rundir import RunFolder
    from mien.recipe import Recipe
    from mien.systems.base import SystemModule
    from mien.systems.encoder import Encoder
    from mien.systems.planned import Planned

__all__ = ["SYSTEMS", "System", "get", "load"]


@dataclass(frozen=True)
class System:
    """What the platform needs of a system."""

    name: str
    model_config: type[Config]
    """Schema of the recipe's `model:`."""
    objective_config: type[Config]
    """Schema of the recipe's `objective:`."""
    build: Callable[[Recipe], SystemModule]
    """The module in training; raises RunError where starting weights cannot be used."""
    transform: Callable[[Recipe, str], Callable[..., dict[str, Any]]]
    """(recipe, "train" | "val" | "test") -> transform of the stream; only `train` augments."""
    collate: Callable[[Recipe], Callable[..., dict[str, Any]]]
    """recipe -> collate of the stream."""
    load: Callable[[str | Path, str], Encoder]
    """(run folder, "last" | "best" | step) -> encoder."""
    state_for_export: Callable[[RunFolder, str], dict[str, Tensor]]
    """(run, which) -> weights by name, for safetensors."""
    planned: Callable[[Recipe, bool], Planned] | None = None
    """(recipe, activation checkpointing?) -> the step that `mien plan` counts; None cannot be planned."""
    export_formats: tuple[str, ...] = ()
    """Formats of other libraries that `export_folder` knows."""
    export_folder: Callable[[RunFolder, str, str, Path], dict[str, Any]] | None = None
    """(run, which, format, empty folder) -> facts such as `loads`; writes the model for that library."""


def get(name: str) -> System:
    """The system of that name.

    Raises:
        RunError: if there is none, with the nearest name.
    """
    if name not in SYSTEMS:
        close = difflib.get_close_matches(name, SYSTEMS, n=1)
        fix = f"did you mean {close[0]!r}?" if close else f"one of: {', '.join(SYSTEMS)}"
        raise RunError(f"no system called {name!r}", where="system", fix=fix)
    return SYSTEMS[name]


def load(run: str | Path, which: str = "last") -> Encoder:
    """The encoder of a run of any system.

    Args:
        run: run folder.
        which: checkpoint `last`, `best` or a step number.

    Raises:
        RunError: if the run or checkpoint cannot be used.
        RecipeError: if its recipe no longer fits this version of mien.
    """
    from mien.engine.rundir import RunFolder

    return get(RunFolder.open(run).recipe.system).load(run, which)


def _emocapclip() -> System:
    def build(recipe: Recipe) -> SystemModule:
        from mien.systems.emocapclip.module import EmoCapModule

        return EmoCapModule(recipe)

    def transform(recipe: Recipe, split: str) -> Callable[..., dict[str, Any]]:
        from mien.systems.emocapclip.samples import Transform

        model, objective = _sections(recipe)
        return Transform(model, objective, recipe.data.augment if split == "train" else None)

    def collate(recipe: Recipe) -> Callable[..., dict[str, Any]]:
        from mien.systems.emocapclip.samples import Collate

        return Collate(*_sections(recipe))

    def load(run: str | Path, which: str = "last") -> Encoder:
        from mien.systems.emocapclip.load import load as load_encoder

        return load_encoder(run, which)

    def export(run: RunFolder, which: str = "last") -> dict[str, Tensor]:
        from mien.systems.emocapclip.load import state_for_export

        return state_for_export(run, which)

    def planned(recipe: Recipe, checkpointing: bool) -> Planned:
        from mien.systems.emocapclip.planned import planned as plan_step

        return plan_step(recipe, checkpointing)

    def export_folder(run: RunFolder, which: str, to: str, folder: Path) -> dict[str, Any]:
        from mien.systems.emocapclip.exports import write

        return write(run, which, to, folder)

    return System(
        "emocapclip", ModelConfig, ObjectiveConfig, build, transform, collate, load, export, planned,
        ("open_clip", "transformers", "onnx"), export_folder,
    )  # fmt: skip


def _sections(recipe: Recipe) -> tuple[ModelConfig, ObjectiveConfig]:
    assert isinstance(recipe.model, ModelConfig)
    assert isinstance(recipe.objective, ObjectiveConfig)
    return recipe.model, recipe.objective


SYSTEMS: dict[str, System] = {"emocapclip": _emocapclip()}
"""Every system by name."""
