"""Fits `mien.corpus.yaw` on rendered heads whose pose is known, and tells its error on people never seen.

python -m mien.corpus.yaw_fit            # 90 people x 14 heads; writes yaw.json beside this file
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import numpy.typing as npt
import typer
from rich.progress import track

from mien.corpus.detect import Detector, open_detector
from mien.corpus.measure import yaw_of
from mien.corpus.options import write_whole
from mien.corpus.track import overlap
from mien.corpus.yaw import FILE, face_yaw, features, mirrored
from mien.faces.backdrop import backdrop
from mien.faces.camera import Camera
from mien.faces.emotions import BASIC, sample_expression
from mien.faces.light import sample_light
from mien.faces.person import sample_person
from mien.faces.render import render
from mien.faces.rig import Rig, open_rig
from mien.faces.scene import Background, Scene, Sensor
from mien.faces.sensor import expose

WIDEST = 88.0
"""Largest yaw rendered, degrees."""

PENALTY = 1.0
"""Of the ridge regression."""

EDGES = (0, 30, 45, 60, 75, 90)
"""Of the bins of true |yaw| in the table."""

_BORDER, _SCORE, _MATCH = 60, 0.9, 0.25


@dataclass(frozen=True)
class Head:
    """A rendered head that the detector found: uint8 [h, w, 3], five points [5, 2], true yaw in degrees."""

    picture: npt.NDArray[np.uint8]
    points: npt.NDArray[np.float32]
    yaw: float


def heads(people: range, each: int, seed: int = 0) -> Iterator[Head]:
    """Heads of several people with yaw drawn evenly, other angles, light, expression and size at random.

    Those that MTCNN does not find with the score that the gates ask for are left out.
    """
    detector, rig = open_detector("mtcnn"), open_rig("builtin")
    for number in people:
        rng = np.random.default_rng([seed, 0x594157, number])
        person = sample_person(int(rng.integers(2**63)))
        for _ in range(each):
            yaw, (pitch, roll) = float(rng.uniform(-WIDEST, WIDEST)), rng.normal(0, [6.0, 4.0])
            actions = sample_expression(BASIC[int(rng.integers(len(BASIC)))], rng, 0.7).actions
            light = sample_light(rng, float(rng.uniform(0, 0.35)))
            pose = (yaw, float(pitch), float(roll))
            scene = Scene(person, actions, pose, light=light, camera=Camera(scale=1.9))
            head = _found(scene, rig, int(rng.integers(150, 340)), _surroundings(rng), detector)
            if head is not None:
                yield head


def _surroundings(rng: np.random.Generator) -> npt.NDArray[np.uint8]:
    """A background as movies of the face world have it: its edges must not be taken for the head's."""
    colours = tuple(tuple(float(c) for c in rng.uniform(0.03, 0.6, 3)) for _ in range(2))
    kind = str(rng.choice(["gradient", "blur", "room"]))
    behind = Background(kind, colours, int(rng.integers(2**31)))  # type: ignore[arg-type]
    return expose(backdrop(behind, 160), Sensor())


def _found(scene: Scene, rig: Rig, size: int, behind: np.ndarray, detector: Detector) -> Head | None:
    import cv2

    drawn = render(scene, rig, size)
    around = cv2.resize(behind, (size + 2 * _BORDER,) * 2, interpolation=cv2.INTER_CUBIC)
    picture = around.astype(np.uint8)
    inner = picture[_BORDER:-_BORDER, _BORDER:-_BORDER]
    inner[drawn.depth > 0] = drawn.image[drawn.depth > 0]
    found = detector(picture, 40)
    low, high = drawn.landmarks.min(0) + _BORDER, drawn.landmarks.max(0) + _BORDER
    if not len(found.boxes) or found.scores[0] < _SCORE:
        return None
    if overlap(np.array([*low, *(high - low)]), found.boxes[:1])[0] < _MATCH:
        return None
    return Head(picture, found.points[0], scene.pose[0])


def fit(found: list[Head]) -> npt.NDArray[np.float64]:
    """Weights of `mien.corpus.yaw.features` on heads and their mirror images: odd, so without a constant."""
    rows, targets = [], []
    for head in found:
        rows += [features(head.picture, head.points), features(*mirrored(head.picture, head.points))]
        targets += [head.yaw, -head.yaw]
    x, y = np.array(rows), np.array(targets)
    centred = x - x.mean(0)
    return np.linalg.solve(centred.T @ centred + PENALTY * np.eye(x.shape[1]), centred.T @ y)


def table(found: list[Head], gate: float = 60.0) -> str:
    """Errors by true |yaw|: by the points alone and by `face_yaw`, and the share told beyond the gate."""
    true = np.array([head.yaw for head in found])
    points = np.array([yaw_of(head.points) for head in found])
    whole = np.array([face_yaw(head.picture, head.points) for head in found])
    lines = [
        f"| true yaw | heads | error, points | error | told beyond {gate:g}, points | told beyond {gate:g} |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    for low, high in pairwise(EDGES):
        here = (np.abs(true) >= low) & (np.abs(true) < high)
        told = [f"{np.abs(x - true)[here].mean():.1f}" for x in (points, whole)]
        beyond = [f"{(np.abs(x)[here] > gate).mean():.2f}" for x in (points, whole)]
        lines.append(f"| {low} to {high} | {here.sum()} | {' | '.join([*told, *beyond])} |")
    return "\n".join(lines)


def main(people: int = 90, each: int = 14, held: int = 20) -> None:
    """Fit on all but the last `held` people, print the table of those, write the weights."""
    rows = list(track(heads(range(people - held), each), "heads to fit", total=None, transient=True))
    weights = [float(f"{weight:.4g}") for weight in fit(rows)]
    facts = {"people": people - held, "heads": len(rows), "weights": weights}
    write_whole(Path(__file__).with_name(FILE), json.dumps(facts) + "\n")
    print(table(list(heads(range(people - held, people), each))))


if __name__ == "__main__":
    typer.run(main)
