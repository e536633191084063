"""`mien import` and `mien export --to diffusers`: a release becomes a run and a run a release, to the bit."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import UNet2DConditionModel
from safetensors.torch import load_file, save_file

from editing_releases import SMALL, autoencoder, prompt_file, published, small_recipe
from mien import cli
from mien import recipe as recipes
from mien.engine import given, resume
from mien.engine.rundir import RunFolder
from mien.engine.runs import find
from mien.errors import MienError, RunError
from mien.export import export
from mien.systems.editing.config import ConditionConfig
from mien.systems.editing.face import Face
from mien.systems.editing.importing import Beside, import_release
from mien.systems.editing.model import Editor
from mien.systems.editing.noise import Guidance
from mien.systems.editing.released import FILES, RELEASES, read_release
from mien.systems.editing.sampler import SampleConfig
from mien.systems.editing.start import start_from
from mien.systems.magicface.config import MagicFaceModel
from mien.systems.magicface.load import MagicFace, load
from mien.systems.magicface.model import build
from mien.systems.weights import state_for_export


@pytest.fixture
def here(tmp_path: Path) -> Path:
    """A release, an autoencoder, a prompt and a recipe."""
    published("magicface", tmp_path / "release")
    autoencoder(tmp_path / "vae")
    prompt_file(tmp_path / "prompt.safetensors")
    small_recipe(tmp_path / "small.yaml")
    return tmp_path


@pytest.fixture
def one_thread() -> Iterator[None]:
    """Networks as small as these wait for threads longer than they compute."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def imported(here: Path, vae: bool = True, **more: object) -> RunFolder:
    beside = Beside(here / "vae" if vae else None, here / "prompt.safetensors")
    options = {"recipe": str(here / "small.yaml")} | more
    return import_release("magicface", here / "release", here / "runs", beside, **options)  # type: ignore[arg-type]


def face() -> Face:
    draw = np.random.default_rng(0)
    picture = draw.integers(0, 256, (32, 32, 3), dtype=np.uint8)
    jaw = np.stack([np.linspace(4, 28, 17), np.full(17, 24.0)], 1)
    return Face(picture, draw.integers(0, 19, (32, 32), dtype=np.uint8), jaw, jaw)


@pytest.mark.usefixtures("one_thread")
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16], ids=["fp32", "fp16"])
def test_a_release_becomes_a_run_that_edits_alike(here: Path, dtype: torch.dtype) -> None:
    published("magicface", here / "other", dtype)
    beside = Beside(here / "vae", here / "prompt.safetensors")
    run = import_release("magicface", here / "other", here / "runs", beside, recipe=str(here / "small.yaml"))
    prompt = load_file(here / "prompt.safetensors")["prompt"].clone()
    (here / "prompt.safetensors").unlink()  # the checkpoint holds it
    editor = load(run.path, device=torch.device("cpu"))

    states, _ = read_release("magicface", here / "other", SMALL)
    plain = Editor(SMALL, RELEASES["magicface"].condition, prompt).eval()
    plain.identity.load_state_dict(states["identity"])
    plain.denoiser.load_state_dict(states["denoiser"])
    before = MagicFace(plain, editor.config, run.recipe.objective, torch.device("cpu"))  # type: ignore[arg-type]
    vectors = torch.zeros(2, 12)
    vectors[1, 6] = 3
    config = SampleConfig(steps=2, guidance=Guidance(scale=1.5))
    made = editor.edit(face(), vectors, config)
    assert made.shape == (2, 3, 32, 32)
    assert torch.equal(made, before.edit(face(), vectors, config))
    assert not torch.equal(made[0], made[1])


def test_the_run_says_what_it_was_made_of(here: Path) -> None:
    told: list[str] = []
    run = imported(here, progress=told.append)
    info, recipe = run.info, run.recipe
    assert RunFolder.open(run.path).checkpoint().step == 0
    assert (info["state"], recipe.name) == ("imported", "magicface/imported")
    assert (recipe.data.train, recipe.engine.ema) == (None, None)
    files = info["imported"]["files"]
    assert sorted(files) == ["denoiser", "identity", "prompt", "vae"]
    assert files["identity"]["file"] == f"ID_enc/{FILES[0]}"
    assert len(files["identity"]["sha256"]) == 64
    assert str(here) not in json.dumps(info["imported"])  # it goes into exports
    assert [summary.state for summary in find(here / "runs", "imported")] == ["imported"]
    assert "prompt: 5 states of width 32" in told
    assert told[-1] == f"writing {run.path}"


def test_an_export_loads_in_diffusers_and_comes_back_to_the_bit(here: Path) -> None:
    run = imported(here)
    out = here / "out" / "named"
    export(run.path, out, to="diffusers")
    state = state_for_export(run)
    for part, place in (("identity", "ID_enc"), ("denoiser", "denoising_unet")):
        theirs = UNet2DConditionModel.from_pretrained(out / place, use_safetensors=True).state_dict()
        own = {name.removeprefix(f"{part}."): v for name, v in state.items() if name.startswith(part)}
        assert all(torch.equal(theirs[name], value) for name, value in own.items())
        assert len(theirs) - len(own) == (26 if part == "identity" else 0)
    card = (out / "README.md").read_text()
    assert "SHA" not in card
    assert run.info["imported"]["files"]["denoiser"]["sha256"] in card
    assert "this run trained nothing" in card
    assert str(here) not in card + (out / "export.json").read_text()
    # The export brings its prompt along, so none has to be given.
    again = import_release("magicface", out, here / "again", Beside(), recipe=str(here / "small.yaml"))
    back = state_for_export(again)
    assert back.keys() == state.keys()
    assert all(torch.equal(back[name], value) for name, value in state.items())
    export(again.path, here / "again.safetensors")
    assert load_file(here / "again.safetensors").keys() == state.keys()
    with pytest.raises(RunError, match="knows latents alone"):
        load(again.path)


def test_training_starts_from_it_but_does_not_go_on_with_it(here: Path) -> None:
    run = imported(here)
    state = state_for_export(run)
    editor = Editor(SMALL, RELEASES["magicface"].condition, torch.zeros(1, 5, 32))
    start_from(editor, str(run.path), "magicface", SMALL)
    assert all(torch.equal(value, state[name]) for name, value in editor.state_dict().items())
    with pytest.raises(RunError, match="no training to go on with"):
        resume.check(run, run.recipe, "")


def left(here: Path) -> list[Path]:
    """Files below the run root."""
    return [path for path in (here / "runs").rglob("*") if path.is_file()]


def test_nothing_half_written_stays(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(given.RunFolder, "register", full)
        with pytest.raises(RunError, match="cannot be written: No space left"):
            imported(here)
    assert left(here) == []
    assert not list((here / "runs").rglob("*.tmp"))
    run = imported(here)
    before = left(here)
    with pytest.raises(RunError, match="exists already, made of the same weights"):
        imported(here)
    assert left(here) == before
    assert imported(here, vae=False).path != run.path


def spoil(here: Path, how: str) -> None:
    file = here / "release" / "denoising_unet" / FILES[0]
    state = {name: value.clone() for name, value in load_file(file).items()}  # not the mapped file
    if how == "shape":
        save_file(state | {"conv_in.weight": torch.zeros(32, 4, 3, 3)}, file)
    elif how == "pickle":
        torch.save(state, file)
    elif how == "absent":
        file.unlink()
    elif how == "prompt":
        prompt_file(here / "prompt.safetensors", 16)
    elif how == "vae":
        autoencoder(here / "vae", channels=3)


@pytest.mark.parametrize(
    ("how", "told"),
    [
        ("shape", r"first conv_in.weight \[32, 4, 3, 3\] in place of \[32, 8, 3, 3\]"),
        ("pickle", "not a safetensors file"),
        ("absent", "a UNet of the release is missing"),
        ("prompt", r"`prompt` is \[1, 5, 16\]"),
        ("vae", "makes 3 channels, the networks take 4"),
    ],
)
def test_what_does_not_fit_is_refused(here: Path, how: str, told: str) -> None:
    spoil(here, how)
    with pytest.raises(MienError, match=told):
        imported(here)
    assert left(here) == []


@pytest.fixture
def mien(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    """Run `mien ARGS` in this process: (exit code, stdout, stderr)."""

    def run(*args: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["mien", *map(str, args)])
        with pytest.raises(SystemExit) as stopped:
            cli.main()
        out, err = capsys.readouterr()
        return int(stopped.value.code or 0), out, err

    return run


def test_the_command(here: Path, mien) -> None:
    common = ("--out", here / "runs", "--recipe", here / "small.yaml")
    given_ = ("--prompt", here / "prompt.safetensors")
    code, out, err = mien("import", "magicface", here / "release", *common, *given_)
    assert code == 0
    run = Path(out.strip().splitlines()[-1])
    assert "no autoencoder: this run cannot edit photographs" in err
    assert mien("export", run, "--to", "diffusers", here / "out")[0] == 0
    for arguments, told in (
        ((here / "release", *common), "the states of the prompt are missing"),
        ((here / "nowhere", *common, *given_), "no such folder"),
        ((here / "release", *common, *given_, "--no-prompt"), "goes with no --prompt"),
        ((here / "release", *common, *given_, "--vae", here), "no autoencoder here"),
        ((here / "release", *common[:2], "--recipe", "emocapclip/tiny", *given_), "a recipe of emocapclip"),
        ((here / "release", *common[:2], "--recipe", "magicface/tiny", "--no-prompt", "--vae", here),
         "the recipe's codec is cosines"),
    ):  # fmt: skip
        code, out, err = mien("import", "magicface", *arguments)
        assert (code, out) == (2, ""), err
        assert told in err
    assert "one of: magicface" in mien("import", "emocapclip", here / "release")[2]
    code, out, _ = mien("import", "magicface", here / "release", *common, "--no-prompt")
    assert code == 0
    assert RunFolder.open(out.strip()).recipe.model.prompt is None  # type: ignore[attr-defined]


def test_edits_told_in_another_way_have_no_released_form(here: Path) -> None:
    condition = "model.condition={width: 12, injection: pad}"
    recipe = recipes.load(here / "small.yaml", [f"run.root={here / 'runs'}", condition])
    editor = Editor(SMALL, ConditionConfig(width=12, injection="pad"), torch.zeros(1, 1, 32))
    weights = {f"model.{name}": value for name, value in editor.state_dict().items()}
    run = given.make(recipe, "padded", weights, {})
    with pytest.raises(RunError, match="injection pad has no form in diffusers"):
        export(run.path, here / "out", to="diffusers")
    assert not (here / "out").exists()
    with pytest.raises(MienError, match="releases take 12 numbers by a linear layer"):
        imported(here, recipe=str(run.path / "recipe.yaml"))


def test_a_denoiser_of_differences_comes_back_and_is_not_mistaken(here: Path) -> None:
    recipe = recipes.load(small_recipe(here / "small.yaml"), [f"run.root={here / 'own'}", "engine.ema=null"])
    own = recipes.change(recipe, ["model.unet.residual=true", "objective.noise.prediction=sample"], "test")
    sizes = SMALL.model_copy(update={"residual": True})
    editor = Editor(sizes, ConditionConfig(width=12), torch.zeros(1, 1, 32))
    torch.nn.init.normal_(editor.denoiser.conv_out.weight)
    run = given.make(own, "own", {f"model.{name}": value for name, value in editor.state_dict().items()}, {})
    out = here / "differences"
    export(run.path, out, to="diffusers")
    with pytest.raises(RunError, match=r"what differs from the photo; set model.unet.residual=true"):
        import_release("magicface", out, here / "wrong", Beside(), recipe=str(here / "small.yaml"))
    assert not (here / "wrong").exists()
    assert isinstance(own.model, MagicFaceModel)
    start = own.model.model_copy(update={"init_from": str(out)})
    assert torch.equal(build(start).denoiser.conv_out.weight, editor.denoiser.conv_out.weight)
    plain = start.model_copy(update={"unet": start.unet.model_copy(update={"residual": False})})
    with pytest.raises(RunError, match=r"model.unet.residual=true"):
        build(plain)
    again = import_release("magicface", out, here / "again", Beside(), recipe=str(run.path / "recipe.yaml"))
    found = state_for_export(again)["denoiser.conv_out.weight"]
    assert torch.equal(found, editor.denoiser.conv_out.weight)
