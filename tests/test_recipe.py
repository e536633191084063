"""Loading, inheriting, overriding, checking and freezing recipes."""

import ast
import os
from pathlib import Path

import pytest
import yaml

from mien import recipe
from mien.errors import RecipeError
from mien.recipe import RECIPES

SHIPPED = recipe.shipped()


def write(folder: Path, name: str, **tree) -> Path:
    path = folder / f"{name}.yaml"
    path.write_text(yaml.safe_dump(tree), encoding="utf-8")
    return path


@pytest.fixture
def small(tmp_path):
    return write(
        tmp_path,
        "small",
        system="emocapclip",
        engine={"max_steps": 4, "global_batch": 8},
        model={"tower": "tiny"},
    )


@pytest.mark.parametrize("name", SHIPPED)
def test_every_shipped_recipe_is_valid(name):
    assert recipe.load(name).name == name


def test_inheritance_goes_defaults_base_file_overrides(tmp_path, small):
    write(tmp_path, "middle", base="small.yaml", seed=3, engine={"max_steps": 5, "ema": 0.9})
    top = write(tmp_path, "top", base="middle.yaml", engine={"max_steps": 6})
    loaded = recipe.load(top, ["engine.clip=null", "engine.optimizer.lr=1e-4", "tracking.tags=[a, b]"])
    assert (loaded.seed, loaded.engine.max_steps, loaded.engine.ema, loaded.engine.global_batch) == (
        3,
        6,
        0.9,
        8,
    )
    assert (loaded.engine.clip, loaded.engine.optimizer.lr) == (None, 1e-4)
    assert loaded.engine.log_every == 10
    assert loaded.tracking.tags == ("a", "b")
    assert loaded.name == f"{tmp_path.name}/top"


def test_a_name_finds_the_recipe_of_the_checkout(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    by_name, by_path = recipe.load("emocapclip/tiny"), recipe.load(RECIPES / "emocapclip" / "tiny.yaml")
    assert by_name == by_path


def test_saved_recipe_reads_back_equal(tmp_path, small):
    loaded = recipe.load(small, ["seed=5", "engine.optimizer.betas=[0.8, 0.9]"])
    recipe.save(loaded, tmp_path / "recipe.yaml")
    again = recipe.load_resolved(tmp_path / "recipe.yaml")
    assert again == loaded
    assert again.hash == loaded.hash


def test_hash_follows_what_shapes_the_result_only(small):
    first = recipe.load(small).hash
    assert recipe.load(small, ["run.root=elsewhere", "tracking.project=other"]).hash == first
    assert recipe.load(small, ["seed=1"]).hash != first
    assert recipe.load(small, ["engine.optimizer.lr=0.5"]).hash != first


def test_hash_does_not_depend_on_how_the_recipe_is_written(tmp_path, small):
    other = tmp_path / "other"
    other.mkdir()
    spelled = write(
        other, "small",
        system="emocapclip", seed=0, model={"tower": "tiny"},
        engine={"global_batch": 8, "max_steps": 4, "log_every": 10},
    )  # fmt: skip
    again = recipe.load(spelled)
    assert again.dump() | {"name": ""} == recipe.load(small).dump() | {"name": ""}


def test_interpolation_reaches_other_keys(tmp_path):
    path = write(
        tmp_path, "i", system="emocapclip", seed=7, model={"tower": "tiny"},
        engine={"max_steps": 40, "global_batch": 8, "schedule": {"warmup": "${seed}"}},
    )  # fmt: skip
    assert recipe.load(path).engine.schedule.warmup == 7


def test_frozen():
    loaded = recipe.load("emocapclip/tiny")
    with pytest.raises(Exception, match="frozen"):
        loaded.seed = 1
    with pytest.raises(Exception, match="frozen"):
        loaded.engine.max_steps = 1


def test_all_problems_at_once_with_origin_and_nearest_key(tmp_path, small):
    bad = write(
        tmp_path, "bad", base="small.yaml", sed=1, model={"towr": "tiny"},
        engine={"max_step": 3, "devices": "many", "global_batch": "twelve"},
    )  # fmt: skip
    with pytest.raises(RecipeError) as caught:
        recipe.load(bad, ["engine.ema=2"])
    lines = str(caught.value).splitlines()
    assert len(lines) == 6
    text = "\n".join(lines)
    assert f"{bad}: engine.max_step: unknown key; did you mean 'engine.max_steps'?" in lines
    assert f"{bad}: model.towr: unknown key; did you mean 'model.tower'?" in lines
    assert f"{bad}: sed: unknown key; did you mean 'seed'?" in lines
    assert "the command line: engine.ema: should be less than 1, not 2" in lines
    assert "engine.devices" in text
    assert "engine.global_batch" in text


def test_a_problem_inherited_from_the_base_names_the_base(tmp_path):
    base = write(tmp_path, "base", system="emocapclip", engine={"max_steps": 0, "global_batch": 8})
    top = write(tmp_path, "top", base="base.yaml", seed=2)
    with pytest.raises(RecipeError, match=r"base\.yaml: engine.max_steps"):
        recipe.load(top)
    assert base.is_file()


def test_nothing_is_created(tmp_path, small, monkeypatch):
    monkeypatch.chdir(tmp_path)
    before = sorted(os.listdir(tmp_path))
    recipe.load(small)
    with pytest.raises(RecipeError):
        recipe.load(small, ["engine.max_steps=0"])
    assert sorted(os.listdir(tmp_path)) == before


def test_recipes_are_built_without_reading_source(small, monkeypatch):
    # Threads that build recipes at once would parse at once, and Python 3.11 answers that with a SystemError.
    wanted = recipe.load(small)
    parsed = []
    with monkeypatch.context() as patch:
        patch.setattr(ast, "parse", parsed.append)
        built = recipe.load(small)
    assert (built, parsed) == (wanted, [])
