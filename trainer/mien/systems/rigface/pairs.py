"""Pairs of the face world with their 3D truth: codes of both pictures, and the rendering of the target's.

A video has four poses, four expressions and one light or four. Its pictures are different combinations of
them, so that among the pairs some differ in one thing alone (rigface spec, 2: pose-only, expression-only and
light-rich pairs), and the background of those of one pose is greyed as edits without a turn grey it.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from mien.faces.actions import Actions
from mien.faces.light import sample_light
from mien.faces.production import Sample, png
from mien.faces.scene import Scene, Style, sample_scene
from mien.faces.synth import person_of
from mien.systems.editing.pair_videos import (
    FRAMES,
    PairPlan,
    draw_frame,
    sample_actions,
    samples_of,
    swayed,
    write_pairs,
)  # fmt: skip
from mien.systems.rigface.backend import open_backend
from mien.systems.rigface.codes import UNITS, codes_of
from mien.systems.rigface.records import to_record

POOL = 4
"""Poses and expressions of a video, and lights where the light changes."""
LIT = 0.5
"""Share of videos whose light changes from picture to picture."""
SAME = 0.05
"""Share of pairs of a picture with itself, so that the source's own codes mean no edit."""

_VIDEO = 6  # a stream of random numbers beside those of other makers
_SWAY = (14.0, 6.0, 4.0)
_TURN = 60.0  # degrees of yaw beyond which there is more ear than face
_HARDNESS = (0.1, 0.8)
_MOST = 0.5  # how much weaker one side of an expression may be


def make_rig_pairs(
    out: Path,
    *,
    people: int,
    images: int,
    seed: int,
    rig: str = "builtin",
    size: int = 64,
    style: Style = "studio",
    workers: int = 0,
    first_person: int = 0,
    progress: bool = True,
) -> Path:
    """Write a set of pairs, schema rigpair/1, and its contact sheet `sheet.png`: source, target, rendering.

    Arguments, result and errors are those of `mien.systems.editing.face_pairs.make_pairs`. People of one
    number are the same as there; all else differs.
    """
    plan = PairPlan(people, images, seed, str(rig), size, style, first_person)
    shown = ("src.png", "tgt.png", "tgt.render.png")
    return write_pairs(Path(out), "rigpair/1", plan, make_video, shown, workers, progress)


def make_video(plan: PairPlan, video: int) -> list[Sample]:
    """Pairs of one video, as many as the set still needs."""
    rng = np.random.default_rng([plan.seed, _VIDEO, video])
    frames = [draw_frame(plan, scene) for scene in draw_scenes(plan, plan.person(video), rng)]
    chosen = choose(len(frames), plan.wanted(video), rng)
    backend = open_backend(plan.rig)
    codes = [codes_of(frame.scene) for frame in frames]
    records = [to_record(each) for each in codes]
    # Of the target's own codes: one person has one shape and one colour. Once a picture, not once a pair.
    drawn = {second: png(backend.render(codes[second], plan.size).image) for _, second in chosen}

    def tell(first: int, second: int) -> tuple[dict[str, Any], dict[str, bytes]]:
        facts = {"backend": backend.name, "codes_src": records[first], "codes_tgt": records[second]}
        return facts, {"tgt.render.png": drawn[second]}

    return samples_of(plan, video, frames, chosen, "rigpair", tell)


def draw_scenes(plan: PairPlan, number: int, rng: np.random.Generator) -> list[Scene]:
    """Scenes of a video: one person, camera and background, no combination of pose, face and light twice."""
    person, _ = person_of(plan.seed, number)
    base = sample_scene(person, Actions(), rng, plan.style)
    poses = []
    for _ in range(POOL):
        yaw, pitch, roll = swayed(base.pose, _SWAY, rng)
        poses.append((float(np.clip(yaw, -_TURN, _TURN)), pitch, roll))
    faces = [sample_face(rng) for _ in range(POOL)]
    lights = [base.light]
    if rng.random() < LIT:
        lights = [sample_light(rng, float(rng.uniform(*_HARDNESS))) for _ in range(POOL)]
    mixed = list(product(poses, faces, lights))
    taken = [mixed[place] for place in rng.permutation(len(mixed))[:FRAMES]]
    return [replace(base, pose=pose, actions=actions, light=light) for pose, actions, light in taken]


def sample_face(rng: np.random.Generator) -> Actions:
    """An expression of any unit that psi holds, one side up to a half weaker in one face of three."""
    even = sample_actions(rng, UNITS)
    if rng.random() >= 1 / 3:
        return even
    return Actions.of(even.left, float(rng.uniform(-_MOST, _MOST)))


def choose(frames: int, count: int, rng: np.random.Generator) -> list[tuple[int, int]]:
    """Pairs (source, target) of a video's pictures, both directions, none twice; at most frames^2 of them."""
    same = [(int(place), int(place)) for place in rng.permutation(frames)[: round(SAME * count)]]
    others = [(first, second) for first in range(frames) for second in range(frames) if first != second]
    more = [others[place] for place in rng.permutation(len(others))[: count - len(same)]]
    taken = same + more
    return [taken[place] for place in rng.permutation(len(taken))]
