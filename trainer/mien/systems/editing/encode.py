"""From a recipe's sets of pairs to sets of latents, which the same recipe trains on."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any, Literal, cast

import numpy as np
import torch
from rich.progress import track
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from mien import systems
from mien.data.collate import collate_plain
from mien.data.config import SetConfig
from mien.data.reader import ShardSet
from mien.data.writer import ShardWriter
from mien.errors import DataError, RunError
from mien.recipe import Recipe
from mien.systems.editing.codec import Codec, open_codec
from mien.systems.editing.config import CodecConfig, EditorModel
from mien.systems.editing.latents import SCHEMA, is_encoded, members, places, stamp
from mien.systems.editing.pair_samples import MAPS, as_pixels
from mien.systems.editing.released import FILES

_WEIGHTS = FILES[0]


def encode_sets(recipe: Recipe, out: Path, *, batch: int = 8, progress: bool = False) -> list[Path]:
    """Write the recipe's training and validation set as latents, `out/train` and `out/val`.

    A set that is there already is kept: an interrupted call goes on with the next set.

    Args:
        recipe: of an editor; its data names the pairs, its model the codec.
        out: folder of both.
        batch: pairs at once.
        progress: whether to show a bar on the terminal.

    Returns:
        Folders of the sets.

    Raises:
        RunError: for a recipe of another system, a mixture, or an autoencoder that cannot be read.
        DataError: for a set or a pair that cannot be used.
    """
    if recipe.system not in MAPS:
        fix = f"give a recipe of {' or '.join(MAPS)}"
        raise RunError(f"{recipe.system} trains on no latents", where="system", fix=fix)
    model = cast(EditorModel, recipe.model)
    if model.codec.kind == "vae" and model.codec.folder is None:
        fix = "name the folder of the autoencoder"
        raise RunError("nothing to encode with", where="model.codec.folder", fix=fix)
    codec, written = open_codec(model.codec), []
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    # All are opened first: what is wrong with the second is not told after hours with the first.
    sets = {part: ShardSet(config.shards, recipe.data.remote) for part, config in _parts(recipe).items()}
    for part, shards in sets.items():
        folder = out / part
        if not (folder / "index.json").is_file():
            _encode(recipe, part, shards, folder, codec, device, batch, progress)
        written.append(folder)
    return written


def check_latents(recipe: Recipe) -> None:
    """Raise RunError where the training set holds latents of another autoencoder than the recipe's.

    A recipe that names none can be trained on latents all the same, but edits no picture.
    """
    model, train = cast(EditorModel, recipe.model), recipe.data.train
    if train is None or model.codec.kind != "vae" or model.codec.folder is None:
        return
    if not (Path(model.codec.folder) / _WEIGHTS).is_file():
        return  # told when it is opened
    for part in train.parts:
        sample = ShardSet(part.shards, recipe.data.remote).read(0)
        if is_encoded(sample) and sample.record.get("autoencoder") != _digest(model.codec):
            what = f"latents of another autoencoder than {model.codec.folder}"
            fix = "set model.codec.folder to that of `mien data encode`"
            raise RunError(what, where=part.shards, fix=fix)


def _parts(recipe: Recipe) -> dict[Literal["train", "val"], SetConfig]:
    train, val = recipe.data.train, recipe.data.val
    if train is not None and train.mix is not None:
        fix = "encode each set of it by itself: data.train.mix=null data.train.shards=SET"
        raise RunError("a mixture of sets", where="data.train.mix", fix=fix)
    found: dict[Literal["train", "val"], SetConfig] = {}
    if train is not None:
        found["train"] = train.parts[0]
    if val is not None:
        found["val"] = val
    if not found:
        raise RunError("no set to encode", where="data", fix="set data.train.shards")
    return found


def _encode(
    recipe: Recipe, part: str, shards: ShardSet, folder: Path, codec: Codec, device: torch.device, batch: int,
    progress: bool,
) -> None:  # fmt: skip
    pairs = _Pairs(recipe, part, shards)
    loader = DataLoader(pairs, batch, num_workers=recipe.data.workers, collate_fn=collate_plain)
    model = cast(EditorModel, recipe.model)
    told = {
        "v": 1, "label": "latents", "encoded": stamp(recipe.model), "autoencoder": _digest(model.codec),
    }  # fmt: skip
    with ShardWriter(folder, SCHEMA) as writer:
        for made in track(loader, f"latents of {part}", disable=not progress):
            arrays = encoded(made, MAPS[recipe.system], codec, model, device)
            for row, key in enumerate(made["key"]):
                own = {"uid": int(made["uid"][row]), "group": made["group"][row]}
                record = {**told, **own, "vector": made["vector"][row].tolist()}
                rows = {name: values[row] for name, values in arrays.items()}
                writer.write(key, members(record, rows, f"{folder}: {key}"))


@torch.inference_mode()
def encoded(
    batch: dict[str, Any], maps: tuple[str, ...], codec: Codec, model: EditorModel, device: torch.device
) -> dict[str, Tensor]:
    """Arrays of `latents.ARRAYS`, float32 [B, C, h, w], of a batch of pictures."""
    pictures = {name: batch[name].to(device) for name in ("src", *maps, "tgt", "face")}
    photo, *others, target = (codec.encode(as_pixels(pictures[name])) for name in ("src", *maps, "tgt"))
    side = model.image_size // model.codec.factor
    face, change = places(pictures["src"], pictures["tgt"], pictures["face"], side)
    return {"photo": photo, "maps": torch.cat(others, 1), "target": target, "face": face, "change": change}


class _Pairs(Dataset[dict[str, Any]]):
    """Pairs of a set as the recipe shows them, without what it draws anew at every step."""

    def __init__(self, recipe: Recipe, part: str, shards: ShardSet) -> None:
        self.shards = shards
        self.transform = systems.get(recipe.system).transform(recipe, "val")

    def __len__(self) -> int:
        return len(self.shards)

    def __getitem__(self, index: int) -> dict[str, Any]:
        sample = self.shards.read(index)
        if is_encoded(sample):
            fix = "give the set of pairs that they were made of"
            raise DataError("these are latents already", where=sample.where, fix=fix)
        item = self.transform(sample, np.random.default_rng(0), 0)
        return item | {"key": sample.key, "group": sample.record["group"]}


def _digest(codec: CodecConfig) -> str | None:
    """SHA-256 of the autoencoder's weights; None of codecs without."""
    if codec.kind != "vae" or codec.folder is None:
        return None
    with (Path(codec.folder) / _WEIGHTS).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
