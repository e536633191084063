"""Edits asked for and measured: exact wishes, and scores that a perfect reader makes exact."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from mien.evaluation.edits import LEVELS, Ask, asks, score
from mien.systems.editing.pair_rules import UNITS
from mien.systems.editing.pair_videos import PairPlan
from mien.systems.facereader.load import Measured


class Knows:
    """Reads the units of the pictures that it has been told of, exactly."""

    def __init__(self, asked: list[Ask]) -> None:
        self.known: dict[bytes, np.ndarray] = {}
        for ask in asked:
            self.tell(torch.from_numpy(ask.face.picture).permute(2, 0, 1), ask.face.units)
            for picture, wanted in zip(ask.true, ask.wanted, strict=True):
                self.tell(picture, wanted)

    def tell(self, picture: torch.Tensor, units: Any) -> None:
        self.known[picture.contiguous().numpy().tobytes()] = np.asarray(units, np.float32)

    def measure(self, pictures: torch.Tensor) -> Measured:
        units = np.stack([self.known[picture.contiguous().numpy().tobytes()] for picture in pictures])
        rest = torch.zeros(len(pictures), 3)
        return Measured(torch.from_numpy(units), rest, rest)

    def changes(self, before: torch.Tensor, after: torch.Tensor) -> torch.Tensor:
        return self.measure(after).units - self.measure(before).units


@pytest.fixture(scope="module")
def asked() -> list[Ask]:
    plan = PairPlan(4, 64, 0, "builtin", 48, "studio", 500)
    return [asks(plan, video) for video in (0, 1)]


def test_each_wish_moves_one_unit_to_each_level(asked: list[Ask]) -> None:
    for ask in asked:
        assert ask.vectors.shape == (len(UNITS) * len(LEVELS), 12)
        assert ask.face.units is not None
        np.testing.assert_allclose(ask.wanted, ask.face.units + ask.vectors, atol=1e-5)
        for row, place in enumerate(ask.units):
            others = np.delete(ask.vectors[row], place)
            assert np.abs(others).max() < 1e-5
            level = LEVELS[row % len(LEVELS)]
            # A face shows its tone on top, and a weaker side less.
            assert 0.85 * level - 1e-3 <= ask.wanted[row, place] <= min(level + 0.6, 5)
    assert not torch.equal(asked[0].true, asked[1].true)


def test_a_perfect_editor_scores_nothing_and_none_at_all_scores_the_wish(asked: list[Ask]) -> None:
    reader: Any = Knows(asked)
    best = score(asked, lambda ask: ask.true, reader)
    assert best.square == 0
    assert np.abs(best.error).max() == 0
    np.testing.assert_allclose(best.correlation, 1, atol=1e-6)
    np.testing.assert_allclose(best.leakage, np.eye(12), atol=1e-5)
    assert best.picture.max() == 0
    assert 0 < best.background.max() < 0.05  # a jaw that drops covers more of the wall

    def none(ask: Ask) -> torch.Tensor:
        source = torch.from_numpy(ask.face.picture.copy()).permute(2, 0, 1)
        return source.expand(len(ask.vectors), -1, -1, -1)

    idle = score(asked, none, reader)
    moved = np.abs(np.concatenate([ask.vectors[np.arange(60), ask.units] for ask in asked]))
    by_unit = [moved[np.concatenate([ask.units for ask in asked]) == place].mean() for place in range(12)]
    np.testing.assert_allclose(idle.error, by_unit, rtol=1e-5)
    assert not idle.correlation.any()
    assert idle.background.max() == 0
    assert idle.identity.max() == idle.pose.max() == 0
    assert idle.square == pytest.approx(float(np.square(moved).mean() / 12), rel=1e-5)


def test_a_leak_is_seen_where_it_lands(asked: list[Ask]) -> None:
    reader: Any = Knows(asked)
    other, far = UNITS.index(4), UNITS.index(12)

    def leaking(ask: Ask) -> torch.Tensor:
        made = ask.true.clone()
        made[:, :, 0, 0] += torch.arange(60, dtype=torch.uint8)[:, None] + 1  # pictures of their own
        for row, picture in enumerate(made):
            units = ask.wanted[row].copy()
            if ask.units[row] == far:
                units[other] += 0.5 * ask.vectors[row, far]
            reader.tell(picture, units)
        return made

    leakage = score(asked, leaking, reader).leakage
    wanted = np.eye(12)
    wanted[far, other] = 0.5
    np.testing.assert_allclose(leakage, wanted, atol=1e-4)
