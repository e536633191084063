"""Small ONNX networks of known answers: the mean colour of what they are shown, times a matrix."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper


def write_colour_network(path: Path, matrix: np.ndarray, size: int, batch: int | str = "N") -> Path:
    """An ONNX file: float [batch, 3, size, size] to mean colour [batch, 3] to rows [batch, K].

    Args:
        path: of the file.
        matrix: float [3, K].
        size: side of its input.
        batch: how many pictures it takes, or a name for any number.
    """
    nodes = [
        helper.make_node("GlobalAveragePool", ["picture"], ["pooled"]),
        helper.make_node("Flatten", ["pooled"], ["colour"]),
        helper.make_node("MatMul", ["colour", "matrix"], ["rows"]),
    ]
    shape = [batch, 3, size, size]
    graph = helper.make_graph(
        nodes,
        "colour",
        [helper.make_tensor_value_info("picture", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("rows", TensorProto.FLOAT, [batch, matrix.shape[1]])],
        [numpy_helper.from_array(matrix.astype(np.float32), "matrix")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.save(model, path)
    return path
