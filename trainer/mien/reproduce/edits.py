"""What the experiments with edits of faces share: sets, runs, and what stands beside the editors."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple, TypeVar

import torch
from torch import Tensor

from mien.reproduce.jobs import Job, run_all
from mien.systems.editing.face import Face
from mien.systems.editing.pair_samples import as_bytes, as_pixels
from mien.systems.editing.rest import EditorAtRest

UNSEEN = 100_000
"""Number of the first person who is in no training set."""

_JUDGE = ("seed=1", "engine.max_steps=900")  # it need not be exact, only point the right way

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


class Trained(NamedTuple):
    """What `train` made."""

    reader: Path
    """Run of the reader that measures."""
    editors: list[Path]
    """Runs of the seeds, then those of the variants."""
    keys: tuple[str, ...]
    """`key=value` of every editor."""


def train(
    reader: str,
    editor: str,
    keys: tuple[str, ...],
    unread: tuple[str, ...],
    out: Path,
    *,
    seeds: int,
    variants: Mapping[str, tuple[str, ...]],
    parallel: int,
    threads: int,
    overrides: tuple[str, ...],
    reader_overrides: tuple[str, ...],
) -> Trained:
    """The reader that measures, another that editors are judged by, and the editors.

    Args:
        reader: recipe of both readers: nobody marks their own papers.
        editor: recipe of the editors.
        keys: of `sets`.
        unread: readings of the judge that have no weight.
        out: folder of the experiment.
        seeds: runs of the editor; 0 to `seeds` - 1.
        variants: keys of further editors, trained with the first seed.
        parallel: editors at the same time; the reader that measures trains beside them.
        threads: CPU threads a run.
        overrides: further `key=value` of every editor.
        reader_overrides: the same of both readers.

    Raises:
        MienError: if a run fails.
    """
    runs, told = out / "runs", (*keys, *reader_overrides)
    with ThreadPoolExecutor(1) as beside:  # only the measurement, at the end, needs this reader
        measures = beside.submit(Job(reader, told, runs / "reader").run, threads)
        judges = [Job(reader, (*_JUDGE, *told), runs / "judge")]
        judge = run_all(judges, parallel=1, threads=threads, what="reader that judges")[0]
        judging = (f"objective.judge.run={judge}", *(f"objective.judge.{name}=0" for name in unread))
        keys = (*keys, *judging, *overrides)
        jobs = [Job(editor, (*keys, f"seed={seed}"), runs / f"seed-{seed}") for seed in range(seeds)]
        jobs += variant_jobs(editor, keys, variants, out)
        editors = run_all(jobs, parallel=parallel, threads=threads, what="runs")
        return Trained(measures.result(), editors, keys)


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
