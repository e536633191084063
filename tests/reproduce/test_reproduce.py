"""Each experiment from start to table, with real training processes of a few steps."""

from __future__ import annotations

import csv
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mien import recipe
from mien.errors import DataError, RunError
from mien.faces.synth import make_emocap
from mien.reproduce import __main__ as command
from mien.reproduce import ablation, layouts, twins, wild
from mien.reproduce.curves import BACKENDS, RANKS, Way, compare
from mien.reproduce.jobs import Job, run_all

SMALL = (
    "model.image_size=32", "model.tiny.widths=[8,8,16,16]", "model.tiny.embed=12",
    "model.tiny.vocabulary_width=8", "model.tiny.text_width=16", "model.tiny.text_heads=2",
    "model.tiny.text_layers=1", "engine.global_batch=16", "engine.schedule.warmup=1", "data.workers=0",
    "tracking.wandb=off",
)  # fmt: skip

MOVES = ("ddp x 1", "fsdp2 x 2")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The three sets of `make data`, small."""
    root = tmp_path_factory.mktemp("data")
    for name, people, images, first in (("train", 12, 126, 0), ("val", 4, 28, 100), ("test", 8, 84, 200)):
        make_emocap(
            root / name, people=people, images=images, seed=0, size=48, first_person=first, progress=False
        )
    return root


def runs(root: Path) -> list[str]:
    """Folders of all runs below a root."""
    return sorted(str(file.parent) for file in root.rglob("run.json"))


@pytest.mark.usefixtures("forked")
def test_ablation_scores_every_variant_and_trains_nothing_twice(data: Path, tmp_path: Path) -> None:
    short = (*SMALL, "engine.max_steps=2")
    table = ablation.reproduce(data, tmp_path, seeds=1, parallel=2, threads=1, overrides=short)
    rows = [line.split("|")[1].strip() for line in table.splitlines()[2:]]
    assert rows == list(ablation.VARIANTS)
    assert (tmp_path / "ablation.md").read_text() == table
    with (tmp_path / "ablation.csv").open() as file:
        values = list(csv.DictReader(file))
    assert len(values) == 5
    for row in values:
        assert all(0 <= float(row[name]) <= 1 for name in ("zero_shot_uar", "au_f1", "i2t_r1", "t2i_r1"))
    made = runs(tmp_path)
    assert len(made) == 5
    assert ablation.reproduce(data, tmp_path, seeds=1, parallel=2, threads=1, overrides=short) == table
    assert runs(tmp_path) == made


@pytest.mark.usefixtures("forked")
def test_twins_are_compared_on_the_same_items_and_nothing_is_made_twice(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(twins, "PEOPLE", 4)
    monkeypatch.setattr(twins, "ITEMS", {"static": 28, "mcq": 4})
    methods = {"ours": "tiny", "CLIP": "twins/clip"}

    def make(stem: str = "twins", methods: dict[str, str] = methods) -> str:
        return twins.reproduce(
            data, tmp_path, seeds=1, parallel=2, threads=1, overrides=(*SMALL, "engine.max_steps=2"),
            names=("raf-db", "facexbench"), methods=methods, stem=stem,
        )  # fmt: skip

    text = make()
    means, differences, each = (
        [[cell.strip() for cell in line.split("|")[1:-1]] for line in part.splitlines()]
        for part in text.split("\n\n")
    )
    assert [row[0] for row in means[2:]] == ["ours", "CLIP"]
    assert means[0] == ["method", "static", "mcq", "all"]
    assert [row[0] for row in differences[2:]] == ["CLIP"]
    assert [row[0] for row in each[2:]] == ["facexbench", "raf-db"]
    with (tmp_path / "twins.csv").open() as file:
        values = list(csv.DictReader(file))
    assert len(values) == 2 * 2
    (static,) = (float(v["value"]) for v in values if v["method"] == "CLIP" and v["task"] == "static")
    assert f"{100 * static:.1f}" == means[3][1].replace("*", "")
    assert (tmp_path / "twins.png").read_bytes().startswith(b"\x89PNG")
    made, sets = runs(tmp_path), (tmp_path / "sets" / "raf-db").stat().st_mtime_ns
    assert make() == text
    assert make("other", dict(reversed(methods.items()))).startswith(text.partition("ours")[0])
    assert (tmp_path / "other.md").is_file()
    assert runs(tmp_path) == made
    assert (tmp_path / "sets" / "raf-db").stat().st_mtime_ns == sets
    monkeypatch.setattr(twins, "PEOPLE", 5)
    with pytest.raises(DataError, match="another size or seed"):
        make()


@pytest.mark.parametrize(
    ("ways", "compared"), [(RANKS[:2], "2 processes / 1 process"), (BACKENDS, "chunked / dense")]
)
def test_ways_train_the_same_samples_and_differ_by_rounding(
    data: Path, tmp_path: Path, ways: tuple[Way, ...], compared: str
) -> None:
    cases = {"float64": ("engine.precision=64",)}
    table = compare(data, tmp_path, ways, steps=3, cases=cases, overrides=SMALL)
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in table.splitlines()[2:]]
    assert [row[:3] for row in rows] == [
        ["float64 (control)", "2 threads / 1", "yes"],
        ["float64", compared, "yes"],
    ]
    for *_, loss, early, weights in rows:
        assert loss == early == "below 1e-8"
        assert 0 < float(weights) < 1e-8


def test_checkpoints_move_between_layouts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(layouts, "LAYOUTS", [one for one in layouts.LAYOUTS if one.name in MOVES])
    table = layouts.moved(tmp_path, steps=6)
    assert (tmp_path / "moved.md").read_text() == table
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in table.splitlines()]
    assert rows[0][1:] == [row[0] for row in rows[2:]] == list(MOVES)
    values = [float(cell) for row in rows[2:] for cell in row[1:]]
    assert values[0] == 0 < max(values) < 1e-5


@pytest.mark.usefixtures("forked")
def test_wild_compares_both_starts_with_the_baselines(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    few = {name: keys for name, keys in wild.ADAPTED.items() if "LoRA" in name}
    monkeypatch.setattr(wild, "ADAPTED", few)  # how each adapts: tests/systems/finetune
    photos = tmp_path / "photos"
    write_photos(photos)
    (start,) = run_all(
        [Job("emocapclip/tiny", (f"data.train.shards={data / 'train'}", "data.val=null",
             "engine.val_every=null", "engine.max_steps=1", *SMALL), tmp_path / "start")],
        parallel=1, threads=1, what="runs",
    )  # fmt: skip
    table = wild.reproduce(
        photos, tmp_path / "out", start, splits=1, parallel=2, threads=1,
        overrides=(*SMALL, "engine.max_steps=2"),
    )  # fmt: skip
    methods = {line.split("|")[1].strip() for line in table.splitlines()[2:]}
    assert methods == {
        "linear probe, from scratch", "linear probe, from synthetic", "zero-shot, from scratch",
        "zero-shot, from synthetic", "majority", "hog_logreg", "cnn",
        "supervised from scratch, the same tower", *wild.ADAPTED,
    }  # fmt: skip
    with pytest.raises(DataError, match=r"labels\.csv has the columns image, emotion, person"):
        wild.reproduce(tmp_path, tmp_path / "none", None, splits=1, parallel=1, threads=1)
    with (tmp_path / "out" / "wild.csv").open() as file:
        majority = next(row for row in csv.DictReader(file) if row["method"] == "majority")
    assert float(majority["uar"]) == pytest.approx(0.2)


def write_photos(folder: Path) -> None:
    """100 pictures of 20 people: every person shows the five classes; each class has a grey level."""
    (folder / "images").mkdir(parents=True)
    rng = np.random.default_rng(0)
    lines = ["image,emotion,person"]
    for person in range(20):
        for level, label in enumerate(wild.CLASSES):
            name = f"images/{person}-{label}.jpg"
            pixels = 40 * level + rng.integers(0, 40, (48, 48), dtype=np.uint8)
            Image.fromarray(pixels.astype(np.uint8)).save(folder / name)
            lines.append(f"{name},{label},p{person}")
    (folder / "labels.csv").write_text("\n".join(lines) + "\n")


def test_a_run_that_fails_names_its_log(tmp_path: Path) -> None:
    job = Job("emocapclip/tiny", ("data.train.shards=absent", "engine.max_stepz=2"), tmp_path / "bad")
    with pytest.raises(RunError, match=r"train-tiny\.log: training ended with code 2"):
        run_all([job], parallel=1, threads=1, what="runs")
    assert "max_steps" in (tmp_path / "bad" / "train-tiny.log").read_text()


@pytest.mark.parametrize("name", sorted({*twins.METHODS.values(), *twins.TOWARDS_UNITS.values()}))
def test_every_row_has_a_recipe(name: str) -> None:
    assert recipe.load(f"emocapclip/{name}").system == "emocapclip"


@pytest.mark.parametrize("name", ["ablation", "twins", "units", "wild", "ranks", "layouts", "backends"])
def test_help_has_an_example(
    name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["mien.reproduce", name, "--help"])
    with pytest.raises(SystemExit) as left:
        command.app()
    assert left.value.code == 0
    assert f"Example: python -m mien.reproduce {name}" in capsys.readouterr().out
