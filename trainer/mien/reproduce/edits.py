"""What the experiments with edits of faces share: sets, runs, and what stands beside the editors."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeVar

import torch
from torch import Tensor

from mien.reproduce.jobs import Job
from mien.systems.editing.face import Face
from mien.systems.editing.pair_samples import as_bytes, as_pixels
from mien.systems.editing.rest import EditorAtRest

UNSEEN = 100_000
"""Number of the first person who is in no training set."""

_JUDGE = ("seed=1", "engine.max_steps=900")

Asked = TypeVar("Asked")


def sets(out: Path, images: int, make: Callable[..., Path]) -> tuple[str, ...]:
    """Keys that name the training and the validation set below `out`; a set that is there is not made again.

    Args:
        out: folder of the experiment.
        images: pairs of the training set, 16 of a person.
        make: maker of such sets, as `make_pairs`.
    """
    keys = []
    for name, first, count in (("train", 0, images), ("val", UNSEEN + 50_000, 320)):
        folder = out / "sets" / name
        if not (folder / "index.json").is_file():
            make(folder, people=max(1, count // 16), images=count, seed=0, first_person=first)
        keys.append(f"data.{name}.shards={folder}")
    return tuple(keys)


def reader_jobs(recipe: str, keys: tuple[str, ...], out: Path) -> list[Job]:
    """The reader that measures, and the one that editors are trained by: nobody marks their own papers."""
    judge = (*_JUDGE, *keys)
    return [Job(recipe, keys, out / "runs" / "reader"), Job(recipe, judge, out / "runs" / "judge")]


def judged_by(judge: Path) -> str:
    """The key that has an editor trained by a reader."""
    return f"objective.judge.run={judge}"


def seed_jobs(recipe: str, keys: tuple[str, ...], seeds: int, out: Path) -> list[Job]:
    """The editor with each seed."""
    return [Job(recipe, (*keys, f"seed={seed}"), out / "runs" / f"seed-{seed}") for seed in range(seeds)]


def variant_jobs(
    recipe: str, keys: tuple[str, ...], variants: Mapping[str, tuple[str, ...]], out: Path
) -> list[Job]:
    """The editor with the first seed and the keys of each variant."""
    return [
        Job(recipe, (*keys, "seed=0", *own), out / "runs" / name.replace(" ", "-"))
        for name, own in variants.items()
    ]


def unedited(face: Face, count: int) -> Tensor:
    """The source `count` times, uint8 [E, 3, S, S]."""
    picture = torch.from_numpy(face.picture.copy()).permute(2, 0, 1)
    return picture.expand(count, -1, -1, -1)


def round_trip(editor: EditorAtRest, pictures: Tensor) -> Tensor:
    """Through the codec and back, uint8 [E, 3, S, S]: the floor of whatever is drawn in latents."""
    with torch.inference_mode():
        return as_bytes(editor.codec.decode(editor.codec.encode(as_pixels(pictures)))).cpu()


def remembered(make: Callable[[Asked], Tensor]) -> Callable[[Asked], Tensor]:
    """`make`, called once for each object that is asked of it."""
    done: dict[int, Tensor] = {}

    def once(ask: Asked) -> Tensor:
        if id(ask) not in done:
            done[id(ask)] = make(ask)
        return done[id(ask)]

    return once
