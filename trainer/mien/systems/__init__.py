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
from mien.systems.editing.config import EditObjective
from mien.systems.emocapclip.config import ModelConfig, ObjectiveConfig
from mien.systems.emocapclip.finetune.config import FinetuneModel, FinetuneObjective
from mien.systems.facereader.config import ReaderModel, ReaderObjective
from mien.systems.magicface.config import MagicFaceModel
from mien.systems.rigface.config import RigFaceModel

if TYPE_CHECKING:
    from torch import Tensor

    from mien.engine.rundir import RunFolder
    from mien.recipe import Recipe
    from mien.systems.base import SystemModule
    from mien.systems.encoder import Classifier, Encoder
    from mien.systems.planned import Planned

__all__ = ["SYSTEMS", "System", "get", "load", "load_classifier"]


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
    load: Callable[[str | Path, str], Encoder] | None
    """(run folder, "last" | "best" | step) -> encoder; None where images and texts share no space."""
    state_for_export: Callable[[RunFolder, str], dict[str, Tensor]]
    """(run, which) -> weights by name, for safetensors."""
    check: Callable[[Recipe], None] | None = None
    """Raises RunError for sections that contradict each other; called before a run folder is made."""
    planned: Callable[[Recipe, bool], Planned] | None = None
    """(recipe, activation checkpointing?) -> the step that `mien plan` counts; None cannot be planned."""
    load_classifier: Callable[[str | Path, str], Classifier] | None = None
    """(run folder, "last" | "best" | step) -> classifier; None for systems without classes of their own."""
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

    system = get(RunFolder.open(run).recipe.system)
    if system.load is None:
        fix = "use --protocol classify" if system.load_classifier else "choose a run of emocapclip"
        raise RunError(f"a run of {system.name} is no encoder of images and texts", where=run, fix=fix)
    return system.load(run, which)


def load_classifier(run: str | Path, which: str = "last") -> Classifier:
    """The classifier of a run; arguments and errors as of `load`."""
    from mien.engine.rundir import RunFolder

    system = get(RunFolder.open(run).recipe.system)
    if system.load_classifier is None:
        fix = "use zero_shot or linear_probe, or fine-tune it first (recipes/emocapclip_finetune)"
        raise RunError(f"a run of {system.name} has no classes of its own", where=run, fix=fix)
    return system.load_classifier(run, which)


def _weights(run: RunFolder, which: str = "last") -> dict[str, Tensor]:
    from mien.systems.weights import state_for_export

    return state_for_export(run, which)


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

    def check(recipe: Recipe) -> None:
        from mien.systems.emocapclip.config import check_neighbours

        check_neighbours(recipe.data.train, _sections(recipe)[1].mining)

    def planned(recipe: Recipe, checkpointing: bool) -> Planned:
        from mien.systems.emocapclip.planned import planned as plan_step

        return plan_step(recipe, checkpointing)

    def export_folder(run: RunFolder, which: str, to: str, folder: Path) -> dict[str, Any]:
        from mien.systems.emocapclip.exports import write

        return write(run, which, to, folder)

    return System(
        "emocapclip", ModelConfig, ObjectiveConfig, build, transform, collate, load, _weights, check, planned,
        export_formats=("open_clip", "transformers", "onnx"), export_folder=export_folder,
    )  # fmt: skip


def _sections(recipe: Recipe) -> tuple[ModelConfig, ObjectiveConfig]:
    assert isinstance(recipe.model, ModelConfig)
    assert isinstance(recipe.objective, ObjectiveConfig)
    return recipe.model, recipe.objective


def _finetune() -> System:
    def build(recipe: Recipe) -> SystemModule:
        from mien.systems.emocapclip.finetune.module import FinetuneModule

        return FinetuneModule(recipe)

    def transform(recipe: Recipe, split: str) -> Callable[..., dict[str, Any]]:
        from mien.systems.emocapclip.finetune.samples import Transform

        assert isinstance(recipe.model, FinetuneModel)
        return Transform(recipe.model, recipe.data.augment if split == "train" else None)

    def collate(recipe: Recipe) -> Callable[..., dict[str, Any]]:
        from mien.systems.emocapclip.finetune.samples import collate as collate_items

        return collate_items

    def load_classifier(run: str | Path, which: str = "last") -> Classifier:
        from mien.systems.emocapclip.finetune.load import load as load_finetuned

        return load_finetuned(run, which)

    return System(
        "emocapclip_finetune", FinetuneModel, FinetuneObjective, build, transform, collate, None, _weights,
        load_classifier=load_classifier,
    )  # fmt: skip


def _two_folders(run: RunFolder, which: str, to: str, folder: Path) -> dict[str, Any]:
    """Export of an editor."""
    from mien.systems.editing.exporting import write

    return write(run, which, folder)


def _check_editor(recipe: Recipe) -> None:
    from mien.systems.editing.encode import check_latents

    check_latents(recipe)


def _plan_editor(recipe: Recipe, checkpointing: bool) -> Planned:
    from mien.systems.editing.planned import planned

    return planned(recipe, checkpointing)


def _magicface() -> System:
    def build(recipe: Recipe) -> SystemModule:
        from mien.systems.magicface.module import MagicFaceModule

        return MagicFaceModule(recipe)

    def transform(recipe: Recipe, split: str) -> Callable[..., dict[str, Any]]:
        from mien.systems.magicface.samples import Transform

        assert isinstance(recipe.model, MagicFaceModel)
        return Transform(recipe.model)

    def collate(recipe: Recipe) -> Callable[..., dict[str, Any]]:
        from mien.systems.magicface.samples import collate as collate_items

        return collate_items

    return System(
        "magicface", MagicFaceModel, EditObjective, build, transform, collate, None, _weights,
        _check_editor, _plan_editor,
        export_formats=("diffusers",), export_folder=_two_folders,
    )  # fmt: skip


def _rigface() -> System:
    def build(recipe: Recipe) -> SystemModule:
        from mien.systems.rigface.module import RigFaceModule

        return RigFaceModule(recipe)

    def transform(recipe: Recipe, split: str) -> Callable[..., dict[str, Any]]:
        from mien.systems.rigface.samples import Transform

        assert isinstance(recipe.model, RigFaceModel)
        return Transform(recipe.model, split == "train")

    def collate(recipe: Recipe) -> Callable[..., dict[str, Any]]:
        from mien.systems.rigface.samples import collate as collate_items

        return collate_items

    return System(
        "rigface", RigFaceModel, EditObjective, build, transform, collate, None, _weights,
        _check_editor, _plan_editor,
        export_formats=("diffusers",), export_folder=_two_folders,
    )  # fmt: skip


def _facereader() -> System:
    def build(recipe: Recipe) -> SystemModule:
        from mien.systems.facereader.module import ReaderModule

        return ReaderModule(recipe)

    def transform(recipe: Recipe, split: str) -> Callable[..., dict[str, Any]]:
        from mien.systems.facereader.samples import Transform

        assert isinstance(recipe.model, ReaderModel)
        assert isinstance(recipe.objective, ReaderObjective)
        return Transform(recipe.model, recipe.objective, split == "train")

    def collate(recipe: Recipe) -> Callable[..., dict[str, Any]]:
        from mien.systems.facereader.samples import collate as collate_items

        return collate_items

    return System("facereader", ReaderModel, ReaderObjective, build, transform, collate, None, _weights)


SYSTEMS: dict[str, System] = {
    "emocapclip": _emocapclip(), "emocapclip_finetune": _finetune(), "facereader": _facereader(),
    "magicface": _magicface(), "rigface": _rigface(),
}  # fmt: skip
"""Every system by name."""
