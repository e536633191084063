"""Pairs of the face world: two pictures of one person in one scene, and what is true of each.

Video v of a set is a pure function of the arguments and v, so the shards are bitwise the same for any number
of workers. People are those of `mien.faces.synth`: sets with other numbers share nobody.
"""

from __future__ import annotations

import io
import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from mien.data.writer import ShardWriter
from mien.errors import DataError
from mien.faces.actions import Actions
from mien.faces.production import Sample, SetPlan, check_plan, png, produce, track, uid
from mien.faces.render import Rendering, render
from mien.faces.rig import open_rig
from mien.faces.scene import Scene, Style, sample_scene
from mien.faces.sheet import contact_sheet
from mien.faces.synth import person_of
from mien.systems.editing.pair_rules import FULL, UNITS, PairRules, choose
from mien.systems.editing.parsing import of_world

FRAMES = 8
"""Pictures of a video."""
PAIRS = 16
"""Pairs made of them."""

DETECTOR = "mien.faces/1"
"""Where the intensities come from: they are exact."""

_VIDEO = 4  # a stream of random numbers beside those of `mien.faces.synth`
_SWAY = (7.0, 4.0, 3.0)
_SHEET = 16


@dataclass(frozen=True)
class PairPlan(SetPlan):
    """Everything that decides the content of a set of pairs."""

    @property
    def videos(self) -> int:
        """How many videos the pairs come from."""
        return -(-self.images // PAIRS)


@dataclass(frozen=True)
class Frame:
    """A picture of a video.

    Attributes:
        scene: what was drawn.
        picture: the drawing.
        units: float32 [12] intensities 0..5 as this face shows them, mean of both sides.
    """

    scene: Scene
    picture: Rendering
    units: np.ndarray


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
    out = Path(out)
    plan = PairPlan(people, images, seed, str(rig), size, style, first_person)
    check_plan(plan, out, workers)
    if images < people:
        raise DataError(f"{images} pairs of {people} people", where=out, fix="give a pair or more a person")
    open_rig(plan.rig)
    videos = produce(make_video, plan, plan.videos, workers, chunk=2)
    shown: list[tuple[bytes, bytes]] = []
    with ShardWriter(out, "pair/1") as writer:
        for video in track(videos, plan.videos, f"pairs for {out.name}", progress):
            for key, members in video:
                writer.write(key, members)
            if len(shown) < _SHEET:
                shown.append((video[0][1]["src.png"], video[0][1]["tgt.png"]))
    faces = [np.asarray(Image.open(io.BytesIO(half))) for pair in shown for half in pair]
    Image.fromarray(contact_sheet(faces, ["source", "target"] * len(shown), 8)).save(out / "sheet.png")
    return out


def make_video(plan: PairPlan, video: int) -> list[Sample]:
    """Pairs of one video, as many as the set still needs."""
    number = plan.first_person + video % plan.people
    rng = np.random.default_rng([plan.seed, _VIDEO, video])
    frames = draw_frames(plan, number, rng)
    wanted = min(PAIRS, plan.images - video * PAIRS)
    vectors = np.stack([frame.units for frame in frames])
    images = [png(frame.picture.image) for frame in frames]
    labels = [png(of_world(frame.picture.regions)) for frame in frames]
    made = []
    for place, (first, second) in enumerate(choose(vectors, wanted, rng, PairRules())):
        index = video * PAIRS + place
        record = {
            "v": 1,
            "uid": uid("pair", plan.seed, index),
            "label": "pair",
            "group": f"s{plan.seed}p{number}",
            "video": f"s{plan.seed}v{video}",
            "au_detector": DETECTOR,
            **_side("src", frames[first]),
            **_side("tgt", frames[second]),
        }
        members = {
            "src.png": images[first], "tgt.png": images[second],
            "src.parse.png": labels[first], "tgt.parse.png": labels[second],
            "json": json.dumps(record).encode(),
        }  # fmt: skip
        made.append((f"{number:06d}_{video:06d}_{first}_{second}", members))
    return made


def draw_frames(plan: PairPlan, number: int, rng: np.random.Generator) -> list[Frame]:
    """The pictures of a video: one person, light, camera and background; pose and expression change."""
    person, _ = person_of(plan.seed, number)
    base = sample_scene(person, Actions(), rng, plan.style)
    head = open_rig(plan.rig)
    frames = []
    for _ in range(FRAMES):
        pose = np.asarray(base.pose) + np.clip(
            rng.normal(0, _SWAY), -2 * np.array(_SWAY), 2 * np.array(_SWAY)
        )
        yaw, pitch, roll = (float(angle) for angle in pose)
        scene = replace(base, pose=(yaw, pitch, roll), actions=sample_actions(rng))
        shown = person.act(scene.actions)
        sides = [[side.get(unit, 0.0) for unit in UNITS] for side in (shown.left, shown.right)]
        units = np.asarray(sides, np.float32).mean(axis=0) * np.float32(FULL)
        frames.append(Frame(scene, render(scene, head, plan.size), units))
    return frames


def sample_actions(rng: np.random.Generator) -> Actions:
    """One face in eight at rest, else one to five of the editor's units, each as likely, of any intensity.

    Other units stay at rest: no vector could ask for them, so a target that shows them cannot be learnt.
    """
    count = int(rng.choice(6, p=[0.125, 0.225, 0.2, 0.175, 0.15, 0.125]))
    moved = rng.choice(UNITS, size=count, replace=False)
    return Actions.of({int(unit): float(rng.uniform(0.15, 1.0)) for unit in moved})


def _side(name: str, frame: Frame) -> dict[str, Any]:
    """What a record says about the source or the target."""
    return {
        f"au_{name}": [round(float(value), 3) for value in frame.units],
        f"jaw_{name}": _points(frame.picture.landmarks[:17]),
        f"jaw_rest_{name}": _points(frame.picture.resting[:17]),
        f"pose_{name}": [round(angle, 2) for angle in frame.scene.pose],
    }


def _points(points: np.ndarray) -> list[list[float]]:
    return [[round(float(x), 2), round(float(y), 2)] for x, y in points]
