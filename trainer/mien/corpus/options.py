"""What a user can choose about a corpus, and the keys by which stages know that their input is the same."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from mien.errors import DataError

FILE = "options.json"
"""The options of a corpus, in its folder; sub-commands read them there."""


class FaceOptions(BaseModel):
    """What everything made from movies shares: shots, faces, gates, split."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    shot_detector: Literal["adaptive", "content", "histogram", "hash"] = "adaptive"
    """Detector of PySceneDetect."""
    shot_threshold: float | None = Field(None, gt=0)
    """Its threshold; None is its own default."""
    shot_seconds: float = Field(0.5, gt=0, le=60)
    """Shortest shot."""
    rate: float = Field(4.0, gt=0, le=60)
    """Frames a second in which faces are looked for."""
    detector: str = "mtcnn"
    """As in `mien.corpus.detect.open_detector`."""
    smallest: float = Field(40.0, ge=12, le=1000)
    """Side of the smallest face looked for, pixels of the video; smaller ones are not even counted."""
    score: float = Field(0.9, ge=0, le=1)
    """Lowest score of the detector."""
    side: float = Field(96.0, ge=12, le=4000)
    """Lowest short side of a face's box, pixels."""
    yaw: float = Field(60.0, gt=0, le=90)
    """Largest |yaw|, degrees."""
    blur: float = Field(60.0, ge=0)
    """Lowest variance of the Laplacian of the face, which is scaled to 112 x 112 first."""
    inside: float = Field(0.85, ge=0, le=1)
    """Lowest share of the box that is inside the picture."""
    parts: dict[str, float] = {"train": 0.97, "val": 0.015, "test": 0.015}
    """Shares of the parts; a movie is in one part."""
    seed: int = Field(0, ge=0)
    """Of the split."""
    samples_per_shard: int = Field(2500, ge=1)
    """Samples in every shard but the last of a part."""

    def key(self, names: Iterable[str], *upstream: str) -> str:
        """Hash of the named options and of the keys of what a stage reads."""
        chosen = {name: getattr(self, name) for name in sorted(names)}
        return hashlib.sha256(json.dumps([chosen, upstream]).encode()).hexdigest()[:16]

    def save(self, out: Path) -> None:
        """Write `out/options.json`, whole or not at all."""
        write_whole(out / FILE, self.model_dump_json(indent=1) + "\n")


class Options(FaceOptions):
    """Of captioned faces; defaults are those of the emocapclip spec, section 2, where it states any."""

    per_shot: int = Field(3, ge=1, le=100)
    """Most frames of a shot."""
    margin: float = Field(1.3, ge=1, le=4)
    """Side of the square crop relative to the long side of the box."""
    size: int = Field(256, ge=32, le=2048)
    """Side of the stored picture, pixels."""
    quality: int = Field(95, ge=1, le=100)
    """Of its JPEG."""
    hash_bits: int = Field(4, ge=0, le=64)
    """Most bits of 64 in which the perceptual hashes of two duplicates differ."""
    face_cosine: float = Field(0.95, ge=-1, le=1)
    """Least cosine of the face vectors of two duplicates."""
    expression_cosine: float = Field(0.8, ge=-1, le=1)
    """Least cosine of the expression vectors of two duplicates."""


Chosen = TypeVar("Chosen", bound=FaceOptions)


def load_options(out: Path, changes: Iterable[str] = ()) -> Options:
    """The options of a corpus of captioned faces; as `load_options_as`."""
    return load_options_as(Options, out, changes)


def load_options_as(kind: type[Chosen], out: Path, changes: Iterable[str] = ()) -> Chosen:
    """The options kept in a folder (the defaults if it has none yet), with `key=value` changes.

    Raises:
        DataError: for an unknown key or a value that does not fit, with every problem.
    """
    path = out / FILE
    tree: dict[str, Any] = {}
    try:
        if path.is_file():
            tree = json.loads(path.read_text(encoding="utf-8"))
        for change in changes:
            name, equals, text = change.partition("=")
            if not equals:
                raise DataError(f"{change!r} is no change", where="--set", fix="write it like rate=2")
            tree[name.strip()] = _value(text.strip())
        return kind.model_validate(tree)
    except ValidationError as error:
        told = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
        keys = ", ".join(kind.model_fields)
        raise DataError(f"options do not fit: {told}", where=path, fix=f"keys are: {keys}") from error
    except ValueError as error:
        raise DataError(f"not valid JSON: {error}", where=path, fix="mend or delete it") from error


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


def write_whole(path: Path, text: str) -> None:
    """Write a file so that it is there whole or not at all, whoever else writes it at the same time."""
    aside = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    with aside.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    aside.replace(path)
