"""What the report on mining says, against loops on a small set whose action units are known."""

from __future__ import annotations

import io
import json
import sys

import numpy as np
import pytest
import torch
from PIL import Image

from mien import cli
from mien import recipe as recipes
from mien.data import neighbours
from mien.data.reader import ShardSet
from mien.data.writer import ShardWriter
from mien.engine import run as train
from mien.evaluation.mined import (
    batch_share,
    lists_of,
    measure_rules,
    random_lists,
    rows_of,
    strengths,
)
from mien.evaluation.mined_page import pick_anchors, write_report
from mien.systems.emocapclip.config import MiningConfig
from mien.systems.emocapclip.whole_set import Embedded

SIZE = 60
LABELS = ("anger", "happiness", "neutral")
UNITS = {"anger": {"4": [0.8, 0.6]}, "happiness": {"12": [0.5, 0.9], "6": [0.4, 0.4]}, "neutral": {}}


@pytest.fixture(scope="module")
def shards(tmp_path_factory):
    out = tmp_path_factory.mktemp("mined") / "set"
    rng = np.random.default_rng(0)
    with ShardWriter(out, "emocap/1", 20) as writer:
        for number in range(SIZE):
            label = LABELS[number % 3]
            shade = {"anger": (200, 40, 40), "happiness": (40, 200, 40), "neutral": (40, 40, 200)}[label]
            picture = np.clip(np.array(shade) + rng.integers(-30, 30, (32, 32, 3)), 0, 255).astype(np.uint8)
            buffer = io.BytesIO()
            Image.fromarray(picture).save(buffer, "PNG")
            record = {
                "uid": number + 1, "label": label, "group": f"p{number // 5}", "movie": number // 10,
                "shot": number // 5, "au": UNITS[label], "global": f"a face of {label}",
                "summary": f"it shows {label} {number}", "locals": [],
            }  # fmt: skip
            writer.write(f"{number:03d}", {"png": buffer.getvalue(), "json": json.dumps(record).encode()})
    return ShardSet(out)


@pytest.fixture(scope="module")
def run(shards, tmp_path_factory):
    root = tmp_path_factory.mktemp("runs")
    keys = [
        "model.image_size=32", "model.tiny.widths=[8,8,16,16]", "model.tiny.embed=12",
        "model.tiny.vocabulary_width=8", "model.tiny.text_width=16", "model.tiny.text_heads=2",
        "model.tiny.text_layers=1", "engine.threads=1",
        f"data.train.shards={shards.folder}", "data.val=null", f"run.root={root}", "engine.max_steps=2",
        "engine.global_batch=12", "data.workers=0", "tracking.wandb=off", "engine.schedule.warmup=0",
    ]  # fmt: skip
    return train(recipes.load("emocapclip/tiny", keys))


@pytest.fixture(scope="module")
def embedded():
    """Vectors that hold the class, as a perfect encoder's would; sample 7 is damaged."""
    rng = torch.Generator().manual_seed(0)
    label = torch.arange(SIZE) % 3
    rows = [
        torch.nn.functional.normalize(torch.eye(3)[label] + 0.2 * torch.randn(SIZE, 3, generator=rng), dim=1)
        for _ in range(2)
    ]
    valid = torch.arange(SIZE) != 7
    return Embedded(rows[0], rows[1], valid, torch.arange(SIZE), torch.arange(SIZE) // 5)


@pytest.fixture(scope="module")
def report(embedded, shards):
    recipe = recipes.load("emocapclip/tiny", ["engine.global_batch=12"])
    return measure_rules(
        embedded, MiningConfig(rule="consensus", k=4, threshold=0.5), shards, recipe, {"run": "r"}
    )


def by_rule(report):
    return {one.rule: one for one in report.rules}


def test_distances_take_the_stronger_side():
    values = strengths([{"au": UNITS["anger"]}, {"au": UNITS["happiness"]}, {}])
    assert values == pytest.approx(np.array([[0.8, 0, 0], [0, 0.4, 0.9], [0, 0, 0]]))
    assert strengths([{}, {"au": {}}]) is None


def test_a_perfect_encoder_mines_the_class(report):
    rules = by_rule(report)
    for name in ("image", "text", "consensus", "swap", "union"):
        assert rules[name].same_label == 1
        assert rules[name].distance.value == 0
        assert rules[name].near.value == 1
    assert 0.15 < rules["random"].same_label < 0.5
    assert rules["random"].distance.low > 0.5


def test_shares_equal_those_counted_in_loops(report, embedded, shards):
    records = [shards.read(index).record for index in range(SIZE)]
    values = strengths(records)
    for one in report.rules:
        pairs = [(i, int(j)) for i in range(SIZE) for j in one.lists[i] if j >= 0]
        assert all(i != 7 and j != 7 and i // 5 != j // 5 for i, j in pairs)  # damaged, and of one shot
        assert one.mean == pytest.approx(len(pairs) / (SIZE - 1))
        assert one.rows == pytest.approx(len({i for i, _ in pairs}) / (SIZE - 1))
        assert one.same_movie == pytest.approx(np.mean([i // 10 == j // 10 for i, j in pairs]))
        assert one.same_person == 0
        assert one.distance.value == pytest.approx(
            np.mean([abs(values[i] - values[j]).sum() for i, j in pairs]), abs=1e-6
        )


def test_random_pairs_are_of_other_samples_and_differ(embedded):
    lists = random_lists(embedded, 4, 0)
    for row, found in enumerate(lists.tolist()):
        real = [j for j in found if j >= 0]
        assert len(set(real)) == len(real) == (0 if row == 7 else 4)
        assert row not in real
    assert not np.array_equal(lists, random_lists(embedded, 4, 1))


def test_samples_meet_in_a_batch_as_counted_in_loops(report):
    rng = np.random.default_rng(3)
    order, lists = rng.permutation(SIZE), by_rule(report)["random"].lists
    batches = [set(order[start : start + 12].tolist()) for start in range(0, SIZE, 12)]
    meets = [any(i in b and int(j) in b for b in batches for j in lists[i] if j >= 0) for i in range(SIZE)]
    assert batch_share(order, lists, 12, np.ones(SIZE, bool)) == pytest.approx(np.mean(meets))
    one = by_rule(report)["consensus"]
    assert one.batch_together > one.batch_plain


def test_swap_names_each_sample_once(report):
    for found in by_rule(report)["swap"].lists.tolist():
        real = [j for j in found if j >= 0]
        assert len(set(real)) == len(real)


def test_anchors_are_of_all_classes_and_of_other_people(report):
    anchors = pick_anchors(report)
    assert {report.records[i]["label"] for i in anchors} == set(LABELS)
    people = [report.records[i]["group"] for i in anchors]
    assert len(set(people)) == len(people) == 8


def test_the_folder_has_a_page_a_sheet_a_rule_and_the_numbers(report, shards, tmp_path):
    write_report(report, shards, tmp_path / "out")
    page = (tmp_path / "out" / "report.html").read_text()
    assert page.count("data:image/png;base64,") == 6
    assert "http" not in page
    for row in rows_of(report):
        assert all(cell in page for cell in row.values())
    told = json.loads((tmp_path / "out" / "mined.json").read_text())
    assert [one["rule"] for one in told["rules"]] == [one.rule for one in report.rules]
    assert told["rules"][3]["distance"]["value"] == 0
    sheet = np.asarray(Image.open(tmp_path / "out" / "consensus.png"))
    assert sheet.std() > 20
    assert not np.array_equal(sheet, np.asarray(Image.open(tmp_path / "out" / "random.png")))


def test_a_set_without_units_has_shares_and_no_distance(embedded, shards, monkeypatch):
    monkeypatch.setattr("mien.evaluation.mined.strengths", lambda records: None)
    recipe = recipes.load("emocapclip/tiny", ["engine.global_batch=12"])
    found = measure_rules(embedded, MiningConfig(rule="text", threshold=0.5), shards, recipe, {})
    assert all(row["AU distance"] == "-" for row in rows_of(found))
    assert by_rule(found)["text"].same_label == 1


def command(monkeypatch, capsys, *args):
    monkeypatch.setattr(sys, "argv", ["mien", "mine", *map(str, args)])
    with pytest.raises(SystemExit) as left:
        cli.main()
    out, err = capsys.readouterr()
    return left.value.code or 0, out, err


def test_the_command_writes_a_table_that_fits_the_set(run, shards, tmp_path, monkeypatch, capsys):
    files = []
    for name, more in (("a", ()), ("b", ()), ("c", ("--rule", "swap"))):
        files.append(tmp_path / name)
        arguments = (
            run,
            shards.folder,
            files[-1],
            "--threshold",
            0.5,
            "--report",
            tmp_path / f"r{name}",
            *more,
        )
        code, out, err = command(monkeypatch, capsys, *arguments)
        assert code == 0, err
        assert "| consensus |" in out
        assert (tmp_path / f"r{name}" / "report.html").is_file()
    tables = [neighbours.load(file) for file in files]
    tables[0].check(shards.sha, len(shards), files[0])
    assert tables[0].facts["step"] == 2
    assert files[0].read_bytes() == files[1].read_bytes()  # the same again, to the byte
    assert tables[2].ab is not tables[2].ba
    assert (lists_of(tables[2]) >= 0).sum() > (lists_of(tables[0]) >= 0).sum() > 0


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((), "nothing to write"),
        (("out", "--rule", "consent"), "--rule: Input should be 'swap'"),
        (("out", "--k", "0"), "--k: Input should be greater"),
        (("file", "--report", "."), "give a folder that is empty"),
    ],
)
def test_bad_input_is_one_line(run, shards, tmp_path, monkeypatch, capsys, arguments, words):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "used").write_text("")
    code, _, err = command(monkeypatch, capsys, run, shards.folder, *arguments)
    assert (code, len(err.strip().splitlines())) == (2, 1)
    assert words in err
