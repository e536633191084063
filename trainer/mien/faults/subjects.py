"""What is trained while faults strike: a recipe, what makes it small, and its sets."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from mien.data.reader import ShardSet
from mien.data.writer import ShardWriter
from mien.faults.sets import write_set

_SHARD = 24
_PEOPLE = 2  # of a made set of pairs; other sets have others


@dataclass(frozen=True)
class Subject:
    """A recipe that ends in seconds.

    Attributes:
        recipe: its name.
        keys: overrides that make its networks small.
        write: (folder, samples, number of the set) -> the folder, a set in shards of `_SHARD` samples.
        modules: what a session imports for it.
    """

    recipe: str
    keys: tuple[str, ...]
    write: Callable[[Path, int, int], Path]
    modules: tuple[str, ...] = ()


def _captioned(out: Path, size: int, number: int) -> Path:
    return write_set(out, size, seed=number, first_uid=1000 + 4000 * number)


def _pairs(out: Path, size: int, number: int) -> Path:
    from mien.systems.editing.face_pairs import make_pairs

    return _made(make_pairs, out, size, number)


def _rig_pairs(out: Path, size: int, number: int) -> Path:
    from mien.systems.rigface.pairs import make_rig_pairs

    return _made(make_rig_pairs, out, size, number)


def _made(make: Callable[..., Path], out: Path, size: int, number: int) -> Path:
    """In shards as small as those of other sets: a store is asked once a shard, and some requests fail."""
    first, whole = number * _PEOPLE, out.with_name(f"{out.name}-whole")
    make(whole, people=_PEOPLE, images=size, seed=0, size=32, workers=1, first_person=first, progress=False)
    source = ShardSet(whole)
    with ShardWriter(out, source.schema, samples_per_shard=_SHARD) as writer:
        for place in range(size):
            sample = source.read(place)
            writer.write(sample.key, sample.members)
    return out


_EDITOR = (
    "model.image_size=32", "model.unet.channels=[16,16]", "model.unet.groups=4", "model.unet.heads=2",
    "model.unet.prompt_width=8", "engine.ema=0.9", "engine.global_batch=4",
)  # fmt: skip

SUBJECTS: dict[str, Subject] = {
    subject.recipe: subject
    for subject in (
        Subject(
            "emocapclip/tiny",
            (
                "model.image_size=32", "model.tiny.widths=[8,8,16,16]", "model.tiny.embed=12",
                "model.tiny.vocabulary_width=8", "model.tiny.text_width=16", "model.tiny.text_heads=2",
                "model.tiny.text_layers=1", "objective.local.sentences=2", "objective.mining.hold_steps=8",
                "objective.mining.ramp_steps=8",
            ),
            _captioned,
        ),
        Subject("magicface/tiny", _EDITOR, _pairs, ("mien.systems.magicface.module",)),
        Subject("rigface/tiny", _EDITOR, _rig_pairs, ("mien.systems.rigface.module",)),
    )
}  # fmt: skip
"""By recipe."""
