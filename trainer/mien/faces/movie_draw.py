"""Draw and encode a movie of the face world: heads at a few moments a track, moved between them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.progress import track
from threadpoolctl import threadpool_limits

from mien.data.staging import staged
from mien.faces.actions import Actions, units_record
from mien.faces.backdrop import backdrop
from mien.faces.camera import Camera
from mien.faces.emotions import sample_expression
from mien.faces.light import sample_light
from mien.faces.movie import KEYS, TRUTH, Actor, MoviePlan, Shot
from mien.faces.person import sample_person
from mien.faces.render import render
from mien.faces.rig import Rig, open_rig
from mien.faces.scene import Background, Scene, Sensor
from mien.faces.sensor import expose

MOVIE = "movie.mp4"
"""Name of the video inside a movie's folder."""

_SCALE = 1.9  # of the camera's crop, so that neck and shoulders are in the picture
_COURSE = (0.15, 0.6, 1.0, 0.5)  # how strong the expression is at each moment
_LARGEST = 448


def make_movie(
    out: Path,
    *,
    seconds: float,
    people: int,
    seed: int = 0,
    width: int = 800,
    height: int = 450,
    fps: int = 12,
    shot_seconds: float = 4.0,
    rig: str = "builtin",
    progress: bool = True,
) -> Path:
    """Write `out/movie.mp4` (H.264) and `out/truth.json`.

    The truth holds, per shot, first and last frame, kind, the shot it repeats, and its tracks: person, yaw
    (degrees), blur (pixels), emotion, action units at each moment (as `au` of schema emocap/1), the moment
    shown at each frame, and a box `[x, y, w, h]` a frame in pixels: the bounding box of the 68 landmarks,
    which may leave the picture.

    Args:
        out: folder, absent or empty; appears when the movie is complete.
        seconds: length.
        people: different people in the cast.
        seed: of everything, people too.
        width: of a frame, pixels, even.
        height: of a frame, pixels, even.
        fps: frames a second.
        shot_seconds: mean length of a shot.
        rig: as in `mien.faces.rig.open_rig`.
        progress: whether to show a bar on stderr.

    Returns:
        `out`.

    Raises:
        DataError: for numbers that make no movie, a rig that cannot be opened, or a folder in use.
    """
    plan = MoviePlan(seconds, people, seed, width, height, fps, shot_seconds)
    plan.check(out)
    head, shots, told = open_rig(rig), plan.shots(), list[dict[str, Any]]()
    steps = track(
        shots, f"movie {out.name}", console=Console(stderr=True), transient=True, disable=not progress
    )
    with staged(out) as partial, threadpool_limits(1):
        with Encoder(partial / MOVIE, width, height, fps) as encoder:
            for shot in steps:
                cast = [draw_actor(actor, head, plan.seed) for actor in shot.actors]
                for picture in _frames(plan, shot, cast):
                    encoder.add(picture)
                told.append(_tell(shot, cast))
        truth = {"format": "mien-movie/1", **asdict(plan), "frames": shots[-1].last + 1, "shots": told}
        (partial / TRUTH).write_text(json.dumps(truth) + "\n", encoding="utf-8")
    return out


class Encoder:
    """Writes pictures (uint8 [height, width, 3] RGB) to an H.264 file at a fixed rate."""

    def __init__(self, path: Path, width: int, height: int, fps: int) -> None:
        import av

        self._container = av.open(str(path), "w")
        self._stream = self._container.add_stream(
            "libx264", rate=fps, options={"crf": "20", "preset": "veryfast"}
        )
        self._stream.width, self._stream.height, self._stream.pix_fmt = width, height, "yuv420p"
        self._stream.thread_count = 1

    def __enter__(self) -> Encoder:
        return self

    def __exit__(self, *error: object) -> None:
        if error[0] is None:
            self._container.mux(self._stream.encode())
        self._container.close()

    def add(self, picture: np.ndarray) -> None:
        """Append one frame."""
        import av

        self._container.mux(self._stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))


@dataclass(frozen=True)
class Drawn:
    """An actor's moments: uint8 [keys, s, s, 3], alpha float32 [keys, s, s], boxes float64 [keys, 4].

    Boxes are (left, top, right, bottom) of the landmarks as parts of the side; `acted`: what it shows.
    """

    actor: Actor
    acted: tuple[Actions, ...]
    pictures: np.ndarray
    alpha: np.ndarray
    boxes: np.ndarray


def draw_actor(actor: Actor, rig: Rig, seed: int) -> Drawn:
    """Render the moments of one actor; people are drawn from (seed, number)."""
    rng = np.random.default_rng(actor.seed)
    person = sample_person(int(np.random.default_rng([seed, 2, actor.person]).integers(2**63)))
    actions = sample_expression(actor.emotion, rng, 0.85).actions
    courses = [_weaker(actions, strength) for strength in _COURSE]
    pitch, roll = rng.normal(0, [4.0, 3.0])
    light = sample_light(rng, float(rng.uniform(0, 0.35)))
    size = int(min(_LARGEST, max(96, max(actor.side))))
    pictures, alphas, boxes = [], [], []
    for strength, course in zip(_COURSE, courses):
        pose = (actor.yaw + 6 * (strength - 0.5), float(pitch), float(roll))
        drawn = render(Scene(person, course, pose, light=light, camera=Camera(scale=_SCALE)), rig, size)
        pictures.append(drawn.image)
        alphas.append(_soften(drawn.depth > 0))
        boxes.append([*drawn.landmarks.min(0) / size, *drawn.landmarks.max(0) / size])
    acted = tuple(person.act(course) for course in courses)
    return Drawn(actor, acted, np.stack(pictures), np.stack(alphas), np.array(boxes, np.float64))


def _weaker(actions: Actions, strength: float) -> Actions:
    return Actions(*({n: v * strength for n, v in half.items()} for half in (actions.left, actions.right)))


def _soften(head: np.ndarray) -> np.ndarray:
    """Alpha of a head: a soft edge, and shoulders that fade at the border of the picture."""
    import cv2

    alpha = cv2.GaussianBlur(cv2.erode(head.astype(np.float32), np.ones((3, 3))), (0, 0), 1.0)
    at = (np.arange(len(head)) + 0.5) / len(head)
    down = np.clip((1 - at) / 0.14, 0, 1)
    across = np.clip(np.minimum(at, 1 - at) / 0.06, 0, 1)
    return (alpha * down[:, None] * across[None]).astype(np.float32)


def moment(shot: Shot, frame: int) -> int:
    """Which of the `KEYS` moments frame `frame` (from 0) of a shot shows."""
    return min(KEYS - 1, frame * KEYS // shot.frames)


def _frames(plan: MoviePlan, shot: Shot, cast: list[Drawn]) -> Iterator[np.ndarray]:
    empty = _surroundings(plan, shot)
    rng = np.random.default_rng(shot.scene)
    # A new print of an old take is a little darker and has grain of its own.
    gain = 1.0 if shot.repeat_of is None else 0.96
    grain = rng.normal(0, 1.5, (plan.height + 16, plan.width + 16, 1)).astype(np.float32)
    for frame in range(shot.frames):
        picture = empty.copy()
        for drawn in cast:
            _paste(picture, drawn, moment(shot, frame), frame / max(shot.frames - 1, 1))
        top, left = rng.integers(0, 16, 2)
        noisy = picture * gain + grain[top : top + plan.height, left : left + plan.width]
        yield np.clip(noisy, 0, 255).astype(np.uint8)


def _surroundings(plan: MoviePlan, shot: Shot) -> np.ndarray:
    """Float32 [height, width, 3] in [0, 255]."""
    import cv2

    rng = np.random.default_rng([shot.scene, 1])
    first, second = (tuple(float(c) for c in rng.uniform(0.03, 0.6, 3)) for _ in range(2))
    kind = str(rng.choice(["gradient", "blur", "room"]))
    picture = backdrop(Background(kind, (first, second), int(rng.integers(2**31))), 160)  # type: ignore[arg-type]
    side = max(plan.width, plan.height)
    large = cv2.resize(expose(picture, Sensor()), (side, side), interpolation=cv2.INTER_CUBIC)
    return large[: plan.height, : plan.width].astype(np.float32)


def _paste(picture: np.ndarray, drawn: Drawn, key: int, part: float) -> None:
    """Blend an actor into float32 [height, width, 3], in place."""
    import cv2

    x, y, side = drawn.actor.at(part)
    scale = side / drawn.alpha.shape[1]
    # Centres of pixels are at halves: (c + 0.5) * scale + left - 0.5.
    left, top = x - side / 2 + 0.5 * scale - 0.5, y - side / 2 + 0.5 * scale - 0.5
    x0, y0 = max(int(left) - 1, 0), max(int(top) - 1, 0)
    x1 = min(int(left + side) + 2, picture.shape[1])
    y1 = min(int(top + side) + 2, picture.shape[0])
    if x1 <= x0 or y1 <= y0:
        return
    move = np.array([[scale, 0, left - x0], [0, scale, top - y0]])
    layers = [drawn.pictures[key].astype(np.float32), drawn.alpha[key]]
    colour, alpha = (cv2.warpAffine(layer, move, (x1 - x0, y1 - y0)) for layer in layers)
    if drawn.actor.blur:
        colour = cv2.GaussianBlur(colour, (0, 0), drawn.actor.blur)
        alpha = cv2.GaussianBlur(alpha, (0, 0), drawn.actor.blur)
    area = picture[y0:y1, x0:x1]
    area += (colour - area) * alpha[..., None]


def _tell(shot: Shot, cast: list[Drawn]) -> dict[str, Any]:
    moments = [moment(shot, frame) for frame in range(shot.frames)]
    return {
        "shot": shot.number,
        "kind": shot.kind,
        "first": shot.first,
        "last": shot.last,
        "repeat_of": shot.repeat_of,
        "moments": moments,
        "tracks": [
            {
                "track": number,
                "person": drawn.actor.person,
                "emotion": drawn.actor.emotion,
                "yaw": round(drawn.actor.yaw, 1),
                "blur": round(drawn.actor.blur, 2),
                "units": [units_record(actions) for actions in drawn.acted],
                "boxes": [
                    _box(drawn, key, frame / max(shot.frames - 1, 1)) for frame, key in enumerate(moments)
                ],
            }
            for number, drawn in enumerate(cast)
        ],
    }


def _box(drawn: Drawn, key: int, part: float) -> list[float]:
    x, y, side = drawn.actor.at(part)
    left, top, right, bottom = drawn.boxes[key] * side
    corner = (x - side / 2 + left, y - side / 2 + top)
    return [round(float(v), 1) for v in (*corner, right - left, bottom - top)]
