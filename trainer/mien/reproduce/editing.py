"""MagicFace trained on the face world and measured on people never seen, beside what it should beat."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from mien.editing.composite import composite
from mien.editing.crop import crop_face
from mien.editing.strip import edit_strip
from mien.evaluation.edit_table import STILL, leakage_picture, table, unit_table, write_csv
from mien.evaluation.edits import LEVELS, Ask, Scores, asks, score
from mien.reproduce.edits import UNSEEN, remembered, round_trip, sets, train, unedited, variant_jobs
from mien.reproduce.jobs import run_all, threads_of_torch
from mien.reproduce.pages import stacked
from mien.systems.editing.face_pairs import make_pairs
from mien.systems.editing.noise import Guidance
from mien.systems.editing.pair_rules import UNITS
from mien.systems.editing.pair_videos import PairPlan
from mien.systems.editing.parsing import blacked
from mien.systems.editing.sampler import SampleConfig
from mien.systems.facereader.load import Reader
from mien.systems.facereader.load import load as load_reader
from mien.systems.magicface.load import MagicFace
from mien.systems.magicface.load import load as load_editor

UNREAD = ("units", "pose", "identity")
"""What the judge leaves to the error of latents; changes of units are what that sees least."""
NO_PHOTO = "no photo"
VARIANTS: dict[str, tuple[str, ...]] = {
    "no judge": ("objective.judge=null",),
    "ControlNet": ("model.unet.photo=controlnet",),
    "convolutions of the photo": ("model.unet.photo=convolutions",),
    NO_PHOTO: ("model.unet.photo=none",),
    "whole latents": ("model.unet.residual=false",),
    "time and AU shift, but scale nothing": ("model.unet.resnet_time_scale_shift=default",),
    "AU dropout": ("objective.noise.drop=0.1",),
    "AU by padding (ZeroAppend)": ("model.condition={width: 12, injection: pad}",),
    "AU by a channel (MLP+Conv)": ("model.condition={width: 12, injection: channel, hidden: 128}",),
    "attention without falloff": ("model.unet.near=[]",),
    "published schedule": ("objective.noise.zero_snr=false", "objective.noise.late=1"),
    "places weigh alike": ("objective.face_weight=1", "objective.change_weight=0"),
    "squares in place of cosines": ("model.codec.kind=patches", "model.unet.latent_channels=48"),
    "AdamW": ("engine.optimizer.kind=adamw", "engine.optimizer.lr=1e-3"),
}
"""What `--variants` changes of `magicface/tiny`, one thing each; some are of the spec's tables II and III."""
FROZEN = {
    "ControlNet, denoiser frozen": (
        "model.unet.photo=controlnet", "model.unet.frozen=true", "model.unet.residual=false",
    )
}  # fmt: skip
"""The same beside the denoiser of `NO_PHOTO`, which tells whole latents: the published comparison freezes one
that can draw already."""
SCALES = (1.25, 1.5, 2.0, 3.0, 4.5)
"""Guidance that the first seed is measured with, too (spec, table IV)."""

Make = Callable[[Ask], Tensor]


def reproduce(
    out: Path,
    *,
    seeds: int,
    people: int,
    parallel: int,
    threads: int,
    variants: bool = False,
    images: int = 12_800,
    overrides: tuple[str, ...] = (),
    reader_overrides: tuple[str, ...] = (),
) -> str:
    """Make sets, train readers and editors, measure; write tables and pictures, return the tables.

    Args:
        out: folder for sets, runs, `editing.md`, `editing.csv`, `leakage.png` and `sheet.png`.
        seeds: runs of the editor; 0 to `seeds` - 1.
        people: how many unseen people are edited, 60 times each.
        parallel: runs at the same time.
        threads: CPU threads a run.
        variants: train those of `VARIANTS` and `FROZEN`, too, with the first seed, and measure its `SCALES`.
        images: pairs of the training set, 16 of a person.
        overrides: further `key=value` of every editor.
        reader_overrides: the same of both readers, the one that measures and the editors' judge.

    Raises:
        MienError: if a set cannot be written, or a run fails.
    """
    chosen = VARIANTS if variants else {}
    done = train(
        "facereader/tiny", "magicface/tiny", sets(out, images, make_pairs), UNREAD, out, seeds=seeds,
        variants=chosen, parallel=parallel, threads=threads, overrides=overrides,
        reader_overrides=reader_overrides,
    )  # fmt: skip
    folders = done.editors
    if NO_PHOTO in chosen:
        start = f"model.init_from={folders[seeds + list(chosen).index(NO_PHOTO)]}"
        more = variant_jobs("magicface/tiny", (*done.keys, start), FROZEN, out)
        folders += run_all(more, parallel=parallel, threads=threads, what="runs from those")
        chosen = chosen | FROZEN
    with threads_of_torch(threads * parallel):
        return _measure(out, load_reader(done.reader), folders, seeds, people, tuple(chosen))


def _measure(
    out: Path, reader: Reader, folders: Sequence[Path], seeds: int, people: int, variants: tuple[str, ...]
) -> str:
    """Of the runs of the seeds and those of the variants, in this order."""
    editors = [load_editor(folder) for folder in folders]
    plan = PairPlan(people, 16 * people, 0, "builtin", editors[0].size, "studio", UNSEEN)
    asked = [asks(plan, video) for video in range(people)]

    def measured(make: Make) -> Scores:
        return score(asked, make, reader)

    first = editors[0]
    rows = {
        STILL: [measured(still)],
        "codec round trip": [measured(lambda ask: round_trip(first, still(ask)))],
        "true picture": [measured(lambda ask: ask.true)],
        "true picture, codec round trip": [measured(lambda ask: round_trip(first, ask.true))],
    }
    made = [_edits(editor, editor.config.guidance) for editor in editors]
    rows["MagicFace, crop"] = [measured(make) for make in made[:seeds]]
    rows["MagicFace, pasted"] = [measured(_pasted(first, make)) for make in made[:seeds]]
    rows |= {
        name: [measured(_pasted(first, make))] for name, make in zip(variants, made[seeds:], strict=True)
    }
    if variants:
        rows |= {f"guidance {scale:g}": [measured(_pasted(first, _edits(first, scale)))] for scale in SCALES}
    sheet(asked[:2], _pasted(first, made[0])).save(out / "sheet.png")
    mean = np.mean([one.leakage for one in rows["MagicFace, pasted"]], axis=0)
    (out / "leakage.png").write_bytes(leakage_picture(mean))
    write_csv(rows, out / "editing.csv")
    text = table(rows) + "\nError as a share of that of no edit / correlation:\n\n" + unit_table(rows)
    (out / "editing.md").write_text(text, encoding="utf-8")
    return text


def still(ask: Ask) -> Tensor:
    """The source, once for each edit, uint8 [E, 3, S, S]."""
    return unedited(ask.face, len(ask.vectors))


def _edits(editor: MagicFace, guidance: float) -> Make:
    """Edits, each ask made once."""
    config = SampleConfig(sampler="ddim", steps=8, batch=60, guidance=Guidance(scale=guidance))
    return remembered(lambda ask: editor.edit(ask.face, torch.from_numpy(ask.vectors).float(), config))


def _pasted(editor: MagicFace, make: Make) -> Make:
    """The same in the place of the face, as `mien edit` gives it."""

    def pasted(ask: Ask) -> Tensor:
        crop = crop_face(ask.face.picture, None, editor.size, whole=True)
        mask = blacked(ask.face.labels, editor.config.mask_mode)
        pictures = [
            composite(ask.face.picture, crop, made.permute(1, 2, 0).numpy(), mask).pixels
            for made in make(ask)
        ]
        return torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2)

    return pasted


def sheet(asked: Sequence[Ask], make: Make, units: Sequence[int] = UNITS) -> Image.Image:
    """Each unit at each of `LEVELS`, a block of rows for each face."""
    blocks = []
    for ask in asked:
        made = make(ask).permute(0, 2, 3, 1).numpy()
        rows = [[made[place] for place in np.flatnonzero(ask.units == UNITS.index(unit))] for unit in units]
        titles = [f"AU{unit}" for unit in units]
        blocks.append(edit_strip(ask.face.picture, rows, titles, [f"to {level:g}" for level in LEVELS]))
    return stacked(blocks)
