"""RigFace trained on the face world and measured on people never seen, beside what it should beat."""

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
from mien.evaluation.edit_table import STILL
from mien.evaluation.rig_edits import RigAsk, RigScores, rig_asks, rig_score
from mien.evaluation.rig_table import mode_table, rig_table, write_rig_csv
from mien.reproduce.edits import UNSEEN, remembered, round_trip, sets, train, unedited
from mien.reproduce.jobs import threads_of_torch
from mien.reproduce.pages import stacked
from mien.systems.editing.pair_videos import PairPlan
from mien.systems.editing.sampler import SampleConfig
from mien.systems.facereader.load import Reader
from mien.systems.facereader.load import load as load_reader
from mien.systems.rigface.load import PLAIN, RigFace
from mien.systems.rigface.load import load as load_editor
from mien.systems.rigface.modes import EDITS
from mien.systems.rigface.pairs import make_rig_pairs

VARIANTS: dict[str, tuple[str, ...]] = {
    "no judge": ("objective.judge=null",),
    "differences from the photo": ("model.unet.residual=true",),
    "time and psi shift, but scale nothing": ("model.unet.resnet_time_scale_shift=default",),
    "attention without falloff": ("model.unet.near=[]",),
    "places weigh alike": ("objective.face_weight=1",),
    "published schedule": ("objective.noise.zero_snr=false", "objective.noise.late=1"),
}
"""What `--variants` changes of `rigface/tiny`, one thing each."""

Make = Callable[[RigAsk], Tensor]


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
    """Make sets, train readers and editors, measure; write tables and a sheet, return the tables.

    Args:
        out: folder for sets, runs, `rig_editing.md`, `rig_editing.csv` and `sheet.png`.
        seeds: runs of the editor; 0 to `seeds` - 1.
        people: how many unseen people are edited, 14 times each.
        parallel: runs at the same time.
        threads: CPU threads a run.
        variants: train those of `VARIANTS`, too, with the first seed.
        images: pairs of the training set, 16 of a person.
        overrides: further `key=value` of every editor.
        reader_overrides: the same of both readers, the one that measures and the editors' judge.

    Raises:
        MienError: if a set cannot be written, or a run fails.
    """
    chosen = VARIANTS if variants else {}
    done = train(
        "facereader/rig_tiny", "rigface/tiny", sets(out, images, make_rig_pairs), (), out, seeds=seeds,
        variants=chosen, parallel=parallel, threads=threads, overrides=overrides,
        reader_overrides=reader_overrides,
    )  # fmt: skip
    with threads_of_torch(threads * parallel):
        return _measure(out, load_reader(done.reader), done.editors, seeds, people, tuple(chosen))


def _measure(
    out: Path, reader: Reader, folders: Sequence[Path], seeds: int, people: int, variants: tuple[str, ...]
) -> str:
    """Of the runs of the seeds and those of the variants, in this order."""
    editors = [load_editor(folder) for folder in folders]
    plan = PairPlan(people, 16 * people, 0, "builtin", editors[0].size, "studio", UNSEEN)
    asked = [rig_asks(plan, video) for video in range(people)]

    def measured(make: Make) -> RigScores:
        return rig_score(asked, make, reader)

    first = editors[0]
    rows = {
        STILL: [measured(still)],
        "codec round trip": [measured(lambda ask: round_trip(first, still(ask)))],
        "rendering pasted": [measured(rendering)],
        "true picture": [measured(lambda ask: ask.true)],
        "true picture, codec round trip": [measured(lambda ask: round_trip(first, ask.true))],
    }
    made = [_edits(editor) for editor in editors]
    rows["RigFace, crop"] = [measured(make) for make in made[:seeds]]
    rows["RigFace, pasted"] = ours = [measured(_pasted(first, make)) for make in made[:seeds]]
    rows |= {
        name: [measured(_pasted(first, make))] for name, make in zip(variants, made[seeds:], strict=True)
    }
    sheet(asked[:4], _pasted(first, made[0])).save(out / "sheet.png")
    write_rig_csv(rows, out / "rig_editing.csv")
    text = rig_table(rows) + "\nRigFace, pasted, mode by mode:\n\n" + mode_table(ours)
    (out / "rig_editing.md").write_text(text, encoding="utf-8")
    return text


def still(ask: RigAsk) -> Tensor:
    """The source, once for each edit, uint8 [E, 3, S, S]."""
    return unedited(ask.face, len(ask.edits))


def rendering(ask: RigAsk) -> Tensor:
    """The rig's own drawing of each edit over the source, uint8 [E, 3, S, S]."""
    pictures = [
        drawn.alpha[..., None] * drawn.image + (1 - drawn.alpha[..., None]) * ask.face.picture
        for drawn in ask.drawn[1:]
    ]
    return torch.from_numpy(np.stack(pictures).round().astype(np.uint8)).permute(0, 3, 1, 2)


def _edits(editor: RigFace) -> Make:
    """Edits, each ask made once."""
    config = SampleConfig(sampler="ddim", steps=8, batch=len(EDITS), guidance=PLAIN.guidance)
    return remembered(
        lambda ask: editor.edit(ask.face.picture, ask.face.labels, ask.source, ask.edited, config)
    )


def _pasted(editor: RigFace, make: Make) -> Make:
    """The same in the place of the person, as `mien edit` gives it."""

    def pasted(ask: RigAsk) -> Tensor:
        crop = crop_face(ask.face.picture, None, editor.size, whole=True)
        pictures = [
            composite(
                ask.face.picture, crop, made.permute(1, 2, 0).numpy(),
                editor.mask(ask.face.labels, ask.source, codes), dilate=0.0,
            ).pixels
            for made, codes in zip(make(ask), ask.edited, strict=True)
        ]  # fmt: skip
        return torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2)

    return pasted


def sheet(asked: Sequence[RigAsk], make: Make) -> Image.Image:
    """The seven edits of each face by another person's codes: drawn, true, and as the rig draws them."""
    blocks = []
    for ask in asked:
        rows = [make(ask), ask.true, rendering(ask)]
        pictures = [list(row.permute(0, 2, 3, 1).numpy()[ask.cross]) for row in rows]
        titles = [str(edit) for edit, cross in zip(ask.edits, ask.cross, strict=True) if cross]
        blocks.append(edit_strip(ask.face.picture, pictures, ["edit", "truth", "rendering"], titles))
    return stacked(blocks)
