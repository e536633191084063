"""A trained classifier at rest, its weights for export, and a tower's starting weights."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from mien.data.reader import Sample
from mien.engine.rundir import RunFolder
from mien.errors import RunError
from mien.systems.emocapclip.finetune.config import FinetuneModel
from mien.systems.emocapclip.finetune.model import FaceClassifier
from mien.systems.emocapclip.finetune.samples import Transform
from mien.systems.weights import load_strictly, read_state, state_for_export

_TOWER = "image."


class FinetunedClassifier:
    """A trained classifier: `mien.systems.encoder.Classifier`.

    Args:
        model: trained weights.
        config: of the recipe.
        device: where to compute; None takes a GPU if there is one.
    """

    def __init__(
        self, model: FaceClassifier, config: FinetuneModel, device: torch.device | None = None
    ) -> None:
        self.device = device or torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.model = model.to(self.device).eval().requires_grad_(False)
        self.classes = config.classes
        self._transform = Transform(config, None)

    @torch.inference_mode()
    def probabilities(self, samples: Iterable[Sample], batch: int = 32) -> Tensor:
        """Probabilities of the classes, float32 [N, C] on the CPU; labels of the samples are not looked at.

        Raises:
            DataError: for media that cannot be used.
        """
        rng, waiting, found = np.random.default_rng(0), [], []
        for sample in samples:
            waiting.append(self._transform.frames(sample, rng))
            if len(waiting) == batch:
                found.append(self._score(waiting))
                waiting = []
        if waiting:
            found.append(self._score(waiting))
        return torch.cat(found) if found else torch.zeros(0, len(self.classes))

    def _score(self, images: list[Tensor]) -> Tensor:
        return self.model(torch.stack(images).to(self.device)).softmax(1).cpu()


def load(run: str | Path, which: str = "last") -> FinetunedClassifier:
    """The classifier of a run, with averaged weights where the run kept an average.

    Raises:
        RunError: if the run or checkpoint cannot be used.
    """
    folder = RunFolder.open(run)
    config = folder.recipe.model
    assert isinstance(config, FinetuneModel)
    bare = config.model_copy(update={"weights": None, "init_from": None})
    model = FaceClassifier(bare)
    model.adapt(bare)
    load_strictly(model, state_for_export(folder, which), folder.path)
    return FinetunedClassifier(model, config)


def start_tower(tower: nn.Module, source: str) -> None:
    """Load the image tower of an EmoCapCLIP run folder or of its exported safetensors file.

    Raises:
        RunError: if the source is absent or its tensors do not fit.
    """
    path = Path(source)
    if not path.exists():
        fix = "set model.init_from to a run folder or an exported file"
        raise RunError("nothing to start from", where=source, fix=fix)
    state = state_for_export(RunFolder.open(path)) if path.is_dir() else read_state(path)
    own = {name.removeprefix(_TOWER): t for name, t in state.items() if name.startswith(_TOWER)}
    if not own:
        fix = "give a run of EmoCapCLIP or its export"
        raise RunError("no image tower in there", where=source, fix=fix)
    load_strictly(tower, own, source)
