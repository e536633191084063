"""MTCNN (Zhang et al., IEEE Signal Processing Letters 2016): a cascade of three small nets, on the CPU.

The weights are plain tensors inside the package facenet-pytorch (MIT); none of its code runs here.
"""

from __future__ import annotations

from importlib import util
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from mien.corpus.detect import LARGEST_MODEL, Found
from mien.errors import DataError

Weights = dict[str, Tensor]

_FACTOR = 0.709  # between the levels of the pyramid
_SIDE = 12  # of the window of the first net, pixels
_STRIDE = 2
_PROPOSE, _REFINE, _KEEP = 0.6, 0.7, 0.7
_FILES = ("pnet.pt", "rnet.pt", "onet.pt")


class Mtcnn:
    """Detector of `mien.corpus.detect`; its score is the softmax of the last net.

    Raises:
        DataError: if the weights are absent or not as expected.
    """

    name = "mtcnn facenet-pytorch"

    def __init__(self) -> None:
        folder = _weights_folder()
        self._propose, self._refine, self._output = (_load(folder / name) for name in _FILES)

    @torch.inference_mode()
    def __call__(self, picture: np.ndarray, smallest: float) -> Found:
        """Faces in uint8 [h, w, 3] RGB whose side is at least about `smallest` pixels, best first."""
        image = (torch.from_numpy(np.array(picture)).permute(2, 0, 1)[None].float() - 127.5) / 128
        boxes, scores = self._first(image, smallest)
        if len(boxes):
            boxes, scores = self._second(image, boxes)
        if not len(boxes):
            return Found.none()
        boxes, scores, points = self._third(image, boxes)
        corners = boxes.numpy()
        sizes = np.concatenate([corners[:, :2], corners[:, 2:] - corners[:, :2]], 1)
        keep = np.flatnonzero(sizes[:, 2:].min(1) >= 0.8 * smallest) if len(sizes) else np.zeros(0, int)
        return Found(sizes[keep], scores.numpy()[keep], points.numpy()[keep])

    def _first(self, image: Tensor, smallest: float) -> tuple[Tensor, Tensor]:
        found = [self._level(image, scale) for scale in _scales(image.shape[2:], smallest)]
        boxes, scores = (torch.cat(parts) for parts in zip(*found)) if found else _nothing()
        keep = _suppress(boxes, scores, 0.7)
        return _square(boxes[keep]), scores[keep]

    def _level(self, image: Tensor, scale: float) -> tuple[Tensor, Tensor]:
        size = [int(side * scale + 1) for side in image.shape[2:]]
        w = self._propose
        x = F.interpolate(image, size, mode="area")
        x = F.max_pool2d(_conv(x, w, 1), 2, 2, ceil_mode=True)
        x = _conv(_conv(x, w, 2), w, 3)
        face = _plain(x, w, "conv4_1").softmax(1)[0, 1]
        shift = _plain(x, w, "conv4_2")[0]
        row, column = (face >= _PROPOSE).nonzero(as_tuple=True)
        corner = torch.stack([column, row], 1) * _STRIDE
        boxes = torch.cat([corner, corner + _SIDE], 1) / scale
        scores = face[row, column]
        keep = _suppress(boxes, scores, 0.5)
        return _moved(boxes[keep], shift[:, row, column].T[keep]), scores[keep]

    def _second(self, image: Tensor, boxes: Tensor) -> tuple[Tensor, Tensor]:
        w = self._refine
        x = F.max_pool2d(_conv(_crops(image, boxes, 24), w, 1), 3, 2, ceil_mode=True)
        x = _conv(F.max_pool2d(_conv(x, w, 2), 3, 2, ceil_mode=True), w, 3)
        x = _dense(x.permute(0, 3, 2, 1).flatten(1), w, "dense4", "prelu4")
        scores = _head(x, w, "dense5_1").softmax(1)[:, 1]
        shift = _head(x, w, "dense5_2")
        sure = scores >= _REFINE
        boxes, scores, shift = boxes[sure], scores[sure], shift[sure]
        keep = _suppress(boxes, scores, 0.7)
        return _square(_moved(boxes[keep], shift[keep])), scores[keep]

    def _third(self, image: Tensor, boxes: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        w = self._output
        x = F.max_pool2d(_conv(_crops(image, boxes, 48), w, 1), 3, 2, ceil_mode=True)
        x = F.max_pool2d(_conv(x, w, 2), 3, 2, ceil_mode=True)
        x = _conv(F.max_pool2d(_conv(x, w, 3), 2, 2, ceil_mode=True), w, 4)
        x = _dense(x.permute(0, 3, 2, 1).flatten(1), w, "dense5", "prelu5")
        scores = _head(x, w, "dense6_1").softmax(1)[:, 1]
        size = boxes[:, 2:] - boxes[:, :2]
        at = _head(x, w, "dense6_3").view(-1, 2, 5).transpose(1, 2)
        points = boxes[:, None, :2] + at * size[:, None]
        moved = _moved(boxes, _head(x, w, "dense6_2"))
        sure = (scores >= _KEEP).nonzero()[:, 0]
        keep = sure[_suppress(moved[sure], scores[sure], 0.4, of_smaller=True)]
        return moved[keep], scores[keep], points[keep]


def _weights_folder() -> Path:
    spec = util.find_spec("facenet_pytorch")
    if spec is None or not spec.submodule_search_locations:
        what = "the detector's weights are absent"
        raise DataError(what, where="mtcnn", fix="pip install 'mien[corpus]', or use --detector yunet:FILE")
    return Path(spec.submodule_search_locations[0]) / "data"


def _load(path: Path) -> Weights:
    fix = "pip install --force-reinstall facenet-pytorch==2.5.3"
    if not path.is_file() or path.stat().st_size > LARGEST_MODEL:
        raise DataError("no such weights", where=path, fix=fix)
    weights = torch.load(path, map_location="cpu", weights_only=True)
    if not isinstance(weights, dict) or "conv1.weight" not in weights:
        raise DataError("not the weights of MTCNN", where=path, fix=fix)
    return weights


def _nothing() -> tuple[Tensor, Tensor]:
    return torch.zeros(0, 4), torch.zeros(0)


def _scales(size: torch.Size, smallest: float) -> list[float]:
    """Scales at which a face of `smallest` pixels or more fills the window of the first net."""
    scale, scales = min(1.0, _SIDE / smallest), list[float]()
    while min(size) * scale >= _SIDE:
        scales.append(scale)
        scale *= _FACTOR
    return scales


def _plain(x: Tensor, w: Weights, name: str) -> Tensor:
    return F.conv2d(x, w[f"{name}.weight"], w[f"{name}.bias"])


def _conv(x: Tensor, w: Weights, number: int) -> Tensor:
    return F.prelu(_plain(x, w, f"conv{number}"), w[f"prelu{number}.weight"])


def _head(x: Tensor, w: Weights, name: str) -> Tensor:
    return F.linear(x, w[f"{name}.weight"], w[f"{name}.bias"])


def _dense(x: Tensor, w: Weights, name: str, prelu: str) -> Tensor:
    return F.prelu(_head(x, w, name), w[f"{prelu}.weight"])


def _moved(boxes: Tensor, shift: Tensor) -> Tensor:
    """Corners moved by parts of width and height."""
    size = boxes[:, 2:] - boxes[:, :2]
    return boxes + shift * torch.cat([size, size], 1)


def _square(boxes: Tensor) -> Tensor:
    half = (boxes[:, 2:] - boxes[:, :2]).amax(1, keepdim=True) / 2
    middle = (boxes[:, 2:] + boxes[:, :2]) / 2
    return torch.cat([middle - half, middle + half], 1)


def _crops(image: Tensor, boxes: Tensor, side: int) -> Tensor:
    """Boxes cut out, black (0) outside the picture, float32 [n, 3, side, side]."""
    height, width = image.shape[2:]
    crops = torch.zeros(len(boxes), 3, side, side)
    for number, (left, top, right, bottom) in enumerate(boxes.round().int().tolist()):
        right, bottom = max(right, left + 1), max(bottom, top + 1)
        part = image[:, :, max(top, 0) : max(bottom, 0), max(left, 0) : max(right, 0)]
        if part.numel():
            edges = (max(-left, 0), max(right - width, 0), max(-top, 0), max(bottom - height, 0))
            crops[number] = F.interpolate(F.pad(part, edges, value=-1.0), (side, side), mode="area")[0]
    return crops


def _suppress(boxes: Tensor, scores: Tensor, most: float, *, of_smaller: bool = False) -> Tensor:
    """Places of the boxes to keep, best first: none overlaps a better one by more than `most`.

    Overlap is the intersection over the union, or over the smaller of the two.
    """
    b, order = boxes.numpy(), np.argsort(-scores.numpy(), kind="stable")
    area = (b[:, 2] - b[:, 0]) * (b[:, 3] - b[:, 1])
    kept = []
    while len(order):
        first, rest = order[0], order[1:]
        kept.append(first)
        low, high = np.maximum(b[first, :2], b[rest, :2]), np.minimum(b[first, 2:], b[rest, 2:])
        shared = np.maximum(high - low, 0).prod(1)
        whole = np.minimum(area[first], area[rest]) if of_smaller else area[first] + area[rest] - shared
        order = rest[shared <= most * np.maximum(whole, 1e-9)]
    return torch.tensor(np.array(kept, dtype=np.int64))
