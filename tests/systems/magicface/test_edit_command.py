"""`mien edit` on runs of a few steps: what is written, what stays, what is refused."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from engine.processes import Session
from mien import cli
from mien.data.reader import ShardSet
from mien.editing.provenance import read_provenance
from mien.systems.editing.face_pairs import make_pairs
from mien.systems.editing.parsing import blacked
from mien.systems.facereader.load import load as load_reader

LOOP = (
    "engine.threads=1", "engine.global_batch=8", "engine.schedule.warmup=1", "engine.max_steps=4",
    "engine.val_every=null", "data.workers=0", "data.val=null", "tracking.wandb=off",
)  # fmt: skip
SMALL = {
    "magicface/tiny": ("model.unet.channels=[16,16]", "model.unet.groups=4", "model.unet.heads=2"),
    "facereader/tiny": ("model.widths=[8,8,8,8]",),
}
Mien = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("pairs") / "set"
    return make_pairs(out, people=2, images=16, seed=3, size=64, workers=1, progress=False)


@pytest.fixture(scope="module")
def root(pairs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Runs of both systems under one root."""
    root = tmp_path_factory.mktemp("runs")
    sessions = [
        Session(
            [*LOOP, *small, f"data.train.shards={pairs}", f"run.root={root}"],
            root / f"{recipe.replace('/', '-')}.log",
            recipe=recipe,
        )
        for recipe, small in SMALL.items()
    ]
    for session in sessions:
        assert session.wait() == 0, session.said()
    return root


@pytest.fixture
def photo(pairs: Path, tmp_path: Path) -> Path:
    """A face on a larger ground."""
    face = Image.open(io.BytesIO(ShardSet(pairs).read(0).members["src.png"])).resize((128, 128))
    whole = Image.new("RGB", (240, 200), (90, 120, 150))
    whole.paste(face, (60, 40))
    whole.save(tmp_path / "photo.png")
    return tmp_path / "photo.png"


@pytest.fixture
def mien(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Mien:
    def run(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr("sys.argv", ["mien", *map(str, arguments)])
        with pytest.raises(SystemExit) as end:
            cli.main()
        said = capsys.readouterr()
        return int(end.value.code or 0), said.out, said.err

    return run


def run_of(root: Path, recipe: str) -> Path:
    (run,) = (root / recipe).glob("*/run.json")
    return run.parent


BOX = ("--box", "76,60,96,96")


def test_an_edit_changes_the_face_and_says_so(root: Path, photo: Path, tmp_path: Path, mien: Mien) -> None:
    run = run_of(root, "magicface/tiny")
    out = tmp_path / "out.png"
    ask = ("edit", photo, "--run", run, "--au", "AU12=+3", "--au", "4=-1", "--steps", 3, *BOX)
    code, said, told = mien(*ask, "--out", out)
    assert (code, said.strip()) == (0, str(out))
    assert "agreed" in told  # the consent notice
    before, after = (np.asarray(Image.open(path)).astype(int) for path in (photo, out))
    assert before.shape == after.shape
    changed = np.abs(before - after).max(2) > 0
    assert changed.any()
    assert not changed[:20].any()  # far from the face
    assert not changed[:, :20].any()
    proof = read_provenance(out)
    assert proof.state == "intact"
    parameters = proof.claim.actions[0].parameters
    assert parameters["action_units"] == {"AU4": -1.0, "AU12": 3.0}
    assert parameters["seed"] == 424
    assert proof.claim.model.run == run.name
    assert str(tmp_path) not in out.read_bytes().decode("latin-1")
    again = tmp_path / "again.png"
    assert mien(*ask, "--out", again)[0] == 0
    assert np.array_equal(np.asarray(Image.open(again)), after)
    other = tmp_path / "other.png"
    assert mien(*ask, "--seed", 1, "--out", other)[0] == 0
    assert not np.array_equal(np.asarray(Image.open(other)), after)


def test_a_sheet_of_strengths(root: Path, photo: Path, tmp_path: Path, mien: Mien) -> None:
    run, out = run_of(root, "magicface/tiny"), tmp_path / "sheet.jpg"
    code, _, _ = mien(
        "edit",
        photo,
        "--run",
        run,
        "--au",
        "AU26=2",
        "--strengths",
        "0,1,2",
        "--steps",
        2,
        *BOX,
        "--out",
        out,
    )
    assert code == 0
    assert Image.open(out).width > 4 * 160
    assert read_provenance(out).claim.actions[0].parameters["strengths"] == [0, 1, 2]


def test_a_bad_photo_among_good_ones(root: Path, photo: Path, tmp_path: Path, mien: Mien) -> None:
    folder = tmp_path / "photos"
    folder.mkdir()
    photo.rename(folder / "good.png")
    (folder / "bad.png").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(40))
    run, out = run_of(root, "magicface/tiny"), tmp_path / "edits"
    code, said, told = mien(
        "edit", folder, "--run", run, "--au", "AU1=1", "--steps", 2, "--whole", "--crop-only", "--out", out
    )
    assert code == 2
    assert said.split() == [str(out / "good.png")]
    assert "bad.png" in told
    assert "Traceback" not in told
    assert [path.name for path in out.iterdir()] == ["good.png"]
    assert Image.open(out / "good.png").size == (64, 64)


def test_what_cannot_be_done_is_told_before_any_work(
    root: Path, photo: Path, tmp_path: Path, mien: Mien
) -> None:
    run = run_of(root, "magicface/tiny")
    good = {"--run": run, "--au": "AU12=3", "--out": tmp_path / "x.png", "--box": "76,60,96,96"}
    for change, said in (
        ({"--au": "AU13=1"}, "no editor moves AU13"),
        ({"--out": photo}, "would overwrite its photo"),
        ({"--out": tmp_path / "x.gif"}, "cannot write '.gif' files"),
        ({"--run": run_of(root, "facereader/tiny")}, "a run of facereader edits no faces"),
        ({"--reader": run}, "a run of magicface reads no faces"),
        ({"--run": tmp_path}, "no run"),
        ({"--sampler": "euler"}, "unknown sampler 'euler'"),
        ({"--box": "0,0,9,900"}, "box"),
    ):
        pairs = [part for item in (good | change).items() for part in item]
        code, out, told = mien("edit", photo, *pairs)
        assert code == 2, said
        assert said in told
        assert "Traceback" not in told
        assert not out
    assert not (tmp_path / "x.png").exists()
    code, _, told = mien("edit", photo, "--run", run, "--out", tmp_path / "x.png")
    assert (code, "nothing to edit" in told) == (2, True)
    code, _, told = mien(
        "edit", tmp_path / "none.png", "--run", run, "--au", "1=1", "--out", tmp_path / "x.png"
    )
    assert code == 2
    assert "none.png" in told


def test_a_reader_reads_any_size(root: Path, pairs: Path) -> None:
    reader = load_reader(run_of(root, "facereader/tiny"))
    picture = np.asarray(Image.open(io.BytesIO(ShardSet(pairs).read(0).members["src.png"])))
    small, large = reader.read(picture), reader.read(np.asarray(Image.fromarray(picture).resize((128, 128))))
    assert small.labels.shape == (64, 64)
    assert large.labels.shape == (128, 128)
    assert small.jaw.shape == small.jaw_rest.shape == (17, 2)
    assert np.abs(large.jaw / 2 - small.jaw).max() < 3
    assert small.units is not None
    assert 0 <= small.units.min() <= small.units.max() <= 5
    assert blacked(small.labels, "person").dtype == bool
