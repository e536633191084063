"""The command line: help, exit codes, plain lines for bad input; mostly in process."""

import subprocess
import sys
from pathlib import Path

import pytest

from bad_recipes import BAD_RECIPES
from data.bad_shards import BAD_SHARDS, write_good
from mien import cli

COMMANDS = [
    ["train"],
    ["evaluate"],
    ["export"],
    ["import"],
    ["mine"],
    ["predict"],
    ["sweep"],
    ["doctor"],
    ["data", "synth"],
    ["data", "pack"],
    ["data", "index"],
    ["data", "check"],
    ["data", "split"],
    ["data", "pack-benchmark"],
    ["data", "benchmark-sample"],
]


@pytest.fixture
def mien(monkeypatch, capsys):
    """Run `mien ARGS` in this process: (exit code, stdout, stderr)."""

    def run(*args):
        monkeypatch.setattr(sys, "argv", ["mien", *map(str, args)])
        with pytest.raises(SystemExit) as left:
            cli.main()
        out, err = capsys.readouterr()
        code = left.value.code
        return (0 if code is None else code), out, err

    return run


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_help_shows_an_example(mien, command):
    code, out, _ = mien(*command, "--help")
    assert code == 0
    assert f"Example: mien {' '.join(command)}" in " ".join(out.split())


def test_a_benchmark_is_sampled_checked_and_packed(mien, tmp_path):
    assert mien("data", "benchmark-sample", "raf-db", tmp_path / "raf", "--each", 2, "--size", 32)[0] == 0
    code, out, _ = mien("data", "check", tmp_path / "raf", "--benchmark", "raf-db")
    assert code == 0
    assert "RAF-DB, 14 items" in out
    assert "test: 7; surprise 1, fear 1" in out
    assert mien("data", "pack-benchmark", "raf-db", tmp_path / "raf", tmp_path / "set")[0] == 0
    assert mien("data", "check", tmp_path / "set")[0] == 0
    code, _, err = mien("data", "check", tmp_path, "--benchmark", "raf-db")
    assert (
        code,
        err.splitlines()[0].endswith("lacks basic/EmoLabel/list_patition_label.txt; expected:"),
    ) == (2, True)


def test_module_and_console_script_are_the_same():
    calls = [[sys.executable, "-m", "mien"], [str(Path(sys.executable).with_name("mien"))]]
    results = [
        [
            subprocess.run([*call, *args], capture_output=True, text=True, timeout=120, check=False)
            for args in (["--version"], ["--help"], ["train", "no/such"])
        ]
        for call in calls
    ]
    for one, other in zip(*results):
        assert (one.returncode, one.stdout, one.stderr) == (other.returncode, other.stdout, other.stderr)
    assert [r.returncode for r in results[0]] == [0, 0, 2]


@pytest.mark.parametrize("kind", BAD_RECIPES)
def test_bad_recipe_gives_one_line_and_exit_code_2(mien, kind, tmp_path):
    bad = BAD_RECIPES[kind]
    path = tmp_path / "recipe.yaml"
    if bad.text is not None:
        path.write_bytes(bad.text if isinstance(bad.text, bytes) else bad.text.encode())
    before = sorted(tmp_path.iterdir())
    code, out, err = mien("train", path, *bad.overrides, f"run.root={tmp_path / 'runs'}")
    assert code == 2
    assert out == ""
    assert len(err.strip().splitlines()) == 1, err
    assert all(word in err for word in bad.words), err
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.parametrize("kind", BAD_SHARDS)
def test_bad_shard_gives_one_line_and_exit_code_2(mien, kind, tmp_path):
    folder = tmp_path / "set"
    write_good(folder)
    assert mien("data", "check", folder)[0] == 0
    BAD_SHARDS[kind](folder)
    code, out, err = mien("data", "check", folder)
    assert code == 2
    assert len((out + err).strip().splitlines()) == 1, out + err


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (["data", "synth", "--kind", "emocup", "--people", 1, "--images", 1, "OUT"], "unknown kind 'emocup'"),
        (["data", "synth", "--people", 0, "--images", 1, "OUT"], "people"),
        (["data", "synth", "--people", 1, "--images", 1, "--style", "noir", "OUT"], "unknown style"),
        (["data", "synth", "--people", 1, "--images", 1, "--rig", "nowhere", "OUT"], "nowhere"),
        (["data", "pack", "nowhere", "OUT", "--labels", "labels.csv"], "nowhere"),
        (["data", "index", "nowhere"], "nowhere"),
        (["data", "split", "nowhere", "OUT"], "nowhere"),
        (["data", "split", "nowhere", "OUT", "--parts", "train:0.8"], "is not a part"),
        (["evaluate", "nowhere", "--test", "nowhere"], "not a run folder"),
        (["evaluate", "nowhere", "--test", "nowhere", "--protocol", "zero"], "unknown protocol"),
        (["export", "nowhere", "OUT"], "not a run folder"),
        (["predict", "nowhere", "face.png"], "not a run folder"),
        (["export", "nowhere", "OUT", "--to", "tflite"], "unknown format"),
    ],
)
def test_bad_arguments_give_one_line_and_leave_nothing(mien, args, words, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, out, err = mien(*args)
    assert code == 2
    assert out == ""
    assert len(err.strip().splitlines()) == 1, err
    assert words in err
    assert list(tmp_path.iterdir()) == []


def test_show_prints_a_recipe_that_loads_again(mien, tmp_path):
    from mien import recipe

    code, out, _ = mien("train", "emocapclip/tiny", "seed=4", "--show")
    assert code == 0
    (tmp_path / "again.yaml").write_text(out, encoding="utf-8")
    loaded = recipe.load_resolved(tmp_path / "again.yaml")
    assert loaded == recipe.load("emocapclip/tiny", ["seed=4"])
    assert loaded.hash in out


def test_doctor_passes_here(mien):
    code, out, _ = mien("doctor")
    assert code == 0
    assert "torch" in out
    assert "missing" not in out
