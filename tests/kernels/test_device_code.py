"""Kernels compile for real cards, here, without one: the interpreter runs what a compiler may refuse."""

from __future__ import annotations

import re
import subprocess

import pytest
import torch
import triton
import triton.language as tl
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource
from triton.knobs import nvidia

from mien_kernels.triton import tune
from mien_kernels.triton.device import group_patches, mine, negatives
from mien_kernels.triton.tiles import SAFE, TABLE, Tile

CARDS = {"A100": (80, 163 << 10), "H200": (90, 227 << 10)}
"""Compute capability, and the shared memory that a program may have."""


@pytest.fixture
def backend():
    """In place of the one of this folder: there is nothing to choose."""


KINDS = {
    "fp32": "scale bias row_parts column_parts to_rows to_columns by_row by_column factor bias_parts scalars "
    "found near weight weight_2 vector vector_2 vectors result",
    "u8": "row_live column_live usable",
    "i64": "row_keys column_keys keys within owner order ends",
    "i32": "skip skip_t found_places near_places",
}
POINTERS = {name: kind for kind, names in KINDS.items() for name in names.split()}
EMBEDDINGS = ("a", "c", "x", "y", "x_2", "y_2", "patches")
ALIGNED = (
    "depth", "depth_2", "n_rows", "n_columns", "total", "first_row", "last_row", "first_column", "last_column"
)  # fmt: skip


def compiled(kernel, constants, capability, dtype, tile):
    """What a kernel takes: shared memory, registers, bytes of spilled ones, products on tensor cores."""
    names = [parameter.name for parameter in kernel.params]
    types = dict.fromkeys(EMBEDDINGS, f"*{dtype}") | {name: f"*{kind}" for name, kind in POINTERS.items()}
    if kernel is negatives.gradient_block:
        types["result"] = f"*{dtype}"
    signature = {name: "constexpr" if name in constants else types.get(name, "i32") for name in names}
    aligned = {
        (place,): [["tt.divisibility", 16]]
        for place, name in enumerate(names)
        if name not in constants and (name in types or name in ALIGNED)
    }
    made = triton.compile(
        ASTSource(fn=kernel, signature=signature, constexprs=constants, attrs=aligned),
        target=GPUTarget("cuda", capability, 32),
        options={"num_warps": tile.warps, "num_stages": tile.stages},
    )
    ptx = made.asm["ptx"]
    architecture = "sm_90a" if capability == 90 else f"sm_{capability}"
    command = [nvidia.ptxas.path, "-v", f"--gpu-name={architecture}", "/dev/stdin", "-o", "/dev/null"]
    report = subprocess.run(command, input=ptx, capture_output=True, text=True, check=True).stderr
    return {
        "shared": made.metadata.shared,
        "registers": int(re.search(r"Used (\d+) registers", report)[1]),
        "spilled": int(re.search(r"(\d+) bytes spill stores", report)[1]),
        "products": len(re.findall(r"wgmma\.mma_async|mma\.sync", ptx)),
    }


def options(tile, **more):
    return {
        "KEYS": 0, "RULES": 0, "MEMBERS": 0, "DIAGONAL": True, "ROW_LIVE": False, "COLUMN_LIVE": False,
        "SKIP": 0, "SKIP_T": 0, "BOTH": True, "SHARED": True, "SIGMOID": False, "ACC": tl.float32,
        "UPCAST": False, "PRECISION": "ieee", "BLOCK_R": tile.rows, "BLOCK_C": tile.columns,
        "BLOCK_D": tile.depth, **more,
    }  # fmt: skip


MASKED = {
    "KEYS": 2, "RULES": 2, "MEMBERS": 0b1001, "ROW_LIVE": True, "COLUMN_LIVE": True, "SKIP": 13, "SKIP_T": 13,
    "SHARED": False,
}  # fmt: skip
TAGGED = MASKED | {"SKIP": 0, "SKIP_T": 0, "SHARED": True}
KERNELS = {
    "sums": (negatives.sums, {"VOID": -1e30}),
    "gradient": (negatives.gradient_block, {}),
    "listed": (negatives.gradient_block, {}),
}
TILES = {
    (card, kernel, bits): TABLE[f"NVIDIA {card}", kernel, bits]
    for card in CARDS
    for kernel in KERNELS
    for bits in (16, 32)
}
TILES |= {("A100", kernel, bits, "safe"): SAFE for kernel in KERNELS for bits in (16, 32)}


KINDS_OF = {
    "sums": ("plain", "masked", "sigmoid"), "gradient": ("plain", "tagged", "sigmoid"), "listed": ("masked",)
}  # fmt: skip


@pytest.mark.parametrize(
    ("key", "kind"), [(key, kind) for key in TILES for kind in KINDS_OF[key[1]]], ids=str
)
def test_contrast(key, kind):
    (capability, room), (kernel, void), bits, tile = CARDS[key[0]], KERNELS[key[1]], key[2], TILES[key]
    more = {
        "plain": {},
        "masked": MASKED,
        "tagged": TAGGED,
        "sigmoid": {"SIGMOID": True, "BOTH": False, "SHARED": False},
    }[kind]
    dtype, precision = ("bf16", "ieee") if bits == 16 else ("fp32", "tf32x3")
    constants = options(tile, **more, **void, PRECISION=precision)
    found = compiled(kernel, constants, capability, dtype, tile)
    assert found["shared"] <= room
    assert found["products"] > 0
    assert found["spilled"] <= (300 if kind != "plain" or bits == 32 else 64)


@pytest.mark.parametrize("card", CARDS)
@pytest.mark.parametrize("two", [False, True])
def test_mining(card, two):
    tile = TABLE[f"NVIDIA {card}", "mine", 32]
    constants = {
        "K": 4, "NEAR": 12, "SLOTS": 4, "NEAR_SLOTS": 16, "KEYS": 2, "RULES": 2, "MEMBERS": 0b1001,
        "WITHIN": not two, "TWO": two, "SMALLER": True, "COSINE": not two, "ACC": tl.float32,
        "PRECISION": "tf32x3", "BLOCK_R": tile.rows, "BLOCK_C": tile.columns, "BLOCK_D": tile.depth,
    }  # fmt: skip
    found = compiled(mine.best, constants, CARDS[card][0], "fp32", tile)
    assert found["shared"] <= CARDS[card][1]
    assert found["products"] > 0


@pytest.mark.parametrize("card", CARDS)
@pytest.mark.parametrize("kernel", ["dots", "pool", "spread"])
def test_grouping(card, kernel):
    tile, constants = Tile(64, 64, 64, 4, 2), {"ACC": tl.float32, "BLOCK_P": 64, "BLOCK_D": 64}
    found = compiled(getattr(group_patches, kernel), constants, CARDS[card][0], "bf16", tile)
    assert found["spilled"] == 0


def test_the_tuner_tries_tiles_that_fit_and_needs_a_card(monkeypatch, capsys):
    for dtype in (torch.bfloat16, torch.float32):
        for tile in tune.candidates(dtype):
            assert 32 <= tile.rows * tile.columns / (32 * tile.warps) <= 128
            assert tile.depth * dtype.itemsize == 128
    if not torch.cuda.is_available():
        monkeypatch.setattr("sys.argv", ["tune"])
        assert tune.main() == 2
        assert "no CUDA device" in capsys.readouterr().err
