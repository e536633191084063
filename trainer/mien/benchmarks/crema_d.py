"""CREMA-D: 91 actors say twelve sentences, six emotions; five folds by actor.

Known from HiCMAE's preparation script, which cites the owner's README
(github.com/CheyneyComputerScience/CREMA-D; Cao et al., IEEE TAC 2014): names such as `1001_DFA_ANG_XX`
(actor, sentence, emotion, level), 7,442 clips, order of classes, blocks of 18 actors (the last of 19) as
folds, four broken clips left out. That leaves 7,438; the emocapclip spec (section 6.1) counts 7,437, so
one more is missing there.

Decided here: the codes of sentences serve the maker only and are not checked; a clip may be flv or mp4
(public copies are converted); mp4 comes first where both are there.
"""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

from mien.benchmarks.base import Benchmark, Item, Making
from mien.benchmarks.clip_lists import entries, subject_fold
from mien.benchmarks.clip_making import fresh, require_room, takes, write_video
from mien.errors import DataError

_CODES = {"ANG": "anger", "DIS": "disgust", "FEA": "fear", "HAP": "happy", "NEU": "neutral", "SAD": "sad"}
CLASSES = tuple(_CODES.values())
FOLDS, ACTORS, FIRST_ACTOR = 5, 91, 1001
BROKEN = frozenset({"1076_MTI_NEU_XX", "1076_MTI_SAD_XX", "1064_TIE_SAD_XX", "1064_IEO_DIS_MD"})
"""Clips that HiCMAE leaves out as broken, after the owner's README."""
_FOLDER = "VideoFlash"
_ENDINGS = (".mp4", ".flv")
_NAME = re.compile(r"(\d{4})_([A-Z]{3})_([A-Z]{3})_(XX|X|LO|MD|HI)")
_SENTENCES = ("IEO", "TIE", "IOM", "IWW", "TAI", "MTI", "IWL", "ITH", "DFA", "ITS", "TSI", "WSI")


def read(root: Path) -> list[Item]:
    """Items of a folder; key: name of the file without its ending; group: the actor."""
    folder = root / _FOLDER
    files: dict[str, Path] = {}
    for path in entries(folder, _ENDINGS):
        if path.stem not in files or path.suffix.lower() == _ENDINGS[0]:
            files[path.stem] = path
    if not files:
        raise DataError("folder holds no .flv or .mp4 file", where=folder, fix="unpack the set again")
    return [_item(path) for stem, path in files.items() if stem not in BROKEN]


def _item(path: Path) -> Item:
    match = _NAME.fullmatch(path.stem)
    if match is None:
        raise DataError("name is not ACTOR_SENTENCE_EMOTION_LEVEL", where=path, fix="as 1001_DFA_ANG_XX.flv")
    actor, code = int(match[1]), match[3]
    if not FIRST_ACTOR <= actor < FIRST_ACTOR + ACTORS:
        last = FIRST_ACTOR + ACTORS - 1
        raise DataError(f"unknown actor {actor}", where=path, fix=f"actors are {FIRST_ACTOR} to {last}")
    if code not in _CODES:
        raise DataError(f"unknown emotion {code!r}", where=path, fix=f"one of: {', '.join(_CODES)}")
    return Item(
        key=path.stem,
        media=(path,),
        label=_CODES[code],
        group=match[1],
        fold=subject_fold(actor - FIRST_ACTOR, ACTORS, FOLDS),
    )


def make(folder: Path, how: Making) -> None:
    """Writes a small set with actors from all folds, and one of the broken clips, an empty file.

    Raises:
        DataError: if `how` asks for more people or clips than the set has room for.
    """
    # One sentence of an actor and emotion may be a broken clip.
    require_room(how, ACTORS, len(_SENTENCES) - 1)
    codes = list(_CODES)
    with fresh(folder) as root:
        said: Counter[tuple[int, str]] = Counter()
        for take in takes(how, CLASSES):
            actor, code = actor_of(take.person, how.people), codes[CLASSES.index(take.label)]
            names = [f"{actor}_{sentence}_{code}_XX" for sentence in _SENTENCES]
            name = [name for name in names if name not in BROKEN][said[actor, code]]
            said[actor, code] += 1
            write_video(root / _FOLDER / f"{name}.flv", take.clip.frames)
        (root / _FOLDER / f"{min(BROKEN)}.flv").write_bytes(b"")


def actor_of(person: int, people: int) -> int:
    """Number of the actor who plays a person of a generated set, spread over all 91."""
    return FIRST_ACTOR + person * ACTORS // people


CREMA_D = Benchmark(
    name="crema-d",
    title="CREMA-D",
    task="dynamic",
    classes=CLASSES,
    folds=FOLDS,
    source="github.com/CheyneyComputerScience/CREMA-D; Cao et al., IEEE TAC 2014",
    layout="VideoFlash/ACTOR_SENTENCE_EMOTION_LEVEL.flv   or .mp4, such as 1001_DFA_ANG_XX.flv",
    read=read,
    make=make,
    marker="VideoFlash",
)
