"""Stage 2: faces and tracks of a movie's shots, with what the gates ask about."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from mien.corpus.detect import Detector, open_detector
from mien.corpus.ledger import Ledger, Row, Writer
from mien.corpus.measure import aligned, appearance, grey_view, share_inside, sharpness
from mien.corpus.options import FaceOptions
from mien.corpus.scan import Movie
from mien.corpus.track import Tracker
from mien.corpus.video import Frame, read_frames
from mien.corpus.yaw import face_yaw

USES = ("rate", "detector", "smallest")
"""Options that decide the outcome."""


def find_faces(movie: Movie, path: Path, key: str, options: FaceOptions, shots: Ledger) -> None:
    """Write the ledger of faces, one row each, shot by shot; goes on after the last complete shot.

    A row has `shot`, `track` (in the shot), `frame`, `t_ms`, `face` (in the frame), `box` [left, top, width,
    height] and `lm5` in pixels of the upright frame, `score`, `yaw` (degrees), `blur` (variance of the
    Laplacian), `inside` (share of the box) and `change` (difference of the aligned face from the middle one
    of its track). Counts: `kept` faces, `frames` looked at, `frames_without_face`, `tracks`.

    Raises:
        VideoError: if the file cannot be opened any more.
    """
    detector = open_detector(options.detector)
    with Writer(path, "faces", key) as ledger:
        rows = list(ledger.rows)
        spans = [shot for shot in shots.rows if shot["shot"] > ledger.done]
        at_work = _Shot(detector, options.smallest)
        for shot, frame in _sampled(movie.path, spans, options.rate):
            if frame is not None:
                at_work.add(shot["shot"], frame)
                continue
            found = at_work.finish(shot["shot"])
            for row in found:
                ledger.add(row)
            ledger.close_unit(shot["shot"])
            rows += found
            at_work = _Shot(detector, options.smallest)
        ledger.finish(_count(rows))


def face_rows(ledger: Ledger) -> list[Row]:
    """The faces of a ledger, without its rows about shots."""
    return [row for row in ledger.rows if "track" in row]


def _count(rows: list[Row]) -> Counter[str]:
    faces = [row for row in rows if "track" in row]
    return Counter(
        kept=len(faces),
        tracks=len({(row["shot"], row["track"]) for row in faces}),
        frames=sum(row.get("looked", 0) for row in rows),
        frames_without_face=sum(row.get("bare", 0) for row in rows),
    )


def _sampled(path: Path, shots: list[Row], rate: float) -> Iterator[tuple[Row, Frame | None]]:
    """Each shot with the frames to look at one by one, then with None when it is over.

    They are its first one, and one every 1/rate seconds of the frames' own time. Earlier frames of the movie
    are decoded, not looked at: seeking is not exact in every container.
    """
    waiting = iter(shots)
    shot = next(waiting, None)
    due = -1.0
    for frame in read_frames(path):
        while shot is not None and frame.index > shot["last"]:
            yield shot, None
            shot, due = next(waiting, None), -1.0
        if shot is None:
            return
        if frame.index >= shot["first"] and frame.t_ms >= due:
            # A gap longer than 1/rate does not make the next frames come faster.
            due = max(due, frame.t_ms - 500 / rate) + 1000 / rate if due >= 0 else frame.t_ms + 1000 / rate
            yield shot, frame
    while shot is not None:
        yield shot, None
        shot = next(waiting, None)


class _Shot:
    """The faces of one shot so far; of the pictures only small aligned views are kept."""

    def __init__(self, detector: Detector, smallest: float) -> None:
        self._detector, self._smallest = detector, smallest
        self._tracker, self._looked, self._bare = Tracker(), 0, 0
        self._rows: list[Row] = []
        self._views: list[np.ndarray] = []

    def add(self, shot: int, frame: Frame) -> None:
        picture = frame.picture()
        found = self._detector(picture, self._smallest)
        self._looked += 1
        self._bare += len(found.boxes) == 0
        looks = [appearance(picture, box) for box in found.boxes]
        tracks = self._tracker.assign(found.boxes, np.array(looks), frame.t_ms)
        for face, (box, score, points) in enumerate(zip(found.boxes, found.scores, found.points)):
            self._views.append(grey_view(aligned(picture, points)).astype(np.float16))
            measures = _measures(picture, box, float(score), points)
            row = {"shot": shot, "track": tracks[face], "frame": frame.index, "t_ms": frame.t_ms}
            self._rows.append({**row, "face": face, **measures})

    def finish(self, shot: int) -> list[Row]:
        _add_change(self._rows, self._views)
        return [*self._rows, {"shot": shot, "looked": self._looked, "bare": int(self._bare)}]


def _measures(picture: np.ndarray, box: np.ndarray, score: float, points: np.ndarray) -> dict[str, Any]:
    height, width = picture.shape[:2]
    return {
        "box": [round(float(v), 1) for v in box],
        "lm5": [[round(float(x), 1), round(float(y), 1)] for x, y in points],
        "score": round(score, 4),
        "yaw": round(face_yaw(picture, points), 1),
        "blur": round(sharpness(picture, box), 1),
        "inside": round(share_inside(box, width, height), 3),
    }


def _add_change(rows: list[Row], views: list[np.ndarray]) -> None:
    """Mean absolute difference of each aligned face from the median of its track, in place."""
    tracks = np.array([row["track"] for row in rows], dtype=int)
    for track in np.unique(tracks):
        places = np.flatnonzero(tracks == track)
        stack = np.stack([views[place] for place in places]).astype(np.float32)
        change = np.abs(stack - np.median(stack, axis=0)).mean((1, 2))
        for place, value in zip(places, change):
            rows[place]["change"] = round(float(value), 4)
