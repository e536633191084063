"""RAVDESS: 24 actors speak two sentences, eight emotions; six folds by actor.

The naming of the owners (Livingstone and Russo, PLOS ONE 2018) as it is commonly described; their
document was not at hand to check it: `Actor_01/01-01-03-01-02-01-01.mp4` is modality (01 sound and
picture, 02 picture only, 03 sound only), vocal channel (01 speech, 02 song), emotion 01 to 08 in the
order of `CLASSES`, intensity, statement, repetition, actor. Speech has 60 clips of each actor, 1,440 in
all (emocapclip spec, section 6.1).

Decided here: speech only; of a clip with and without sound the pictures are the same, so the one with
sound counts; folds are blocks of four actors in order; six folds without a shared actor are known, their
blocks are not.
"""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

from mien.benchmarks.base import Benchmark, Item, Making
from mien.benchmarks.clip_lists import OWNER, entries, subject_fold
from mien.benchmarks.clip_making import fresh, require_room, takes, write_video
from mien.errors import DataError

CLASSES = ("neutral", "calm", "happy", "sad", "angry", "fearful", "disgust", "surprised")
FOLDS, ACTORS = 6, 24
_NAME = re.compile(r"(0[123])-(0[12])-(\d\d)-(\d\d)-(\d\d)-(\d\d)-(\d\d)")
_SPEECH = "01"


def read(root: Path) -> list[Item]:
    """Items of a folder; key: name of the file without modality and ending; group: the actor."""
    folders = sorted(folder for folder in root.glob("Actor_*") if folder.is_dir())
    if not folders:
        raise DataError("no folder Actor_01 to Actor_24", where=root, fix="unpack the set again")
    found: dict[str, Item] = {}
    for folder in folders:
        clips = entries(folder, (".mp4",))
        if not clips:
            raise DataError("folder holds no .mp4 file", where=folder, fix="unpack the set again")
        # In the order of names sound comes first, so the double without it is passed over.
        for path in clips:
            item = _item(path)
            if item is not None:
                found.setdefault(item.key, item)
    return list(found.values())


def _item(path: Path) -> Item | None:
    """None for song and for files without pictures."""
    match = _NAME.fullmatch(path.stem)
    if match is None:
        raise DataError("name is not seven numbers", where=path, fix="as 01-01-03-01-02-01-01.mp4")
    modality, channel, emotion, actor = match[1], match[2], int(match[3]), int(match[7])
    if not 1 <= emotion <= len(CLASSES):
        raise DataError(f"unknown emotion {match[3]!r}", where=path, fix="emotions are 01 to 08")
    if not 1 <= actor <= ACTORS:
        raise DataError(f"unknown actor {match[7]!r}", where=path, fix=f"actors are 01 to {ACTORS}")
    if path.parent.name != f"Actor_{match[7]}":
        raise DataError(f"clip of actor {match[7]} in folder {path.parent.name}", where=path, fix=OWNER)
    if modality == "03" or channel != _SPEECH:
        return None
    return Item(
        key=path.stem.split("-", 1)[1],
        media=(path,),
        label=CLASSES[emotion - 1],
        group=match[7],
        fold=subject_fold(actor - 1, ACTORS, FOLDS),
    )


def make(folder: Path, how: Making) -> None:
    """Writes a small set; clips with sound have their double without, every third has only that; and a song.

    Raises:
        DataError: if `how` asks for more people or clips than the set has room for.
    """
    require_room(how, ACTORS, 4)
    with fresh(folder) as root:
        said: Counter[tuple[int, str]] = Counter()
        for take in takes(how, CLASSES):
            emotion, actor = CLASSES.index(take.label) + 1, actor_of(take.person, how.people)
            repetition, statement = divmod(said[actor, take.label], 2)
            said[actor, take.label] += 1
            rest = f"{emotion:02d}-01-{statement + 1:02d}-{repetition + 1:02d}-{actor:02d}.mp4"
            for modality in ("02",) if take.index % 3 == 2 else ("01", "02"):
                write_video(root / f"Actor_{actor:02d}" / f"{modality}-01-{rest}", take.clip.frames)
            if take.index == 0:
                write_video(root / f"Actor_{actor:02d}" / f"01-02-{rest}", take.clip.frames)


def actor_of(person: int, people: int) -> int:
    """Number of the actor who plays a person of a generated set, spread over all 24."""
    return 1 + person * ACTORS // people


RAVDESS = Benchmark(
    name="ravdess",
    title="RAVDESS",
    task="dynamic",
    classes=CLASSES,
    folds=FOLDS,
    source="Livingstone and Russo, PLOS ONE 13(5), 2018",
    layout="Actor_01/01-01-03-01-02-01-01.mp4   modality, channel, emotion, ..., actor",
    read=read,
    make=make,
    marker="Actor_*/0?-0?-*.mp4",
)
