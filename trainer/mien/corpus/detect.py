"""Face detectors behind one interface; each finds boxes, scores and five landmarks in a picture."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from mien.errors import DataError

LARGEST_MODEL = 64 << 20
"""Largest model file that is read, in bytes."""


@dataclass(frozen=True)
class Found:
    """Faces in one picture, best first.

    Attributes:
        boxes: float32 [n, 4], (left, top, width, height) in pixels; may leave the picture.
        scores: float32 [n] in [0, 1].
        points: float32 [n, 5, 2], pixels (x, y): eye at the left of the picture, eye at the right, nose tip,
            mouth corner at the left, mouth corner at the right.
    """

    boxes: np.ndarray
    scores: np.ndarray
    points: np.ndarray

    @staticmethod
    def none() -> Found:
        """No faces."""
        return Found(*(np.zeros(shape, np.float32) for shape in ((0, 4), (0,), (0, 5, 2))))


class Detector(Protocol):
    """Finds faces.

    `name` states model and version, so that a ledger shows what found its faces.
    """

    name: str

    def __call__(self, picture: np.ndarray, smallest: float) -> Found:
        """Faces in uint8 [h, w, 3] RGB whose side is at least about `smallest` pixels."""
        ...


def open_detector(source: str) -> Detector:
    """Open a detector.

    Args:
        source: "mtcnn" (weights come with the package facenet-pytorch), or "yunet:FILE" with the path of
            a YuNet ONNX file (OpenCV's model zoo).

    Raises:
        DataError: for an unknown name, or a model that is absent or cannot be read.
    """
    kind, _, path = source.partition(":")
    if kind == "mtcnn" and not path:
        from mien.corpus.mtcnn import Mtcnn

        return Mtcnn()
    if kind == "yunet" and path:
        return YuNet(Path(path))
    raise DataError(f"unknown detector {source!r}", where="--detector", fix="give mtcnn or yunet:FILE.onnx")


class YuNet:
    """YuNet (Wu et al., Machine Intelligence Research 2023) through OpenCV.

    Args:
        path: its ONNX file.

    Raises:
        DataError: if it is absent, too large, or no model that OpenCV can run.
    """

    def __init__(self, path: Path) -> None:
        import hashlib

        import cv2

        fix = "give a face_detection_yunet ONNX file"
        if not path.is_file() or path.stat().st_size > LARGEST_MODEL:
            raise DataError("no such model file, or too large", where=path, fix=fix)
        try:
            self._net = cv2.FaceDetectorYN.create(str(path), "", (320, 320), 0.5, 0.3, 500)
        except cv2.error as error:
            raise DataError(f"OpenCV cannot read it ({error.err})", where=path, fix=fix) from error
        self.name = f"yunet {hashlib.sha256(path.read_bytes()).hexdigest()[:12]}"

    def __call__(self, picture: np.ndarray, smallest: float) -> Found:
        """As `Detector`."""
        import cv2

        # The net sees faces of 10 pixels and more; larger pictures only cost time.
        scale = min(1.0, 16 / smallest)
        height, width = (max(32, round(side * scale)) for side in picture.shape[:2])
        small = cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA)
        self._net.setInputSize((width, height))
        _, rows = self._net.detect(np.ascontiguousarray(small[..., ::-1]))
        if rows is None:
            return Found.none()
        ratio = np.array([picture.shape[1] / width, picture.shape[0] / height], np.float32)
        boxes = rows[:, :4] * np.tile(ratio, 2)
        points = rows[:, 4:14].reshape(-1, 5, 2) * ratio
        keep = np.argsort(-rows[:, 14], kind="stable")
        keep = keep[boxes[keep, 2:].min(1) >= 0.8 * smallest]
        return Found(boxes[keep], rows[keep, 14], points[keep])
