"""Whole calls: files, resumption, refusals, damage, shots, the command, and paired tests."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from mien import cli_benchmark
from mien.benchmarks import table
from mien.benchmarks.base import MADE, Item
from mien.errors import DataError, MienError
from mien.evaluation.metrics import hit_counts, hit_rate
from mien.evaluation.suite import subject as subjects
from mien.evaluation.suite.embed import Embedder
from mien.evaluation.suite.paired import Draws, compare, markdown, resample, summarise
from mien.evaluation.suite.published import published
from mien.evaluation.suite.report import write_report
from mien.evaluation.suite.runner import Subject, require_whole, run_all
from mien.evaluation.suite.trained import with_shots

from .colours import CLASSES, ColourEncoder, benchmark, frames, picture_set

RIGHT = [(name, name) for name in CLASSES * 4]
HALF = [(name, name if i % 2 else CLASSES[(i + 1) % 3]) for i, name in enumerate(CLASSES * 4)]


def score(
    out: Path, folder: Path, shown: list[tuple[str, str]], protocol: str = "clean", weights: str = "w1"
):
    encoder = ColourEncoder()
    toy = picture_set(folder, shown, name="raf-db")
    found = run_all(Subject("toy", weights, encoder), {"raf-db": (toy, folder)}, protocol, out, clips=frames)
    return encoder, *found


def test_finished_benchmarks_are_not_computed_again_unless_the_weights_change(tmp_path: Path):
    first, results, faults = score(tmp_path / "out", tmp_path / "set", RIGHT)
    again, same, _ = score(tmp_path / "out", tmp_path / "set", RIGHT)
    other, changed, _ = score(tmp_path / "out", tmp_path / "set", RIGHT, weights="w2")
    assert (first.calls, again.calls, other.calls, faults) == (12, 0, 12, [])
    assert results[0].to_dict() == same[0].to_dict()
    assert results[0].key != changed[0].key
    assert results[0].main.value == 1


def test_protocols_are_never_mixed(tmp_path: Path):
    _, clean, _ = score(tmp_path / "a", tmp_path / "set", RIGHT)
    with pytest.raises(
        MienError, match="holds results of protocol clean, which never share a table with expclip"
    ):
        score(tmp_path / "a", tmp_path / "set", RIGHT, "expclip")
    _, other, _ = score(tmp_path / "b", tmp_path / "set", RIGHT, "expclip")
    with pytest.raises(MienError, match="cannot mix protocols clean and expclip"):
        write_report("toy", clean + other, tmp_path / "c")
    with pytest.raises(MienError, match="cannot compare protocols clean and expclip"):
        compare([tmp_path / "a"], [tmp_path / "b"])


def test_published_rows_keep_to_their_protocol(tmp_path: Path):
    assert [row.method for row in published("raf-db", "clean")] == ["EmoCapCLIP", "FLIP", "Exp-CLIP"]
    assert (row := published("mafw", "expclip")[-1]).method == "EmotionCLIP"
    assert (row.uar, row.war) == (9.2, 11.65)
    _, results, _ = score(tmp_path / "out", tmp_path / "set", RIGHT)
    write_report("toy", results, tmp_path / "out")
    text = (tmp_path / "out" / "table.md").read_text()
    assert "| RAF-DB | static | 12 | UAR | 100.0 [100.0, 100.0] | 100.0 | 62.8 | 45.1 | 39.6 | - |" in text
    assert "data:image/png;base64," in (tmp_path / "out" / "report.html").read_text()
    assert json.loads((tmp_path / "out" / "report.json").read_text())["protocol"] == "clean"


def test_no_published_number_stands_beside_a_synthetic_set(tmp_path: Path):
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / MADE).write_text("made")
    _, results, _ = score(tmp_path / "out", tmp_path / "set", RIGHT)
    write_report("toy", results, tmp_path / "out")
    text = (tmp_path / "out" / "table.md").read_text()
    assert ", synthetic |" in text
    assert "62.8" not in text


def test_a_damaged_picture_is_named_and_more_than_one_percent_fails(tmp_path: Path):
    toy = picture_set(tmp_path / "set", RIGHT)
    (tmp_path / "set" / "3.png").write_bytes(b"\x89PNG broken")
    subject = Subject("toy", "w", ColourEncoder())
    results, faults = run_all(
        subject, {"toy": (toy, tmp_path / "set")}, "clean", tmp_path / "out", clips=frames
    )
    assert not results
    assert "1 of 12 samples are damaged, first i3: " in str(faults[0])
    assert not (tmp_path / "out" / "toy" / "result.json").exists()
    require_whole(toy, {"i3": "broken"}, 100, tmp_path)
    with pytest.raises(DataError, match="2 of 100 samples are damaged"):
        require_whole(toy, {"i3": "broken", "i4": "broken"}, 100, tmp_path)


def test_paired_difference_of_known_answers(tmp_path: Path):
    score(tmp_path / "a", tmp_path / "set_a", RIGHT)
    score(tmp_path / "b", tmp_path / "set_b", HALF)
    rows = compare([tmp_path / "a"], [tmp_path / "b"], n=400)
    assert [row.name for row in rows] == ["raf-db", "task static", "all"]
    assert rows[0].value == pytest.approx(0.5)
    assert rows[0].low > 0.3
    assert rows[0].p < 0.1  # six people: 2 / 64 at best
    assert markdown(rows).count("+50.0") == 3
    same = compare([tmp_path / "a"], [tmp_path / "a"], n=200)
    assert (same[0].value, same[0].low, same[0].high, same[0].p) == (0, 0, 0, 1)


def test_equal_models_are_seldom_called_different():
    """Of 120 pairs of equal models about 5 % may have p <= 0.05, and intervals miss 0 as often."""
    rng = np.random.default_rng(0)
    groups = [f"p{i // 3}" for i in range(120)]
    low_p = missed = 0
    for trial in range(120):
        sides = [[hit_counts(rng.random(120) < 0.6)] for _ in range(2)]
        drawn = resample(hit_rate, *sides, groups, n=200, seed=trial)
        row = summarise("x", [Draws("x", "mcq", *drawn, 120)])
        low_p += row.p <= 0.05
        missed += row.low > 0 or row.high < 0
    assert 1 <= low_p <= 14
    assert missed <= 16


def test_shots_probe_and_retrieval_rows(tmp_path: Path):
    toy = picture_set(tmp_path / "set", RIGHT)
    items = toy.open(tmp_path / "set")
    told = [
        Item(f"t{one.key}", one.media, one.label, one.group, text=f"looks like {one.label}") for one in items
    ]
    train = [Item(one.key, one.media, one.label, one.group, split="train") for one in items]
    both = benchmark("toy", lambda _: train + told)
    subject = Subject("toy", "w", ColourEncoder())
    results, faults = run_all(
        subject, {"toy": (both, tmp_path / "set")}, "clean", tmp_path / "out", shots=True, clips=frames
    )
    assert not faults
    rows = {row.method: row for row in results[0].rows}
    assert [f"{k}-shot" in rows for k in (1, 2, 4, 8, 16)] == [True] * 5
    assert rows["linear probe"].metrics["uar"].value == rows["4-shot"].metrics["uar"].value == 1
    assert rows["1-shot"].note == "C fixed: 3 / D; 5 draws, UAR std 0.000"
    assert rows["4-shot"].note == "C by cross-validation on the shots: 3 / D; 5 draws, UAR std 0.000"
    assert rows["16-shot"].note.endswith("; 3 classes have fewer")
    assert rows["linear probe"].note.startswith("C chosen on folds of train people: ")
    assert rows["retrieval"].metrics["i2t_r1"].value == 1


def test_a_few_shot_interval_holds_what_its_draws_gave(tmp_path: Path):
    """Half of the train pictures of two classes lie: a draw of one shot is right or wrong for all people."""
    shown = [("anger", "anger"), ("happiness", "happiness")] * 8
    lies = [("anger", "anger"), ("happiness", "happiness"), ("anger", "happiness"), ("happiness", "anger")]
    test = picture_set(tmp_path / "test", shown).open(tmp_path / "test")
    made = picture_set(tmp_path / "train", lies * 2).open(tmp_path / "train")
    train = [Item(f"t{one.key}", one.media, one.label, f"t{one.group}", split="train") for one in made]
    toy = benchmark("toy", lambda _: train + test, classes=("anger", "happiness"))
    embedder = Embedder(ColourEncoder(), "clean", frames)
    embedder.prepare([item.media for item in train + test])
    rows = {row.method: row.metrics["uar"] for row in with_shots(embedder, toy, test, train)}
    assert (rows["1-shot"].low, rows["1-shot"].high) == (0, 1)
    assert 0 < rows["1-shot"].value < 1


def test_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    toy = picture_set(tmp_path / "root" / "set", RIGHT, name="raf-db")
    monkeypatch.setattr(table, "BENCHMARKS", {"raf-db": toy})
    monkeypatch.setattr(subjects, "_run", lambda path, which: Subject("toy", "w", ColourEncoder()))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "trained").mkdir()
    call = CliRunner().invoke
    done = call(cli_benchmark.benchmark, ["trained", "--root", "root"])
    assert done.exit_code == 0, done.output
    assert "RAF-DB" in done.output
    assert (tmp_path / "trained" / "evaluation" / "benchmarks-clean" / "report.html").is_file()
    folder = "trained/evaluation/benchmarks-clean"
    compared = call(cli_benchmark.benchmark, ["compare", folder, folder, "--draws", "100", "--out", "cmp.md"])
    assert "| all | 12 | 100.0 | 100.0 | +0.0 [+0.0, +0.0] | 1.000 |" in compared.output
    assert (tmp_path / "cmp.md").read_text() == compared.output
    for arguments, message in (
        (["trained", "--root", "nowhere"], "nowhere: no such folder"),
        (["trained", "--root", "root", "--only", "rafdb"], "did you mean 'raf-db'"),
        (["trained", "--root", "root", "--protocol", "both"], "choose of clean, expclip"),
        (["absent", "--root", "root"], "absent: no such run"),
        (["clip:absent.pt", "--root", "root"], "absent.pt: no such weights"),
        (["expclip:head.pth", "--root", "root"], "head.pth: Exp-CLIP takes two files; write expclip:HEAD"),
        (["expclip:absent.pth,clip.pt", "--root", "root"], "absent.pth: no such weights"),
    ):
        assert message in str(call(cli_benchmark.benchmark, arguments).exception)


@pytest.mark.parametrize(
    ("said", "folder"),
    [
        ("clip:w/ViT-B-32.pt", "benchmarks/ViT-B-32"),
        ("open_clip:ViT-B-16:w/b.bin", "benchmarks/b"),
        ("expclip:w/ExpCLIP_B32_model.pth,w/ViT-B-32.pt", "benchmarks/ExpCLIP_B32_model"),
        ("expclip:w/expclip", "benchmarks/expclip"),
    ],
)
def test_published_weights_have_folders_of_their_own(said: str, folder: str):
    assert cli_benchmark._default_folder(said) == Path(folder)
