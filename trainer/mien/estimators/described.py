"""What a YAML file says about an ONNX network that reads pictures of faces."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, TypeVar

import yaml
from pydantic import Field, ValidationError, field_validator

from mien.config import Config
from mien.errors import DataError

_LARGEST = 64 << 10

Triple = tuple[float, float, float]


class Described(Config):
    """One network: its file and how it wants its pictures."""

    file: str = Field(min_length=1)
    """The ONNX file; a relative path starts at the folder of the description."""
    size: int = Field(ge=8, le=1024)
    """Side of its input, pixels."""
    crop: float = Field(default=1.0, gt=0, le=1)
    """Part of the picture's side that it sees, about the middle: networks want closer faces than editors."""
    colours: Literal["rgb", "bgr"] = "rgb"
    """Order of the channels of its input."""
    layout: Literal["nchw", "nhwc"] = "nchw"
    """Order of the axes of its input."""
    mean: Triple = (0.0, 0.0, 0.0)
    """Taken off values in 0..1, channels in the order of `colours`."""
    std: Triple = (1.0, 1.0, 1.0)
    """What the rest is divided by."""
    output: str | None = None
    """Name of the output to take; null is the first."""

    @field_validator("std")
    @classmethod
    def _divides(cls, value: Triple) -> Triple:
        if min(value) <= 0:
            raise ValueError("must be above 0")
        return value


Kind = TypeVar("Kind", bound=Described)


def read_description(kind: type[Kind], path: Path) -> Kind:
    """A description, with the path of its network made whole.

    Raises:
        DataError: if the file is absent, too large, no YAML, or its keys do not fit; all in one line.
    """
    keys = ", ".join(kind.model_fields)
    fix = f"write a YAML file with the keys {keys}"
    if not path.is_file() or path.stat().st_size > _LARGEST:
        raise DataError("no such description, or too large", where=path, fix=fix)
    try:
        tree = yaml.safe_load(path.read_text(encoding="utf-8"))
        found = kind.model_validate(tree)
    except UnicodeDecodeError as error:
        raise DataError("the description is not UTF-8", where=path, fix=fix) from error
    except yaml.YAMLError as error:
        raise DataError(f"not YAML: {' '.join(str(error).split())}", where=path, fix=fix) from error
    except ValidationError as error:
        told = "; ".join(f"{'.'.join(map(str, e['loc'])) or 'file'}: {e['msg']}" for e in error.errors())
        raise DataError(f"the description does not fit: {told}", where=path, fix=fix) from error
    return found.model_copy(update={"file": str(path.parent / found.file)})
