"""Edits by a 3D face: exact wishes, and scores that a perfect reader makes exact."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from mien.evaluation.lighting import directions, seen_light, true_light
from mien.evaluation.rig_edits import RigAsk, RigScores, rig_asks, rig_score
from mien.evaluation.rig_table import COLUMNS, mode_table, rig_table
from mien.faces.light import irradiance, sample_light
from mien.faces.scene import Sensor
from mien.faces.sensor import expose
from mien.reproduce.rig_editing import rendering, still
from mien.systems.editing.pair_rules import FULL
from mien.systems.editing.pair_rules import UNITS as READ
from mien.systems.editing.pair_videos import PairPlan
from mien.systems.facereader.load import Measured
from mien.systems.rigface.codes import UNITS, Codes
from mien.systems.rigface.modes import EDITS
from mien.systems.rigface.rendering import RigRendering


class Knows:
    """Reads units and pose of the pictures that it has been told of, exactly."""

    def __init__(self, asked: list[RigAsk]) -> None:
        self.known: dict[bytes, Codes] = {}
        for ask in asked:
            self.known[_key(torch.from_numpy(ask.face.picture).permute(2, 0, 1))] = ask.source
            self.known |= {_key(one): codes for one, codes in zip(ask.true, ask.edited, strict=True)}

    def measure(self, pictures: torch.Tensor) -> Measured:
        found = [self.known[_key(one)] for one in pictures]
        psi = np.stack([codes.expression.reshape(-1, 2).mean(1) for codes in found])
        units = FULL * psi[:, [UNITS.index(unit) for unit in READ]]
        pose = torch.tensor([codes.pose for codes in found])
        return Measured(torch.from_numpy(units), pose, torch.zeros(len(pictures), 2))

    def changes(self, before: torch.Tensor, after: torch.Tensor) -> torch.Tensor:
        return self.measure(after).units - self.measure(before).units


def _key(picture: torch.Tensor) -> bytes:
    return picture.contiguous().numpy().tobytes()


@pytest.fixture(scope="module")
def asked() -> list[RigAsk]:
    plan = PairPlan(4, 64, 0, "builtin", 48, "studio", 500)
    return [rig_asks(plan, video) for video in range(3)]


def test_each_edit_takes_what_it_names_and_nothing_else(asked: list[RigAsk]) -> None:
    for ask in asked:
        assert [str(edit) for edit in ask.edits] == 2 * [str(edit) for edit in EDITS]
        assert ask.cross.tolist() == [False] * 7 + [True] * 7
        for edit, codes in zip(ask.edits, ask.edited, strict=True):
            assert (codes.pose != ask.source.pose) == ("pose" in edit.modes)
            assert np.array_equal(codes.light, ask.source.light) == ("light" not in edit.modes)
            assert np.array_equal(codes.expression, ask.source.expression) == ("exp" not in edit.modes)
            assert np.array_equal(codes.shape, ask.source.shape)
        assert len({_key(picture) for picture in ask.true}) == 14
        assert 0.05 < ask.skin.mean() < 0.8


def test_true_pictures_score_as_asked_and_no_edit_scores_the_wish(asked: list[RigAsk]) -> None:
    reader: Any = Knows(asked)
    best = rig_score(asked, lambda ask: ask.true, reader)
    values = {name: measure(best) for name, measure in COLUMNS.items()}
    assert values["expression"] == pytest.approx(0, abs=1e-6)
    assert values["pose"] == pytest.approx(0, abs=1e-3)
    assert values["picture"] == values["face"] == values["units kept"] == 0
    assert values["light"] > 0.9
    assert values["background"] < 0.04  # hair that a turned head throws
    idle = rig_score(asked, still, reader)
    values = {name: measure(idle) for name, measure in COLUMNS.items()}
    assert values["expression"] == 1
    assert values["background"] == 0
    assert values["pose kept"] == pytest.approx(0, abs=1e-3)
    assert values["light"] < 0.5  # not 0: lit by the old light, read with the turned head's shape
    assert values["pose"] > 5
    assert values["face"] > values["picture"] > 0.02


def test_a_wrong_light_or_pose_is_seen(asked: list[RigAsk]) -> None:
    """Edits handed out in the wrong order: as strong as the right ones, but not what was asked."""
    reader: Any = Knows(asked)
    order = np.r_[6:-1:-1, 13:6:-1]
    wrong = rig_score(asked, lambda ask: ask.true[order], reader)
    right = rig_score(asked, lambda ask: ask.true, reader)
    for name in ("light", "pose", "expression", "units kept", "pose kept"):
        measure = COLUMNS[name]
        assert (measure(wrong) < measure(right)) == (name == "light"), name
    pasted = rendering(asked[0])
    assert pasted.shape == asked[0].true.shape
    assert float((pasted.float() - asked[0].true.float()).abs().mean()) > 1


def test_light_is_read_off_a_lit_ball() -> None:
    size = 40
    line = (np.arange(size) + 0.5) / size * 2 - 1
    x, y = np.meshgrid(line, -line)
    inside = x**2 + y**2 < 0.95
    normals = np.stack([x, y, np.sqrt(np.maximum(1 - x**2 - y**2, 0))], 2).astype(np.float32)
    albedo = np.full((size, size, 3), 0.4, np.float32)
    for seed in range(4):
        light = sample_light(np.random.default_rng(seed), 0.6)
        picture = expose(albedo * irradiance(light, normals), Sensor())
        drawn = RigRendering(
            picture, albedo, albedo, normals, inside.astype(np.float32), np.zeros((68, 2), np.float32)
        )
        found = seen_light(picture, drawn, inside)
        np.testing.assert_allclose(found, true_light(light), atol=0.05)
        assert not seen_light(picture, drawn, np.zeros_like(inside)).any()
    np.testing.assert_allclose(np.linalg.norm(directions(), axis=1), 1, atol=1e-6)


def test_tables_have_a_row_a_method_and_a_row_a_mode(asked: list[RigAsk]) -> None:
    reader: Any = Knows(asked)
    scores: list[RigScores] = [rig_score(asked, lambda ask: ask.true, reader)] * 2
    lines = rig_table({"a": scores, "b": scores[:1]}).splitlines()
    assert [line.split(" | ")[0].strip("| ") for line in lines[2:]] == ["a", "b"]
    assert all(line.count("|") == 2 + 1 + len(COLUMNS) for line in lines)
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in mode_table(scores).splitlines()[2:]]
    assert len(rows) == 14
    by_name = dict(zip(COLUMNS, rows[0][2:], strict=True))
    assert rows[0][:2] == ["exp", "same person"]
    assert by_name["light"] == by_name["pose"] == ""  # not asked for
    assert by_name["expression"] != ""
