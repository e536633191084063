"""A collate function for items of plain values."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mien.data.image_memory import stack_images
from mien.data.loading import Batch, Item
from mien.errors import DataError


def collate_plain(items: list[Item | None]) -> Batch:
    """Stack items key by key: tensors and arrays of one shape, numbers; texts and the rest become lists.

    The row of a None is zero (None in a list). Numbers become int64, float32 or bool. Images uint8 [3, H, W]
    end as [B, 3, H, W] stored channels last.

    Raises:
        DataError: if every item is None, for then no shape is known; if tensors of one key differ in shape.
    """
    template = next((item for item in items if item is not None), None)
    if template is None:
        raise DataError(
            "no readable sample in a whole micro-batch", where="data", fix="run `mien data check`"
        )
    filled = [item or {} for item in items]
    return {key: _column([item.get(key) for item in filled], value) for key, value in template.items()}


def _column(values: list[Any], template: Any) -> Any:
    if isinstance(template, np.ndarray):
        template = torch.from_numpy(template)
        values = [None if value is None else torch.from_numpy(value) for value in values]
    if isinstance(template, Tensor):
        rows = [torch.zeros_like(template) if value is None else value for value in values]
        if len(shapes := {tuple(row.shape) for row in rows}) > 1:
            what = f"items of one batch have shapes {sorted(shapes)}"
            raise DataError(what, where="data", fix="bring them to one size in the transform")
        return (
            stack_images(rows) if template.ndim == 3 and template.dtype == torch.uint8 else torch.stack(rows)
        )
    kinds: dict[type, torch.dtype] = {bool: torch.bool, int: torch.int64, float: torch.float32}
    if type(template) in kinds:
        return torch.tensor([value or 0 for value in values], dtype=kinds[type(template)])
    return values


def place_rows(whole: dict[str, Tensor], rows: Mapping[str, Tensor], index: Tensor, size: int) -> None:
    """Write the rows of a batch to their places in the tensors of a set, which are made at the first batch.

    Args:
        whole: [size, ...] by name, zero where nothing has been written.
        rows: [B, ...] by name.
        index: int64 [B], place of each row; -1: none.
        size: samples of the set.
    """
    here = index >= 0
    for name, values in rows.items():
        if name not in whole:
            whole[name] = values.new_zeros((size, *values.shape[1:]))
        whole[name][index[here]] = values[here]
