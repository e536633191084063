"""Makers of synthetic sets. `make_emocap`: captioned faces, schema emocap/1 (emocapclip spec, section 2).

Sample i of a set is a pure function of the arguments and i, so the shards are bitwise the same for any number
of workers. People are drawn from (seed, number): sets with another seed, or other numbers, share nobody.
"""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from mien.data.writer import ShardWriter
from mien.faces.actions import units_record
from mien.faces.captions import describe
from mien.faces.emotions import BASIC, COMPOUNDS, EMOTIONS, sample_asymmetry, sample_expression
from mien.faces.person import Person, sample_person
from mien.faces.production import Sample, SetPlan, check_plan, jpeg, npy, produce, requirement, track, uid
from mien.faces.render import Rendering, render
from mien.faces.rig import open_rig
from mien.faces.scene import Scene, Style, sample_scene
from mien.faces.sheet import contact_sheet

_SHEET = 56
# Streams of the random numbers of a set, so that no two of its draws are the same numbers.
_ORDER, _PERSON, _SAMPLE = 1, 2, 3
# Landmarks (68-point scheme) of the eyes; the nose tip and the mouth corners are single ones.
_EYES, _NOSE, _CORNERS = (slice(36, 42), slice(42, 48)), 30, (48, 54)


@dataclass(frozen=True)
class Plan(SetPlan):
    """Everything that decides the content of a set of captioned faces; fields as in `make_emocap`."""

    emotions: tuple[str, ...]
    extras: bool

    def cast(self) -> tuple[np.ndarray, np.ndarray]:
        """Per sample the index of its emotion and the number of its person, int64 [images] each.

        Emotions are balanced to one image, and so are those of a person; the order is shuffled.
        """
        order = np.random.default_rng([self.seed, _ORDER]).permutation(self.images)
        emotion = order % len(self.emotions)
        return emotion, self.first_person + order // len(self.emotions) % self.people


def make_emocap(
    out: Path,
    *,
    people: int,
    images: int,
    seed: int,
    rig: str = "builtin",
    size: int = 96,
    style: Style = "studio",
    workers: int = 0,
    emotions: Sequence[str] = BASIC,
    first_person: int = 0,
    extras: bool = False,
    progress: bool = True,
) -> Path:
    """Writes a set of captioned faces and its contact sheet `sheet.png`.

    Args:
        out: folder of the set; absent or empty.
        people: number of different people.
        images: number of samples.
        seed: of everything, people too.
        rig: "builtin" or the path of an ICT-FaceKit model, as in `mien.faces.rig.open_rig`.
        size: side of a picture, pixels.
        style: "studio" or "wild", as in `mien.faces.scene.sample_scene`.
        workers: processes; 0 = one for each CPU.
        emotions: classes, of `EMOTIONS` (contempt too) and `COMPOUNDS`; as many images of each.
        first_person: number of the first person; people of one seed with other numbers are other people.
        extras: also write landmarks.npy (float32 [68, 2], pixels), normals.npy (float16 [H, W, 3]) and
            depth.npy (float16 [H, W], cm).
        progress: whether to show a bar on the terminal.

    Returns:
        `out`.

    Raises:
        DataError: for numbers or names that make no set, a rig that cannot be opened, or a folder in use.
    """
    out = Path(out)
    plan = Plan(people, images, seed, str(rig), size, style, first_person, tuple(emotions), extras)
    _check(plan, out, workers)
    open_rig(plan.rig)
    sheet: list[tuple[str, bytes]] = []
    emotion, _ = plan.cast()
    wanted = _sheet_indices(emotion, len(plan.emotions))
    made = track(produce(_make, plan, plan.images, workers), plan.images, f"faces for {out.name}", progress)
    with ShardWriter(out, "emocap/1") as writer:
        for index, (key, members) in enumerate(made):
            writer.write(key, members)
            if index in wanted:
                sheet.append((plan.emotions[emotion[index]], members["jpg"]))
    _save_sheet(sheet, plan.emotions, out / "sheet.png")
    return out


def _check(plan: Plan, out: Path, workers: int) -> None:
    require = requirement(out)
    check_plan(plan, out, workers)
    known = (*EMOTIONS, *COMPOUNDS)
    unknown = [name for name in plan.emotions if name not in known]
    require(not unknown, f"unknown emotion {unknown[:1]}", f"choose from: {', '.join(known)}")
    require(len(plan.emotions) > 0, "no emotions", "name one or more")
    require(len({*plan.emotions}) == len(plan.emotions), "an emotion is named twice", "name each once")


@cache
def _cast(plan: Plan) -> tuple[np.ndarray, np.ndarray]:
    return plan.cast()


def _make(plan: Plan, index: int) -> Sample:
    """One sample: key and encoded members."""
    emotion, number = (int(column[index]) for column in _cast(plan))
    person, asymmetry = person_of(plan.seed, number)
    rng = np.random.default_rng([plan.seed, _SAMPLE, index])
    expression = sample_expression(plan.emotions[emotion], rng, asymmetry=asymmetry)
    scene = sample_scene(person, expression.actions, rng, plan.style)
    # Captions tell what is seen: the actions as this person's face shows them.
    expression = replace(expression, actions=person.act(expression.actions))
    picture = render(scene, open_rig(plan.rig), plan.size)
    record = {
        "v": 1,
        "uid": uid("emocap", plan.seed, index),
        "movie": number,
        "shot": emotion,
        "track": -1,
        "t_ms": 0,
        **_geometry(picture, scene),
        **describe(expression, rng, scene.pose, scene.gaze).record(),
        "captioner": {"name": "mien.faces.captions", "prompt_sha": _grammar_sha()},
        "dup": None,
        "label": expression.emotion,
        "group": f"s{plan.seed}p{number}",
        "au": units_record(expression.actions),
        "intensity": round(expression.intensity, 3),
        "pose": [round(angle, 2) for angle in scene.pose],
        "gaze": [round(angle, 2) for angle in scene.gaze],
    }
    members = {"jpg": jpeg(picture.image), "json": json.dumps(record).encode()}
    if plan.extras:
        members["landmarks.npy"] = npy(picture.landmarks.astype(np.float32))
        members["normals.npy"] = npy(picture.normals.astype(np.float16))
        members["depth.npy"] = npy(picture.depth.astype(np.float16))
    return f"{number:06d}_{emotion:02d}_{index:08d}_0", members


@cache
def person_of(seed: int, number: int) -> tuple[Person, float]:
    """A person of a set by number, and how unlike the two sides of that face habitually act."""
    rng = np.random.default_rng([seed, _PERSON, number])
    return sample_person(int(rng.integers(2**63))), sample_asymmetry(rng)


@cache
def _grammar_sha() -> str:
    """Hash of the grammar and its words: captions with the same hash and numbers are the same text."""
    names = ("captions.py", "captions_actions.py", "captions_actions.yaml", "captions_affect.py")
    package = resources.files("mien.faces")
    return hashlib.sha256(b"".join(package.joinpath(name).read_bytes() for name in names)).hexdigest()[:16]


def _geometry(picture: Rendering, scene: Scene) -> dict[str, Any]:
    points = picture.landmarks
    five = (
        [points[eye].mean(axis=0) for eye in _EYES]
        + [points[_NOSE]]
        + [points[corner] for corner in _CORNERS]
    )
    low, high = points.min(axis=0), points.max(axis=0)
    grey = picture.image.astype(np.float32).mean(axis=2)
    laplacian = 4 * grey[1:-1, 1:-1] - grey[:-2, 1:-1] - grey[2:, 1:-1] - grey[1:-1, :-2] - grey[1:-1, 2:]
    return {
        "bbox": [round(float(v), 1) for v in (*low, *(high - low))],
        "lm5": [[round(float(x), 1), round(float(y), 1)] for x, y in five],
        "q": {"det": 1.0, "blur": round(float(laplacian.var()), 1), "yaw": round(scene.pose[0], 2)},
    }


def _sheet_indices(emotion: np.ndarray, classes: int) -> set[int]:
    """The first samples of each class, `_SHEET` in all."""
    share = max(_SHEET // classes, 1)
    return {int(index) for label in range(classes) for index in np.flatnonzero(emotion == label)[:share]}


def _save_sheet(faces: list[tuple[str, bytes]], order: Sequence[str], path: Path) -> None:
    """Faces in rows of one class each, with the class name below."""
    ranked = sorted(faces, key=lambda face: order.index(face[0]))
    images = [np.asarray(Image.open(io.BytesIO(data))) for _, data in ranked]
    columns = max(1, round(len(images) / len(order)))
    Image.fromarray(contact_sheet(images, [name for name, _ in ranked], columns)).save(path)
