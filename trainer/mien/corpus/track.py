"""Tracks inside a shot: faces of successive frames are paired by overlap and appearance."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

_LEAST = 0.25  # score of a pair
_OVERLAP = 0.6  # weight of the overlap; the rest is appearance
_PATIENCE_MS = 1200  # how long a face may be gone


@dataclass
class Track:
    """What is known of one: number, newest box (left, top, width, height), appearance and time."""

    number: int
    box: np.ndarray
    look: np.ndarray
    t_ms: int


class Tracker:
    """Gives the faces of one shot, frame by frame, the numbers of their tracks."""

    def __init__(self) -> None:
        self._tracks: list[Track] = []

    def assign(self, boxes: np.ndarray, looks: np.ndarray, t_ms: int) -> list[int]:
        """Track numbers of the faces of a frame, best pairs first overall (Hungarian method).

        Args:
            boxes: float [n, 4].
            looks: float [n, d], unit vectors of appearance.
            t_ms: time of the frame.
        """
        from scipy.optimize import linear_sum_assignment

        alive = [track for track in self._tracks if t_ms - track.t_ms <= _PATIENCE_MS]
        numbers = [-1] * len(boxes)
        if alive and len(boxes):
            near = np.stack([nearness(track.box, boxes) for track in alive])
            alike = np.stack([track.look for track in alive]) @ looks.T
            score = _OVERLAP * near + (1 - _OVERLAP) * alike
            score[near <= 0] = 0  # appearance alone never joins faces that are far apart
            for row, column in zip(*linear_sum_assignment(-score)):
                if score[row, column] >= _LEAST:
                    numbers[column] = alive[row].number
        for place, (box, look) in enumerate(zip(boxes, looks)):
            if numbers[place] < 0:
                numbers[place] = len(self._tracks)
                self._tracks.append(Track(numbers[place], box, look, t_ms))
            else:
                track = self._tracks[numbers[place]]
                track.box, track.look, track.t_ms = box, look, t_ms
        return numbers


def overlap(box: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    """Intersection over union of one box with each of float [n, 4] (left, top, width, height)."""
    low = np.maximum(box[:2], boxes[:, :2])
    high = np.minimum(box[:2] + box[2:], boxes[:, :2] + boxes[:, 2:])
    shared = np.maximum(high - low, 0).prod(1)
    whole = box[2] * box[3] + boxes[:, 2:].prod(1) - shared
    return np.asarray(shared / np.maximum(whole, 1e-9))


def nearness(box: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    """Overlap, or for a quick face up to 0.3 by the distance of the centres, 0 from one width on."""
    apart = np.linalg.norm(box[:2] + box[2:] / 2 - boxes[:, :2] - boxes[:, 2:] / 2, axis=1)
    alike = np.minimum(box[3], boxes[:, 3]) / np.maximum(box[3], boxes[:, 3])
    return np.maximum(overlap(box, boxes), 0.3 * np.maximum(1 - apart / box[2], 0) * alike)
