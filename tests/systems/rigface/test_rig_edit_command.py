"""`mien edit` on a run of rigface: turns, light, units and targets; what is told and what is refused."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from editing_runs import Mien, command, untrained
from mien.editing.provenance import read_provenance
from mien.editing.request import Ask
from mien.editing.rig_session import RigSession, edited_codes
from mien.editing.session import EditSession, find_reader
from mien.editing.upload import read_photo
from mien.engine.rundir import RunFolder
from mien.errors import MienError, RunError
from mien.faces.render import render
from mien.faces.rig import open_rig
from mien.systems.editing.sampler import SampleConfig
from mien.systems.rigface.codes import UNITS
from rigface_faces import codes, scene

NETWORKS = (
    "model.unet.channels=[16,16]", "model.unet.groups=4", "model.unet.heads=2", "model.unet.prompt_width=8",
)  # fmt: skip
FEW = ("--steps", 2, "--whole")


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    """Networks as small as these wait for threads longer than they compute."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Runs of both editors, a reader with codes, and a newer one without."""
    root = tmp_path_factory.mktemp("runs")
    untrained(root, "rigface/tiny", *NETWORKS)
    untrained(root, "magicface/tiny", *NETWORKS)
    untrained(root, "facereader/rig_tiny", "model.widths=[8,8,8,8]")
    untrained(root, "facereader/tiny", "model.widths=[8,8,8,8]")
    return root


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("photos")
    for number in (0, 1):
        picture = render(scene(number), open_rig("builtin"), 96).image
        Image.fromarray(picture).save(folder / f"face{number}.png")
    return folder


@pytest.fixture
def mien(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Mien:
    return command(monkeypatch, capsys)


def test_turns_light_and_units_of_one_photo(root: Path, photos: Path, tmp_path: Path, mien: Mien) -> None:
    run, out = root / "rigface/tiny/run", tmp_path / "out.png"
    ask = (
        "--yaw",
        15,
        "--pitch",
        -5,
        "--roll",
        3,
        "--light",
        40,
        "--light-gain",
        1.5,
        "--au",
        "AU12L=+3,4=1",
    )
    code, said, told = mien("edit", photos / "face0.png", "--run", run, *ask, *FEW, "--out", out, "--mark")
    assert (code, said.strip()) == (0, str(out)), told
    assert "agreed" in told  # the consent notice
    before, after = (np.asarray(Image.open(path)) for path in (photos / "face0.png", out))
    assert before.shape == after.shape
    proof = read_provenance(out)
    assert proof.state == "intact"
    asked = proof.claim.actions[0].parameters
    assert asked["action_units"] == {"AU12L": 3.0, "AU4": 1.0}
    assert asked["sliders"] == {"yaw": 15.0, "pitch": -5.0, "roll": 3.0, "light": 40.0, "light_gain": 1.5}
    assert (asked["backend"], asked["strengths"], proof.claim.visible_mark) == ("builtin", [1.0], True)
    assert str(tmp_path) not in out.read_bytes().decode("latin-1")


def test_a_strip_towards_a_target(root: Path, photos: Path, tmp_path: Path, mien: Mien) -> None:
    run, out = root / "rigface/tiny/run", tmp_path / "strip.png"
    ask = ("--from", photos / "face1.png", "--modes", "light+exp", "--strengths", "0,0.5,1.3")
    code, _, told = mien("edit", photos / "face0.png", "--run", run, *ask, *FEW, "--out", out)
    assert code == 0, told
    assert Image.open(out).width > 4 * 160
    claim = read_provenance(out).claim
    assert claim.actions[0].parameters["modes"] == "exp+light"
    found = [(one.title, one.relationship) for one in claim.ingredients]
    assert found == [("face0.png", "parentOf"), ("face1.png", "inputTo")]


def test_what_an_edit_does_to_the_codes() -> None:
    """FACS levels are fifths of the rig's; strength scales every move; the target comes before them."""
    source, target = codes(0), codes(1)
    asked = Ask({"AU12": 2.0, "AU4L": -1.0, "yaw": 20.0, "light_gain": 2.0, "light": 180.0})
    for strength in (0.0, 0.5, 1.0):
        made = edited_codes(source, asked, strength)
        moved, place = made.expression - source.expression, 2 * UNITS.index(12)
        np.testing.assert_allclose(moved[place : place + 2], 0.4 * strength, atol=1e-5)
        assert made.pose[0] - source.pose[0] == pytest.approx(20 * strength)
        np.testing.assert_allclose(made.light[0], source.light[0] * (1 + strength), rtol=1e-5)
    np.testing.assert_array_equal(edited_codes(source, asked, 0.0).light, source.light)
    assert made.light[3].mean() == pytest.approx(-2 * source.light[3].mean(), rel=1e-4)  # the other side
    both = edited_codes(source, Ask({"yaw": 5.0}, "pose"), 1.0, target)
    assert both.pose == (target.pose[0] + 5, *target.pose[1:])
    np.testing.assert_array_equal(both.expression, source.expression)
    with pytest.raises(MienError, match="modes without a target"):
        edited_codes(source, Ask(modes="exp"), 1.0)
    with pytest.raises(MienError, match="nothing moves 'yow'"):
        edited_codes(source, Ask({"yow": 1.0}), 1.0)


def test_a_session_shows_its_controls_and_changes_nothing_outside_its_masks(root: Path, photos: Path) -> None:
    session = RigSession(root / "rigface/tiny/run")  # finds the reader that reads codes
    names = [control.name for control in session.controls]
    assert names[:6] == ["yaw", "pitch", "roll", "light", "light_gain", "AU1"]
    assert all(one.least < one.most and one.least <= one.rest <= one.most for one in session.controls)
    opened = session.open(read_photo(photos / "face0.png"), whole=True)
    labels = np.zeros((64, 64), np.uint8)
    labels[20:44, 24:40] = 1  # a small person, so that a turned head leaves the mask
    opened = replace(opened, face=replace(opened.face, labels=labels), codes=codes(0))
    config = SampleConfig(steps=1)
    still = session.draw(opened, Ask({"AU12": 2.0}), (1.0,), config)[0]
    turned = session.draw(opened, Ask({"yaw": 40.0}), (0.0, 1.0), config)
    assert np.array_equal(still.mask, turned[0].mask)
    assert (turned[1].mask & ~still.mask).any()
    pasted = session.place(opened, still)
    outside = np.asarray(Image.fromarray(still.mask).resize((96, 96), Image.Resampling.BOX)) == 0
    rim = outside & ~np.asarray(Image.fromarray(still.mask).resize((96, 96), Image.Resampling.BILINEAR))
    photo = opened.photo.pixels
    assert (pasted != photo).any()
    assert (pasted[:8] == photo[:8]).all()
    assert rim.any()
    assert EditSession(root / "magicface/tiny/run").controls[0].name == "AU1"


def test_the_reader_that_is_found_reads_codes(root: Path, tmp_path: Path) -> None:
    run = RunFolder.open(root / "rigface/tiny/run")
    assert find_reader(run, codes=True) == root / "facereader/rig_tiny/run"
    alone = RunFolder.open(untrained(tmp_path, "rigface/tiny", *NETWORKS))
    with pytest.raises(RunError, match=r"finds 3D faces; train one \(mien train facereader/rig_tiny\)"):
        find_reader(alone, codes=True)


def test_what_cannot_be_done_is_told_before_any_work(
    root: Path, photos: Path, tmp_path: Path, mien: Mien
) -> None:
    rig, magic, photo = root / "rigface/tiny/run", root / "magicface/tiny/run", photos / "face0.png"
    target = ("--from", photos / "face1.png")
    for run, options, said in (
        (magic, ("--yaw", 15), "--yaw: a run of magicface does not take it; give a run of rigface"),
        (magic, ("--light-gain", 2), "--light-gain: a run of magicface does not take it"),
        (magic, (*target, "--modes", "exp"), "--from: a run of magicface does not take it"),
        (magic, ("--au", "12=1", "--rig", photos), "--rig: a run of magicface does not take it"),
        (magic, ("--au", "AU12L=1"), "'AU12L=1' is no change"),
        (rig, ("--yaw", 15, "--guidance", 3), "--guidance: a run of rigface does not take it"),
        (rig, ("--yaw", 120), "--yaw: 120 is out of range; give -90 to 90 degrees"),
        (rig, ("--au", "AU3=1"), "no editor moves AU3"),
        (rig, ("--au", "AU25L=1"), "AU25 has no sides"),
        (rig, (), "nothing to edit"),
        (rig, target, "--from: is half of a request; add --modes"),
        (rig, ("--modes", "exp"), "--modes: is half of a request; add --from TARGET"),
        (rig, (*target, "--modes", "exp+lite"), "no mode 'lite'; did you mean 'light'?"),
        (rig, (*target, "--modes", "exp", "--strengths", "0,2"), "leaves the way to the target"),
        (rig, (*target, "--modes", "exp", "--from-box", "1,2"), "--from-box: '1,2' is not a box"),
        (rig, ("--from", tmp_path / "none.png", "--modes", "exp"), "none.png"),
        (rig, ("--yaw", 5, "--reader", root / "facereader/tiny/run"), "reads no codes of 3D faces"),
        (tmp_path, ("--yaw", 5), "no run"),
    ):
        code, out, told = mien("edit", photo, "--run", run, *options, "--whole", "--out", tmp_path / "edits")
        assert (code, out) == (2, ""), said
        assert said in told
        assert "Traceback" not in told
        assert not (tmp_path / "edits").exists()  # no empty folder stays


def test_a_run_whose_codes_nothing_reads(root: Path, tmp_path: Path) -> None:
    released = ("model.backend=bfm64", "model.condition.width=64")
    run = untrained(tmp_path, "rigface/tiny", *NETWORKS, *released)
    with pytest.raises(RunError, match="steered by backend bfm64, whose codes no reader here reads"):
        RigSession(run, root / "facereader/rig_tiny/run")


def test_a_folder_is_made_with_its_first_edit(root: Path, photos: Path, tmp_path: Path, mien: Mien) -> None:
    run, out = root / "rigface/tiny/run", tmp_path / "new" / "edits"
    (tmp_path / "bad.png").write_bytes(b"no picture")
    code, _, _ = mien("edit", tmp_path / "bad.png", "--run", run, "--yaw", 5, *FEW, "--out", out)
    assert (code, out.parent.exists()) == (2, False)
    (tmp_path / "file").touch()
    code, _, told = mien("edit", photos, "--run", run, "--yaw", 5, *FEW, "--out", tmp_path / "file" / "x")
    assert (code, "is no folder" in told) == (2, True)
    code, _, told = mien("edit", photos, "--run", run, "--yaw", 5, *FEW, "--out", tmp_path / ("x" * 300))
    assert (code, "File name too long" in told, "Traceback" in told) == (2, True, False)
    code, said, _ = mien("edit", photos, "--run", run, "--yaw", 5, *FEW, "--crop-only", "--out", out)
    assert code == 0
    assert said.split() == [str(out / f"face{number}.png") for number in (0, 1)]
    assert Image.open(out / "face0.png").size == (64, 64)
