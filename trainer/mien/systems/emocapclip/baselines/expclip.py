"""Exp-CLIP: OpenAI's CLIP at rest behind one matrix, learnt from a language model (arXiv 2405.19100).

The public code multiplies the embedding of an image and that of a text by the same matrix W [4096, D],
without a bias, then scales to length 1; frames of a clip are averaged in between. Both towers end in a
product with a matrix P of their own, so W is multiplied into it: x P becomes x (P W^T), and the rest of mien
sees a CLIP with 4096 dimensions. The published file holds W alone, under the name `mlp.weight`.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from mien.errors import RunError
from mien.systems.emocapclip.baselines import openai
from mien.systems.emocapclip.load import EmoCapEncoder
from mien.systems.emocapclip.model import EmoCapCLIP
from mien.systems.weights import read_state, require_shapes

HEAD = "mlp.weight"
"""Name of W in the published file."""

_DIMENSIONS = 4096  # of the language model's space
_ENDINGS = frozenset({".pt", ".pth", ".bin", ".safetensors"})
_FIX = "write expclip:HEAD.pth,CLIP.pt or expclip:FOLDER, a folder that holds these two files"


def files(said: str) -> tuple[Path, Path]:
    """The head and the CLIP that a path names: `HEAD,CLIP`, or a folder that holds both.

    Raises:
        RunError: if they are not exactly two files, one of which holds `mlp.weight`.
    """
    folder = Path(said)
    if not folder.is_dir():
        parts = [Path(part) for part in said.split(",")]
        if len(parts) != 2:
            raise RunError("Exp-CLIP takes two files", where=said, fix=_FIX)
        for part in parts:
            if not part.is_file():
                raise RunError("no such weights", where=part, fix=_FIX)
        return parts[0], parts[1]
    found = sorted(path for path in folder.iterdir() if path.suffix in _ENDINGS and path.is_file())
    if len(found) != 2:
        raise RunError(f"{len(found)} weights files instead of two", where=folder, fix=_FIX)
    heads = [path for path in found if HEAD in read_state(path)]
    if len(heads) != 1:
        raise RunError(f"{len(heads)} files instead of one hold {HEAD!r}", where=folder, fix=_FIX)
    return heads[0], next(path for path in found if path != heads[0])


def load_expclip(said: str, device: torch.device | None) -> EmoCapEncoder:
    """Exp-CLIP from its head and the CLIP that it was trained on.

    Args:
        said: `HEAD,CLIP` or a folder.
        device: where to compute; None takes a GPU if there is one.

    Raises:
        RunError: if the files are absent or unsafe, or do not fit each other.
    """
    head, clip = files(said)
    state = read_state(clip)
    if HEAD in state:
        raise RunError(f"holds {HEAD!r}: this is the head, not CLIP", where=clip, fix=_FIX)
    tower = openai.tower_of(state, openai.KERNEL, clip, _FIX)
    model = openai.empty(tower)
    matrix = head_of(read_state(head), model, head)
    openai.fill(model, openai.weights_of(state), clip)
    project(model, matrix)
    return EmoCapEncoder(model, openai.image_size(tower), patches=False, device=device)


def head_of(state: Mapping[str, Tensor], model: EmoCapCLIP, where: object) -> Tensor:
    """W [N, D] of a file, for towers of D dimensions.

    Raises:
        RunError: if the file holds anything else.
    """
    own: Any = model.image.visual
    given = state.get(HEAD)
    rows = given.shape[0] if given is not None and given.ndim == 2 else _DIMENSIONS
    fix = "give the head first and then the CLIP that it was trained on: HEAD,CLIP"
    require_shapes({HEAD: (rows, own.proj.shape[1])}, state, where, fix)
    return state[HEAD]


def project(model: EmoCapCLIP, matrix: Tensor) -> None:
    """Multiply W [N, D] into both towers: they embed in N dimensions then."""
    towers: tuple[Any, ...] = (model.image, model.text)
    for owner, name in ((towers[0].visual, "proj"), (towers[1].text, "text_projection")):
        folded = getattr(owner, name).detach().double() @ matrix.double().T
        setattr(owner, name, nn.Parameter(folded.float(), requires_grad=False))
        owner.output_dim = len(matrix)
