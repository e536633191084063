"""ONNX networks as estimators: what they are shown, the order of units, and files that cannot be used."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from mien.errors import DataError
from mien.estimators.described import Described, read_description
from mien.estimators.identity import identities, open_identity
from mien.estimators.network import Network, prepared
from mien.estimators.units import intensities, open_units
from mien.evaluation.edits import Ask, score
from mien.systems.editing.face import Face
from mien.systems.editing.pair_rules import UNITS
from mien.systems.facereader.load import Measured
from onnx_faces import write_colour_network

NO_READER: Any = None


def describe(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def pictures(*colours: tuple[int, int, int], size: int = 24) -> torch.Tensor:
    return torch.tensor(colours, dtype=torch.uint8)[:, :, None, None].expand(-1, -1, size, size).contiguous()


def test_pictures_are_cut_resized_ordered_and_scaled_as_described() -> None:
    rng = torch.Generator().manual_seed(0)
    whole = torch.randint(0, 256, (2, 3, 32, 32), generator=rng, dtype=torch.uint8)
    mean, std = (0.1, 0.2, 0.3), (0.5, 0.25, 2.0)
    about = Described(file="x", size=16, crop=0.5, colours="bgr", layout="nhwc", mean=mean, std=std)
    ready = prepared(whole, about)
    assert ready.shape == (2, 16, 16, 3)
    for place, channel in enumerate((2, 1, 0)):
        wanted = (whole[:, channel, 8:24, 8:24].float() / 255 - mean[place]) / std[place]
        torch.testing.assert_close(ready[..., place], wanted)
    assert prepared(whole, Described(file="x", size=8)).shape == (2, 3, 8, 8)


@pytest.mark.parametrize("batch", ["N", 1])
def test_units_come_in_our_order_and_scale(tmp_path: Path, batch: int | str) -> None:
    """Outputs in another order with one that is not taken; red alone moves AU12, green AU1."""
    order = [12, None, *(unit for unit in reversed(UNITS) if unit != 12)]
    matrix = np.zeros((3, len(order)))
    matrix[0, 0], matrix[1, order.index(1)], matrix[2, 1] = 1, 0.5, 9
    write_colour_network(tmp_path / "au.onnx", matrix, 16, batch)
    listed = ", ".join("null" if unit is None else str(unit) for unit in order)
    about = describe(tmp_path / "au.yaml", f"file: au.onnx\nsize: 16\nunits: [{listed}]\nscale: 5\n")
    estimator = open_units(f"onnx:{about}", NO_READER, "")
    found = intensities(estimator, pictures((255, 0, 0), (0, 255, 0), (51, 0, 255)))
    wanted = np.zeros((3, 12), np.float32)
    wanted[0, UNITS.index(12)], wanted[1, UNITS.index(1)], wanted[2, UNITS.index(12)] = 5, 2.5, 1
    np.testing.assert_allclose(found, wanted, atol=1e-5)
    assert estimator.name.startswith("au.onnx ")
    assert len(estimator.name.split()[1]) == 12


def test_what_an_estimator_says_is_cut_and_a_face_that_it_cannot_read_is_a_row_of_nan() -> None:
    class Odd:
        name = "odd/1"

        def __call__(self, given: torch.Tensor) -> torch.Tensor:
            rows = torch.full((len(given), 12), 7.0)
            rows[0, 3], rows[1] = -1, float("nan")
            return rows

    found = intensities(Odd(), pictures((0, 0, 0), (0, 0, 0)))
    assert found[0].tolist() == [5, 5, 5, 0, *[5] * 8]
    assert np.isnan(found[1]).all()


def test_identity_of_edits_is_measured_by_the_network(tmp_path: Path) -> None:
    """Rows are the colours as shares: a half blue edit of a red source is a known way off."""
    write_colour_network(tmp_path / "id.onnx", np.eye(3), 16)
    about = describe(tmp_path / "id.yaml", "file: id.onnx\nsize: 16\n")
    estimator = open_identity(f"onnx:{about}", NO_READER, "")
    rows = identities(estimator, pictures((200, 0, 0), (20, 0, 20)))
    torch.testing.assert_close(rows, torch.tensor([[1, 0, 0], [0.5**0.5, 0, 0.5**0.5]]))

    class Blind:
        def measure(self, given: torch.Tensor) -> Measured:
            return Measured(
                torch.zeros(len(given), 12), torch.zeros(len(given), 3), torch.zeros(len(given), 2)
            )

        def changes(self, before: torch.Tensor, after: torch.Tensor) -> torch.Tensor:
            return torch.zeros(len(after), 12)

    picture = pictures((200, 0, 0))
    face = Face(picture[0].permute(1, 2, 0).numpy(), np.zeros((24, 24), np.uint8), np.zeros(1), np.zeros(1))
    vectors = np.zeros((2, 12), np.float32)
    made = pictures((100, 0, 0), (20, 0, 20))
    ask = Ask(face, vectors, np.zeros(2, int), vectors, made)
    blind: Any = Blind()
    away = score([ask], lambda one: made, blind, estimator).identity
    np.testing.assert_allclose(away, [0, (2 - 2**0.5) ** 0.5], atol=1e-6)
    assert not score([ask], lambda one: made, blind).identity.any()


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("size: [", "not YAML"),
        ("file: none.onnx\nsize: 16\n", "no such network"),
        ("file: bad.onnx\nsize: 16\n", "no usable network.*onnxruntime can run"),
        ("file: id.onnx\nsize: 24\n", r"its input is \['N', 3, 16, 16\], not 24 x 24 pixels"),
        ("file: id.onnx\nsize: 16\nlayout: nhwc\n", "mend `size` or `layout`"),
        ("file: id.onnx\nsize: 16\noutput: probability\n", "no output 'probability'; one of: rows"),
        ("file: id.onnx\nsize: 16\nstd: [0, 1, 1]\n", "std: .*above 0"),
        ("size: 16\nsides: 3\n", "file: Field required; sides: Extra inputs"),
        ("", "file: Input should be"),
    ],
)
def test_descriptions_that_fit_nothing_are_told_in_one_line(tmp_path: Path, text: str, told: str) -> None:
    write_colour_network(tmp_path / "id.onnx", np.eye(3), 16)
    (tmp_path / "bad.onnx").write_bytes(b"no network")
    about = describe(tmp_path / "about.yaml", text)
    with pytest.raises(DataError, match=told) as error:
        open_identity(f"onnx:{about}", NO_READER, "")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("source", "told"),
    [
        ("libreface", "--units: unknown estimator 'libreface'; give reader"),
        ("onnx:none.yaml", "no such description"),
        ("no_such_module:make", "cannot import"),
        ("mien.estimators.units:absent", "cannot import"),
        ("builtins:list", "returns no callable with a `name`"),
    ],
)
def test_estimators_that_are_none_are_told(source: str, told: str) -> None:
    with pytest.raises(DataError, match=told):
        open_units(source, NO_READER, "")


def test_units_that_are_missing_or_too_few_are_told(tmp_path: Path) -> None:
    network = write_colour_network(tmp_path / "au.onnx", np.zeros((3, 13)), 16)
    listed = ", ".join(map(str, UNITS))
    about = describe(tmp_path / "au.yaml", f"file: {network}\nsize: 16\nunits: [{listed}]\n")
    estimator = open_units(f"onnx:{about}", NO_READER, "")
    with pytest.raises(DataError, match="13 outputs, `units` names 12"):
        estimator(pictures((1, 2, 3)))
    about.write_text("file: au.onnx\nsize: 16\nunits: [1, 1, 2, 4, 5, 6, 9, 12, 15, 17, 20, 25]\n")
    with pytest.raises(DataError, match="lacks AU26"):
        open_units(f"onnx:{about}", NO_READER, "")


def test_a_network_is_shown_no_picture_twice_and_none_is_lost(tmp_path: Path) -> None:
    network = Network(Described(file=str(write_colour_network(tmp_path / "n.onnx", np.eye(3), 16)), size=16))
    colours = [(place, 2 * place, 255 - place) for place in range(70)]
    np.testing.assert_allclose(255 * network(pictures(*colours)), colours, atol=1e-3)
    assert read_description(Described, describe(tmp_path / "d.yaml", "file: n.onnx\nsize: 16\n")).file == str(
        tmp_path / "n.onnx"
    )
