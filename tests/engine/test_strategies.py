"""DDP, FSDP2 and ZeRO give one curve, and take up each other's checkpoints."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from safetensors.torch import load_file

from mien import export
from mien.engine.rundir import RunFolder

from .processes import ranks
from .runs import metrics, only_run, overrides, samples, state

STEPS = 50
QUIET = ("engine.optimizer.lr=5e-5", "engine.schedule.kind=constant", "engine.schedule.warmup=1")
"""A rate at which float32 rounding does not grow (see test_ranks.py), the same for a run of any length."""
ZERO = "engine.strategy=deepspeed"
LAYOUTS = {
    "ddp": (),
    "fsdp2": ("engine.strategy=fsdp2",),
    "zero1": (ZERO, "engine.zero.stage=1"),
    "zero2": (ZERO,),
    "zero3": (ZERO, "engine.zero.stage=3"),
    "zero2-offload": (ZERO, "engine.zero.offload=true"),
    "zero3-offload": (ZERO, "engine.zero.stage=3", "engine.zero.offload=true"),
}


def run(sets: dict[str, Path], root: Path, world: int, *keys: str, resume: bool = False) -> RunFolder:
    root.mkdir(parents=True, exist_ok=True)
    for session in ranks(world, overrides(sets, root, *QUIET, *keys), root, resume=resume):
        assert session.wait() == 0, session.said()
    return only_run(root)


def curve(folder: RunFolder) -> list[float]:
    return [row["train/loss"] for row in metrics(folder) if "train/loss" in row]


@pytest.fixture(scope="module")
def alone(sets: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """One process for 50 steps."""
    root = tmp_path_factory.mktemp("alone")
    return run(sets, root, 1, f"engine.max_steps={STEPS}", "engine.checkpoint_every=1000")


@pytest.fixture(scope="module")
def zero3(sets: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """Two processes under ZeRO-3."""
    length = (f"engine.max_steps={STEPS}", "engine.checkpoint_every=1000")
    return run(sets, tmp_path_factory.mktemp("zero3"), 2, *length, *LAYOUTS["zero3"])


@pytest.mark.parametrize("layout", [name for name in LAYOUTS if name != "ddp"])
def test_fifty_steps_are_those_of_one_process(
    sets: dict[str, Path], alone: RunFolder, zero3: RunFolder, tmp_path: Path, layout: str
) -> None:
    length = (f"engine.max_steps={STEPS}", "engine.checkpoint_every=1000")
    two = zero3 if layout == "zero3" else run(sets, tmp_path, 2, *length, *LAYOUTS[layout])
    assert samples(two) == samples(alone)
    for one, other in zip(metrics(alone), metrics(two), strict=True):
        for name in {"train/loss", "train/grad_norm", "val/loss"} & one.keys():
            assert other[name] == pytest.approx(one[name], rel=1e-5), (one["step"], name)
    one, other = state(alone), state(two)
    for part in ("state_dict", "ema", "exp_avg"):
        assert other[part].keys() == one[part].keys()
        for name, tensor in one[part].items():
            assert (other[part][name] - tensor).nan_to_num().abs().max() < 1e-4, (part, name)
    assert other["adam_steps"] == one["adam_steps"]


CHAIN = [
    ("ddp", 1),
    ("zero2", 2),
    ("fsdp2", 4),
    ("ddp", 2),
    ("zero3", 2),
    ("fsdp2", 1),
    ("zero2", 4),
    ("ddp", 1),
]
LEG = 6


def test_a_run_wanders_through_all_layouts(sets: dict[str, Path], alone: RunFolder, tmp_path: Path) -> None:
    """Each leg continues what another strategy and number of processes wrote."""
    for number, (layout, world) in enumerate(CHAIN, 1):
        length = (f"engine.max_steps={number * LEG}", f"engine.checkpoint_every={LEG}")
        keys = (*length, "data.val=null", *LAYOUTS[layout])
        folder = run(sets, tmp_path, world, *keys, resume=number > 1)
    steps = len(CHAIN) * LEG
    assert samples(folder) == [row for row in samples(alone) if row[0] <= steps]
    assert curve(folder) == pytest.approx(curve(alone)[:steps], rel=1e-5)
    assert len(folder.info["sessions"]) == len(CHAIN)
    parts = {path.name for path in folder.checkpoint(str(steps - LEG)).path.glob("part-*")}
    assert parts == {f"part-0000{rank}-of-00004.safetensors" for rank in range(4)}  # ZeRO-2 on four


def test_a_sharded_checkpoint_exports_the_same_weights(
    alone: RunFolder, zero3: RunFolder, tmp_path: Path
) -> None:
    files: list[Path] = []
    for folder in (alone, zero3):
        files.append(tmp_path / f"{len(files)}.safetensors")
        export.export(folder.path, files[-1])
    one, other = (load_file(file) for file in files)
    assert one.keys() == other.keys()
    for name, tensor in one.items():
        assert (other[name] - tensor).nan_to_num().abs().max() < 1e-4, name


def poisoned(sets: dict[str, Path], root: Path, world: int, layout: str) -> RunFolder:
    """Twelve steps, two of them not finite on the last rank."""
    root.mkdir(exist_ok=True)
    keys = overrides(sets, root, "engine.max_steps=12", *QUIET, *LAYOUTS[layout])
    for session in ranks(world, keys, root, poison={world - 1: (4, 8)}):
        assert session.wait() == 0, session.said()
    folder = only_run(root)
    entries = [json.loads(line) for line in (folder.path / "nonfinite.jsonl").read_text().splitlines()]
    assert [entry["step"] for entry in entries] == [4, 8]
    return folder


@pytest.fixture(scope="module")
def skipping(sets: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """One process that skips."""
    return poisoned(sets, tmp_path_factory.mktemp("skipping"), 1, "ddp")


@pytest.mark.parametrize("layout", ["fsdp2", "zero1", "zero2", "zero3", "zero2-offload"])
def test_a_step_that_is_not_finite_is_skipped(
    sets: dict[str, Path], skipping: RunFolder, tmp_path: Path, layout: str
) -> None:
    assert curve(poisoned(sets, tmp_path, 2, layout)) == pytest.approx(curve(skipping), rel=1e-5)


@pytest.mark.parametrize(
    ("precision", "bound", "layouts"),
    [("32", 1e-5, ("ddp", "fsdp2", "zero3")), ("bf16", 3e-2, ("fsdp2", "zero2"))],
)
def test_accumulation_recomputation_and_bfloat16(
    sets: dict[str, Path], tmp_path: Path, precision: str, bound: float, layouts: tuple[str, ...]
) -> None:
    """Micro batches make another contrast than the whole batch, but the same one in every layout."""
    keys = ("engine.max_steps=8", "engine.accumulate=2", "model.checkpointing=true")
    keys = (*keys, f"engine.precision={precision}", "data.val=null")
    one = run(sets, tmp_path / "one", 1, *keys)
    for layout in layouts:
        two = run(sets, tmp_path / layout, 2, *keys, *LAYOUTS[layout])
        assert samples(two) == samples(one)
        assert curve(two) == pytest.approx(curve(one), rel=bound), layout
