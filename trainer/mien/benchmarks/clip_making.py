"""What the makers of clip sets share: who shows what, words for the face world, files, a fresh folder."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mien.benchmarks.base import Making
from mien.errors import DataError
from mien.faces.actions import Actions
from mien.faces.emotions import EMOTIONS, Expression, sample_expression
from mien.faces.motion import Clip, make_clip
from mien.faces.person import Person, sample_person

FRAME_RATE = 25
"""Frames a second of every file that is written."""

_BIT_RATE = 1_500_000

_CODECS = {".mp4": ("mp4", "libx264"), ".avi": ("avi", "mpeg4"), ".flv": ("flv", "flv")}
_NOUNS = {
    "happy": "happiness", "sad": "sadness", "angry": "anger", "fearful": "fear", "surprised": "surprise",
}  # fmt: skip
# Emotions that the face world does not know, as faces of our own, unpublished: unit -> intensity.
_MIXED = {
    "anxiety": {1: 0.6, 4: 0.6, 7: 0.3, 20: 0.45, 24: 0.2},
    "helplessness": {1: 0.85, 4: 0.4, 15: 0.55, 17: 0.4, 43: 0.2},
    "disappointment": {4: 0.35, 14: 0.4, 15: 0.75, 17: 0.55, 43: 0.25},
    "calm": {12: 0.15, 43: 0.2},
}


@dataclass(frozen=True)
class Take:
    """One clip to write: its number, that of the person and of the turn (from 0), label, how it is drawn."""

    index: int
    person: int
    turn: int
    label: str
    expression: Expression
    clip: Clip


def takes(how: Making, classes: Sequence[str], parts: Sequence[Sequence[str]] = ()) -> Iterator[Take]:
    """`how.each` clips of every class, people in turn, with a progress bar.

    Args:
        how: size and seed.
        classes: labels.
        parts: what each label is made of, in words of `express`; the label itself when empty.
    """
    from rich.progress import track

    _require(how)
    people = [_person(how.seed, number) for number in range(how.people)]
    for index in track(range(how.each * len(classes)), "drawing clips", transient=True):
        turn, kind = divmod(index, len(classes))
        # One further at each turn: everybody shows every class, equally often.
        person = (kind + turn) % how.people
        rng = np.random.default_rng([how.seed, 5, index])
        expression = express(parts[kind] if parts else (classes[kind],), rng)
        clip = make_clip(people[person], expression, rng, frames=how.frames, size=how.size)
        yield Take(index, person, turn, classes[kind], expression, clip)


def express(words: Sequence[str], rng: np.random.Generator) -> Expression:
    """A clear expression of one emotion, or of several at once: the stronger of two same units counts.

    Args:
        words: nouns or adjectives of emotions, of anxiety, helplessness, disappointment or calm.
        rng: source of randomness.

    Raises:
        KeyError: for another word.
    """
    drawn = [_express(_NOUNS.get(word, word), rng) for word in words]
    left: dict[int, float] = {}
    right: dict[int, float] = {}
    for expression in drawn:
        for total, side in ((left, expression.actions.left), (right, expression.actions.right)):
            for unit, value in side.items():
                total[unit] = max(total.get(unit, 0.0), value)
    return Expression(" and ".join(words), max(one.intensity for one in drawn), Actions(left, right))


def _express(word: str, rng: np.random.Generator) -> Expression:
    strength = float(rng.uniform(0.85, 1.0))
    if word in EMOTIONS:
        return sample_expression(word, rng, 0.1 if word == "neutral" else strength, incidental=False)
    return Expression(word, strength, Actions.of({unit: v * strength for unit, v in _MIXED[word].items()}))


def write_video(path: Path, frames: np.ndarray) -> None:
    """Writes uint8 [T, H, W, 3] as h264 in mp4, mpeg4 in avi or Sorenson H.263 in flv, by the ending."""
    import av
    from av.video.stream import VideoStream

    container_format, codec = _CODECS[path.suffix]
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w", format=container_format) as container:
        stream = container.add_stream(codec, rate=FRAME_RATE)
        if not isinstance(stream, VideoStream):
            raise TypeError(f"{codec} is no codec of video")
        stream.height, stream.width = frames.shape[1:3]
        stream.pix_fmt, stream.bit_rate = "yuv420p", _BIT_RATE
        for picture in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())


def write_pictures(folder: Path, frames: np.ndarray, name: str = "{:05d}.jpg") -> None:
    """Writes uint8 [T, H, W, 3] as JPEG files, numbered from 1."""
    from PIL import Image

    folder.mkdir(parents=True, exist_ok=True)
    for number, picture in enumerate(frames, 1):
        Image.fromarray(picture).save(folder / name.format(number), quality=95)


def write_text(path: Path, lines: Sequence[str]) -> None:
    """Writes lines as UTF-8 text, folders as needed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{line}\n" for line in lines), "utf-8")


@contextmanager
def fresh(folder: Path) -> Iterator[Path]:
    """A folder to fill that takes the place of `folder` when all is written; nothing stays after a fault.

    Raises:
        DataError: if `folder` is in use.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise DataError("folder is not empty", where=folder, fix="give another folder or empty it")
    work = folder.with_name(f".{folder.name}.part")
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    try:
        yield work
        if folder.is_dir():
            folder.rmdir()
        work.rename(folder)
    finally:
        shutil.rmtree(work, ignore_errors=True)


def require_room(how: Making, people: int, each: int) -> None:
    """Refuse more people than a set has, or more than `each` clips of a class a person.

    Raises:
        DataError: with the largest numbers that fit.
    """
    if how.people > people:
        raise DataError(f"{how.people} people", where="making", fix=f"give at most {people}")
    if how.each > each * how.people:
        fix = f"give at most {each} a person, {each * how.people}"
        raise DataError(f"{how.each} clips of each class", where="making", fix=fix)


def _require(how: Making) -> None:
    for holds, what, fix in (
        (how.people >= 1, f"a set of {how.people} people", "give 1 or more"),
        (how.each >= 1, f"{how.each} clips of each class", "give 1 or more"),
        (how.frames >= 1, f"clips of {how.frames} frames", "give 1 or more"),
        (how.seed >= 0, f"seed {how.seed} is negative", "give 0 or more"),
        (
            32 <= how.size <= 1024 and how.size % 2 == 0,
            f"frames of {how.size} pixels",
            "give 32 to 1024, even",
        ),
    ):
        if not holds:
            raise DataError(what, where="making", fix=fix)


def _person(seed: int, number: int) -> Person:
    return sample_person(int(np.random.default_rng([seed, 2, number]).integers(2**63)))
