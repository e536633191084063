"""What every maker of pairs shares: a plan, the pictures of a video, samples, the set and its sheet."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
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
from mien.faces.scene import Scene
from mien.faces.sheet import contact_sheet
from mien.systems.editing.pair_rules import FULL, UNITS
from mien.systems.editing.parsing import of_world

FRAMES = 8
"""Pictures of a video."""
PAIRS = 16
"""Pairs made of them."""

DETECTOR = "mien.faces/1"
"""Where the intensities come from: they are exact."""

_SHEET = 16
_TITLES = {"src.png": "source", "tgt.png": "target", "tgt.render.png": "rendering"}


@dataclass(frozen=True)
class PairPlan(SetPlan):
    """Everything that decides the content of a set of pairs."""

    @property
    def videos(self) -> int:
        """How many videos the pairs come from."""
        return -(-self.images // PAIRS)

    def person(self, video: int) -> int:
        """Number of the person of a video."""
        return self.first_person + video % self.people

    def wanted(self, video: int) -> int:
        """Pairs of a video, as many as the set still needs."""
        return min(PAIRS, self.images - video * PAIRS)


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


def write_pairs(
    out: Path,
    schema: str,
    plan: PairPlan,
    make: Callable[[PairPlan, int], list[Sample]],
    shown: Sequence[str],
    workers: int,
    progress: bool,
) -> Path:
    """Write the pairs of a plan and their contact sheet; the tail of every maker of pairs.

    Args:
        out: folder of the set; absent or empty.
        schema: of the samples.
        plan: what decides the set.
        make: (plan, video) -> its samples; a function of a module.
        shown: members of a pair that stand side by side on the sheet.
        workers: processes; 0 = one for each CPU.
        progress: whether to show a bar on the terminal.

    Returns:
        `out`.

    Raises:
        DataError: for a plan that makes no set, a rig that cannot be opened, or a folder in use.
    """
    check_plan(plan, out, workers)
    if plan.images < plan.people:
        what = f"{plan.images} pairs of {plan.people} people"
        raise DataError(what, where=out, fix="give a pair or more a person")
    open_rig(plan.rig)
    videos = produce(make, plan, plan.videos, workers, chunk=2)
    first: list[bytes] = []
    with ShardWriter(out, schema) as writer:
        for video in track(videos, plan.videos, f"pairs for {out.name}", progress):
            for key, members in video:
                writer.write(key, members)
            if len(first) < _SHEET * len(shown):
                first += [video[0][1][name] for name in shown]
    pictures = [np.asarray(Image.open(io.BytesIO(data))) for data in first]
    titles = [_TITLES[name] for name in shown] * (len(first) // len(shown))
    columns = 8 // len(shown) * len(shown)
    Image.fromarray(contact_sheet(pictures, titles, columns)).save(out / "sheet.png")
    return out


def samples_of(
    plan: PairPlan,
    video: int,
    frames: Sequence[Frame],
    chosen: Sequence[tuple[int, int]],
    kind: str = "pair",
    tell: Callable[[int, int], tuple[dict[str, Any], dict[str, bytes]]] = lambda first, second: ({}, {}),
) -> list[Sample]:
    """Samples of the chosen pairs: what schema pair/1 asks for, and more where a maker tells more.

    Args:
        plan: what decides the set.
        video: number of the video.
        frames: its pictures.
        chosen: source and target of each pair, places in `frames`.
        kind: of the set; other kinds have other uids.
        tell: (source, target) -> what else the record and the members of the pair hold.
    """
    number = plan.person(video)
    images = [png(frame.picture.image) for frame in frames]
    labels = [png(of_world(frame.picture.regions)) for frame in frames]
    made = []
    for place, (first, second) in enumerate(chosen):
        facts, files = tell(first, second)
        record = {
            "v": 1,
            "uid": uid(kind, plan.seed, video * PAIRS + place),
            "label": "pair",
            "group": f"s{plan.seed}p{number}",
            "video": f"s{plan.seed}v{video}",
            "au_detector": DETECTOR,
            **_side("src", frames[first]),
            **_side("tgt", frames[second]),
            **facts,
        }
        members = {
            "src.png": images[first], "tgt.png": images[second],
            "src.parse.png": labels[first], "tgt.parse.png": labels[second],
            **files,
            "json": json.dumps(record).encode(),
        }  # fmt: skip
        made.append((f"{number:06d}_{video:06d}_{first}_{second}", members))
    return made


def swayed(
    pose: tuple[float, float, float], sway: tuple[float, float, float], rng: np.random.Generator
) -> tuple[float, float, float]:
    """A pose about another, degrees: normal with deviations `sway`, at most two of them away."""
    yaw, pitch, roll = np.asarray(pose) + np.clip(
        rng.normal(0, sway), -2 * np.array(sway), 2 * np.array(sway)
    )
    return float(yaw), float(pitch), float(roll)


def draw_frame(plan: PairPlan, scene: Scene) -> Frame:
    """The picture of a scene, and the intensities that it shows."""
    shown = scene.person.act(scene.actions)
    sides = [[side.get(unit, 0.0) for unit in UNITS] for side in (shown.left, shown.right)]
    units = np.asarray(sides, np.float32).mean(axis=0) * np.float32(FULL)
    return Frame(scene, render(scene, open_rig(plan.rig), plan.size), units)


def sample_actions(rng: np.random.Generator, units: Sequence[int] = UNITS) -> Actions:
    """One face in eight at rest, else one to five of `units`, each as likely, of any intensity.

    Other units stay at rest: no vector could ask for them, so a target that shows them cannot be learnt.
    """
    count = int(rng.choice(6, p=[0.125, 0.225, 0.2, 0.175, 0.15, 0.125]))
    moved = rng.choice(units, size=count, replace=False)
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
