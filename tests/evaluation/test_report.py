"""`evaluate` on a run folder: JSON, csv, predictions and a page that needs nothing from outside."""

from __future__ import annotations

import csv
import json
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
import torch
from rich.console import Console

from mien import recipe as recipes
from mien import systems
from mien.engine.rundir import RunFolder
from mien.engine.tracking import MetricsFile
from mien.errors import DataError, MienError, RunError
from mien.evaluation import ablation, evaluate, print_table
from mien.evaluation.cnn import CnnConfig

from .toys import CLASSES, FakeEncoder, write_set


@pytest.fixture
def run(tmp_path, train_folder, monkeypatch) -> Path:
    """A run folder with a checkpoint at step 7 and curves; its encoder is the fake one."""
    folder = RunFolder.create(
        recipes.load("emocapclip/tiny", [f"run.root={tmp_path}", f"data.train.shards={train_folder}"])
    )
    folder.store.write(
        {"mien": {"tied": {}}}, ({"weights/w": torch.zeros(2)}, {"weights/w": [0, [2]]}), 7, {}
    )
    log = MetricsFile(folder.path / "metrics.csv")
    for step in range(1, 101):
        log.append(
            step, {"loss": 4 / step, "lr": 1e-3 * step} | ({"val/loss": 5 / step} if step % 20 == 0 else {})
        )
    monkeypatch.setattr(systems, "load", lambda run, which="last": FakeEncoder())
    return folder.path


class Page(HTMLParser):
    """Collects what a page would load, its text, and whether its tags close."""

    VOID = frozenset(("meta", "img", "br", "link", "input", "hr"))

    def __init__(self) -> None:
        super().__init__()
        self.loads, self.titles, self.open, self.tags = [], [], [], []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.loads += [value for name, value in attrs if name in {"src", "href", "srcset", "data", "action"}]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] in {"h1", "h2"}:
            self.titles.append(data)


def read_page(path: Path) -> tuple[Page, str]:
    text = path.read_text(encoding="utf-8")
    page = Page()
    page.feed(text)
    page.close()
    assert page.open == []
    return page, text


def test_zero_shot_files(run, train_folder, test_folder, tmp_path):
    config = CnnConfig(size=32, width=4, epochs=1)
    baselines = ("majority", "hog", "cnn")
    report = evaluate(
        run, "zero_shot", test_folder, train_folder, tmp_path / "out", baselines=baselines, cnn_config=config
    )
    found = json.loads((tmp_path / "out" / "report.json").read_text())
    assert (found["protocol"], found["run"]) == ("zero_shot", str(run))
    methods = [row["method"] for row in found["rows"]]
    assert methods[0] == "zero_shot"
    assert methods[-3:] == ["majority", "hog_logreg", "cnn"]
    for row in found["rows"]:
        assert set(row["metrics"]) == {"uar", "war", "macro_f1", "ece"}
        for metric in row["metrics"].values():
            assert set(metric) == {"value", "low", "high"}
            assert all(0 <= metric[part] <= 1 for part in metric)
    assert found["facts"]["step"] == 7
    assert found["facts"]["test samples"] == 128
    assert found["facts"]["test people"] == 8
    assert found["facts"]["test people also in pretraining"] == 0
    assert found["facts"]["prompts"] == "emotion7"

    table = list(csv.DictReader((tmp_path / "out" / "table.csv").open()))
    assert float(table[0]["uar_low"]) == pytest.approx(report.rows[0].metrics["uar"].low, abs=1e-6)
    made = list(csv.DictReader((tmp_path / "out" / "predictions-zero_shot.csv").open()))
    assert len(made) == 128
    right = np.mean([row["label"] == row["prediction"] for row in made])
    assert right == pytest.approx(report.rows[0].metrics["war"].value)
    assert made[0]["key"].startswith("s2_")
    for row in made:
        assert max(CLASSES, key=lambda name: float(row[name])) == row["prediction"]

    page, text = read_page(tmp_path / "out" / "report.html")
    assert all(load.startswith("data:image/png;base64,") for load in page.loads)
    assert len(page.loads) >= 5
    assert not re.search(r"https?://|@import|url\(", text)
    assert "script" not in page.tags
    titles = " ".join(page.titles)
    for title in (
        "Results",
        "Confusion matrix",
        "Reliability",
        "Right",
        "Training",
        "Where a sentence looks",
    ):
        assert title in titles
    for fact in (
        "prompts sha256",
        "recipe sha256",
        report.facts["prompts sha256"],
        report.facts["recipe sha256"],
    ):
        assert fact in text


def test_linear_probe_and_default_folder(run, train_folder, test_folder):
    report = evaluate(run, "linear_probe", test_folder, train_folder)
    assert [row.method for row in report.rows] == ["linear_probe", "majority", "hog_logreg"]
    assert (run / "evaluation" / "linear_probe" / "report.html").is_file()
    units = evaluate(run, "linear_probe", test_folder, train_folder, task="au")
    assert [row.method for row in units.rows] == ["linear_probe/au", "always_present/au", "hog_logreg/au"]
    assert (run / "evaluation" / "linear_probe-au" / "report.html").is_file()
    _, text = read_page(run / "evaluation" / "linear_probe-au" / "report.html")
    assert "AU12" in text


def test_retrieval_and_the_printed_table(run, test_folder, tmp_path):
    report = evaluate(run, "retrieval", test_folder, out=tmp_path / "out")
    console = Console(width=200, record=True, file=(tmp_path / "null").open("w"))
    print_table(report, console)
    shown = console.export_text()
    for row in report.rows:
        assert row.method in shown
        assert str(row.metrics["i2t_r1"]) in shown
    read_page(tmp_path / "out" / "report.html")


def test_page_escapes_what_sets_say(run, tmp_path, monkeypatch):
    folder = write_set(tmp_path / "<b>set", people=4, images=64, seed=5, first=200)
    evaluate(run, "zero_shot", folder, out=tmp_path / "out")
    _, text = read_page(tmp_path / "out" / "report.html")
    assert "<b>set" not in text
    assert "&lt;b&gt;set" in text


def test_people_seen_in_pretraining_are_counted_and_said(run, train_folder, tmp_path):
    said = []
    report = evaluate(run, "zero_shot", train_folder, out=tmp_path / "out", progress=said.append)
    assert report.facts["test people also in pretraining"] == 12
    assert "warning: 12 test people were seen in pretraining" in said


def test_baselines_without_train_set_are_said_to_be_left_out(run, test_folder, tmp_path):
    said = []
    report = evaluate(run, "zero_shot", test_folder, out=tmp_path / "out", progress=said.append)
    assert report.rows[-1].method == "majority"
    assert "baseline hog is left out: it needs --train" in said


def test_overlap_is_refused_unless_allowed(run, train_folder, tmp_path):
    with pytest.raises(DataError, match=r"12 test people .* are also in"):
        evaluate(run, "linear_probe", train_folder, train_folder, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    report = evaluate(run, "linear_probe", train_folder, train_folder, tmp_path / "out", allow_overlap=True)
    assert report.rows[0].metrics["uar"].value > 0.9


def test_classes_choose_samples(run, train_folder, test_folder, tmp_path):
    two = ["anger", "neutral"]
    report = evaluate(run, "zero_shot", test_folder, train_folder, tmp_path / "out", classes=two)
    assert report.rows[0].predictions.classes == two
    assert len(report.keys) == 64


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"protocol": "few_shot"}, "unknown protocol 'few_shot'"),
        ({"task": "valence"}, "unknown task 'valence'"),
        ({"baselines": ("svm",)}, "unknown baseline 'svm'"),
        ({"task": "au"}, "task 'au' belongs to linear_probe"),
        ({"protocol": "linear_probe"}, "linear_probe needs a train set"),
        ({"prompts": "nothing"}, "no such prompt set"),
        ({"classes": ["boredom"]}, "no sample of class 'boredom'"),
        ({"test": "nowhere"}, "nowhere"),
        ({"which": "9"}, "9"),
        ({"run": "nowhere"}, "not a run folder"),
    ],
)
def test_faults_are_one_clear_line_and_leave_nothing(run, test_folder, tmp_path, monkeypatch, wrong, message):
    def load(run, which="last"):
        RunFolder.open(run).checkpoint(which)
        return FakeEncoder()

    monkeypatch.setattr(systems, "load", load)
    given = {"run": run, "protocol": "zero_shot", "test": test_folder, "out": tmp_path / "out"} | wrong
    with pytest.raises(MienError) as caught:
        evaluate(**given)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_unknown_label_is_one_clear_line(run, tmp_path, test_folder):
    prompts = tmp_path / "few.yaml"
    prompts.write_text("default: a\nclasses: {anger: {}, neutral: {}}\nfamilies: {a: ['{class}']}\n")
    with pytest.raises(DataError, match=r"'happiness', 'sadness' unknown to the prompts.*--prompts emotion7"):
        evaluate(run, "zero_shot", test_folder, prompts=prompts)


def test_ablation_table(tmp_path, train_folder, test_folder):
    class Blind(FakeEncoder):
        def encode_images(self, images):
            noise = torch.randn(len(images), 4, generator=torch.Generator().manual_seed(0))
            return torch.nn.functional.normalize(noise, dim=1)

    runs = {"global": [Path("b0"), Path("g1")], "+ summary": [Path("g2"), Path("g3")]}
    made = ablation.summarise(
        runs, test_folder, train_folder, load=lambda run: Blind() if str(run)[0] == "b" else FakeEncoder()
    )
    first, second = made.values["global"]["zero_shot_uar"], made.values["+ summary"]["zero_shot_uar"]
    assert first[0] < 0.5 < first[1] == second[0] == second[1]
    made.write(tmp_path)
    text = (tmp_path / "ablation.md").read_text(encoding="utf-8")
    spread = 100 * np.std(first, ddof=1)
    assert f"| global | 2 | {100 * np.mean(first):.1f} ± {spread:.1f} |" in text
    assert f"± 0.0 ({100 * (np.mean(second) - np.mean(first)):+.1f})" in text
    rows = list(csv.DictReader((tmp_path / "ablation.csv").open(encoding="utf-8")))
    assert len(rows) == 4
    assert float(rows[1]["zero_shot_uar"]) == pytest.approx(first[1], abs=1e-6)
    with pytest.raises(RunError, match="no runs to compare"):
        ablation.summarise({"global": []}, test_folder, train_folder)
