"""Pairs of the face world: two pictures of one person in one scene, and what is true of each.

Video v of a set is a pure function of the arguments and v, so the shards are bitwise the same for any number
of workers. People are those of `mien.faces.synth`: sets with other numbers share nobody.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from mien.faces.actions import Actions
from mien.faces.production import Sample
from mien.faces.scene import Style, sample_scene
from mien.faces.synth import person_of
from mien.systems.editing.pair_rules import PairRules, choose
from mien.systems.editing.pair_videos import (
    FRAMES,
    Frame,
    PairPlan,
    draw_frame,
    sample_actions,
    samples_of,
    swayed,
    write_pairs,
)  # fmt: skip

STILL = 0.75
"""Share of videos with one pose, so that their pairs differ in the expression alone; others have two."""

_VIDEO = 4  # a stream of random numbers beside those of `mien.faces.synth`
_SWAY = (7.0, 4.0, 3.0)


def make_pairs(
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
    """Write a set of pairs, schema pair/1, and its contact sheet `sheet.png`: sources above their targets.

    Args:
        out: folder of the set; absent or empty.
        people: number of different people.
        images: number of pairs; `PAIRS` of one video of `FRAMES` pictures.
        seed: of everything, people too.
        rig: "builtin" or the path of an ICT-FaceKit model.
        size: side of a picture, pixels.
        style: "studio" or "wild".
        workers: processes; 0 = one for each CPU.
        first_person: number of the first person; people of one seed with other numbers are other people.
        progress: whether to show a bar on the terminal.

    Returns:
        `out`.

    Raises:
        DataError: for numbers or names that make no set, a rig that cannot be opened, or a folder in use.
    """
    plan = PairPlan(people, images, seed, str(rig), size, style, first_person)
    return write_pairs(Path(out), "pair/1", plan, make_video, ("src.png", "tgt.png"), workers, progress)


def make_video(plan: PairPlan, video: int) -> list[Sample]:
    """Pairs of one video, as many as the set still needs."""
    rng = np.random.default_rng([plan.seed, _VIDEO, video])
    frames = draw_frames(plan, plan.person(video), rng)
    vectors = np.stack([frame.units for frame in frames])
    return samples_of(plan, video, frames, choose(vectors, plan.wanted(video), rng, PairRules()))


def draw_frames(plan: PairPlan, number: int, rng: np.random.Generator) -> list[Frame]:
    """Pictures of a video: one person, light, camera and background; expressions differ, perhaps the pose."""
    person, _ = person_of(plan.seed, number)
    base = sample_scene(person, Actions(), rng, plan.style)
    poses = [swayed(base.pose, _SWAY, rng) for _ in range(1 if rng.random() < STILL else 2)]
    return [
        draw_frame(plan, replace(base, pose=poses[place % len(poses)], actions=sample_actions(rng)))
        for place in range(FRAMES)
    ]
