"""eNTERFACE'05: 44 subjects say five sentences for each of six emotions; five folds by subject.

Known from the owners (Martin et al., ICDE Workshops 2006) and public loaders: `subject 1/anger/sentence
1/s1_an_1.avi`. Papers report 1,287 clips (emocapclip spec, section 6.1). That is 43 x 30 - 3: users say
that the clips of subject 6 are not cut into sentences and that subject 23 lacks three of happiness; we
have no copy to see it.

Decided here: subject 6 is left out. The label is the folder, as file names vary (`s_3_ha_1.avi`). Folds
are contiguous blocks of the 43 subjects by number (8, 8, 9, 9, 9); published code does not state them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from mien.benchmarks.base import Benchmark, Item, Making
from mien.benchmarks.clip_lists import natural, subject_fold
from mien.benchmarks.clip_making import fresh, require_room, takes, write_video
from mien.errors import DataError

CLASSES = ("anger", "disgust", "fear", "happiness", "sadness", "surprise")
FOLDS = 5
UNCUT = 6
"""Subject whose clips are not cut into sentences."""
SUBJECTS = tuple(number for number in range(1, 45) if number != UNCUT)
_SUBJECT, _SENTENCE = re.compile(r"subject (\d+)"), re.compile(r"sentence ([1-5])")


def read(root: Path) -> list[Item]:
    """Items of a folder; key: `subject 1/anger/sentence 1`; group: number of the subject."""
    folders = _folders(root)
    numbered = [(folder, _SUBJECT.fullmatch(folder.name)) for folder in folders]
    subjects = [(folder, int(match[1])) for folder, match in numbered if match]
    if not subjects:
        raise DataError("no folder 'subject 1' to 'subject 44'", where=root, fix="unpack the set again")
    return [item for folder, number in subjects if number != UNCUT for item in _subject(folder, number)]


def _subject(folder: Path, number: int) -> Iterator[Item]:
    if number not in SUBJECTS:
        raise DataError(f"unknown subject {number}", where=folder, fix=f"subjects are 1 to {SUBJECTS[-1]}")
    for emotion in _folders(folder):
        label = emotion.name.lower()
        if label not in CLASSES:
            what = f"unknown emotion {emotion.name!r}"
            raise DataError(what, where=emotion, fix=f"one of: {', '.join(CLASSES)}")
        for sentence in _folders(emotion):
            match = _SENTENCE.fullmatch(sentence.name)
            if match is None:
                raise DataError("name is not 'sentence 1' to 'sentence 5'", where=sentence, fix="rename it")
            yield Item(
                key=f"{folder.name}/{label}/{sentence.name}",
                media=(_only_clip(sentence),),
                label=label,
                group=str(number),
                fold=subject_fold(SUBJECTS.index(number), len(SUBJECTS), FOLDS),
            )


def _only_clip(folder: Path) -> Path:
    clips = sorted(path for path in folder.iterdir() if path.suffix.lower() == ".avi")
    if len(clips) != 1:
        raise DataError(
            f"folder holds {len(clips)} .avi files, not one", where=folder, fix="unpack the set again"
        )
    return clips[0]


def _folders(folder: Path) -> list[Path]:
    return sorted(
        (entry for entry in folder.iterdir() if entry.is_dir()), key=lambda entry: natural(entry.name)
    )


def make(folder: Path, how: Making) -> None:
    """Writes a small set with subjects from all folds, and the uncut clip of subject 6.

    Raises:
        DataError: if `how` asks for more people or clips than the set has room for.
    """
    require_room(how, len(SUBJECTS), 5)
    with fresh(folder) as root:
        said: dict[tuple[int, str], int] = {}
        for take in takes(how, CLASSES):
            subject = subject_of(take.person, how.people)
            sentence = said[subject, take.label] = said.get((subject, take.label), 0) + 1
            name = f"s{subject}_{take.label[:2]}_{sentence}.avi"
            inside = root / f"subject {subject}" / take.label / f"sentence {sentence}"
            write_video(inside / name, take.clip.frames)
            if take.index == 0:
                write_video(root / f"subject {UNCUT}" / take.label / f"s{UNCUT}_an.avi", take.clip.frames)


def subject_of(person: int, people: int) -> int:
    """Number of the subject who plays a person of a generated set, spread over all 43."""
    return SUBJECTS[person * len(SUBJECTS) // people]


ENTERFACE05 = Benchmark(
    name="enterface05",
    title="eNTERFACE'05",
    task="dynamic",
    classes=CLASSES,
    folds=FOLDS,
    source="Martin et al., ICDE Workshops 2006",
    layout="subject 1/anger/sentence 1/*.avi   one file in each folder",
    read=read,
    make=make,
    marker="subject */*/sentence 1",
)
