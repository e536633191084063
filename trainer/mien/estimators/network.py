"""An ONNX file on disk as a function of pictures."""

from __future__ import annotations

import hashlib
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mien.errors import DataError
from mien.estimators.described import Described

LARGEST = 2 << 30
"""Largest network that is read, bytes."""

_BATCH = 32
_FLOAT = "tensor(float)"


class Network:
    """Runs on the CPU through onnxruntime.

    Args:
        about: file and how its pictures are made.

    Attributes:
        name: file name and the first 12 digits of its SHA-256, to be stored with what it said.

    Raises:
        DataError: without onnxruntime, or if the file is absent, too large, no ONNX network, or takes other
            pictures than described.
    """

    def __init__(self, about: Described) -> None:
        if find_spec("onnxruntime") is None:
            raise DataError("onnxruntime is absent", where=about.file, fix="pip install 'mien[export]'")
        path = Path(about.file)
        if not path.is_file() or path.stat().st_size > LARGEST:
            fix = "name an ONNX file in `file`"
            raise DataError("no such network, or too large", where=path, fix=fix)
        self.about = about
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        self.name = f"{path.name} {digest[:12]}"
        self._session = _opened(path)
        self._input, self._batch = self._check_input()
        self._output = self._check_output()

    def __call__(self, pictures: Tensor) -> np.ndarray:
        """What it says of pictures.

        Args:
            pictures: uint8 [N, 3, S, S] RGB, N at least 1.

        Returns:
            float32 [N, K].

        Raises:
            DataError: if the network fails, or gives no row a picture.
        """
        ready = prepared(pictures, self.about)
        rows = [self._run(part.numpy()) for part in ready.split(self._batch)]
        return np.concatenate(rows)

    def _run(self, batch: np.ndarray) -> np.ndarray:
        try:
            (found,) = self._session.run([self._output], {self._input: batch})
        except _errors() as error:
            what = f"the network fails: {_line(error)}"
            raise DataError(what, where=self.about.file, fix="state the size that it wants") from error
        found = np.asarray(found, np.float32)
        if found.ndim != 2 or len(found) != len(batch):
            what = f"{len(batch)} pictures give numbers of shape {[*found.shape]}, not one row each"
            raise DataError(what, where=self.about.file, fix="name the right `output`")
        return found

    def _check_input(self) -> tuple[str, int]:
        """Name of the input, and how many pictures it takes at a time."""
        inputs = self._session.get_inputs()
        size, chw = self.about.size, self.about.layout == "nchw"
        wanted = [None, 3, size, size] if chw else [None, size, size, 3]
        told = f"{size} x {size} pixels, {self.about.layout}"
        if len(inputs) != 1 or inputs[0].type != _FLOAT or len(inputs[0].shape) != 4:
            shown = ", ".join(f"{each.name}: {each.type} {each.shape}" for each in inputs)
            fix = "give a network of one float input of four axes"
            raise DataError(f"its inputs are {shown}", where=self.about.file, fix=fix)
        shape = inputs[0].shape
        for want, has in zip(wanted[1:], shape[1:], strict=True):
            if isinstance(has, int) and has != want:
                what = f"its input is {shape}, not {told} as described"
                raise DataError(what, where=self.about.file, fix="mend `size` or `layout`")
        return inputs[0].name, shape[0] if isinstance(shape[0], int) and shape[0] > 0 else _BATCH

    def _check_output(self) -> str:
        names = [each.name for each in self._session.get_outputs()]
        wanted = self.about.output
        if wanted is not None and wanted not in names:
            fix = f"one of: {', '.join(names)}"
            raise DataError(f"no output {wanted!r}", where=self.about.file, fix=fix)
        return wanted or names[0]


def prepared(pictures: Tensor, about: Described) -> Tensor:
    """Pictures uint8 [N, 3, S, S] as a network wants them: float32, cut, resized, shifted and scaled."""
    side = pictures.shape[-1]
    inner = max(1, round(about.crop * side))
    first = (side - inner) // 2
    cut = pictures[..., first : first + inner, first : first + inner].float() / 255
    if inner != about.size:
        size = (about.size, about.size)
        cut = torch.nn.functional.interpolate(cut, size, mode="bilinear", antialias=True)
    if about.colours == "bgr":
        cut = cut.flip(1)
    mean, std = (torch.tensor(values)[:, None, None] for values in (about.mean, about.std))
    ready = (cut - mean) / std
    return ready.contiguous() if about.layout == "nchw" else ready.permute(0, 2, 3, 1).contiguous()


def _opened(path: Path) -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1  # with more the last digit would depend on the machine
    options.log_severity_level = 4  # what is wrong is told as one line, by us
    try:
        return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except _errors() as error:
        fix = "give an ONNX file that onnxruntime can run"
        raise DataError(f"no usable network: {_line(error)}", where=path, fix=fix) from error


def _errors() -> tuple[type[Exception], ...]:
    """What onnxruntime raises; its errors have no base of their own."""
    from onnxruntime.capi import onnxruntime_pybind11_state as state

    names = (
        "Fail", "InvalidArgument", "InvalidGraph", "InvalidProtobuf", "NoSuchFile", "NoModel",
        "NotImplemented", "RuntimeException",
    )  # fmt: skip
    return tuple(getattr(state, name) for name in names)


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:200]
