"""What a GPU and its links can do, from data sheets.

Sources, one a GPU: "NVIDIA H100 Tensor Core GPU" (SXM and PCIe columns), "NVIDIA H200 Tensor Core GPU",
"NVIDIA A100 Tensor Core GPU" (SXM4), "NVIDIA L40S", "NVIDIA L4 Tensor Core GPU", "NVIDIA HGX B200" (an eighth
of the board), "AMD Instinct MI250X" (half of a card: each of its two dies is a device of its own), "AMD
Instinct MI300X". FLOP/s are dense, without sparsity. NICs are those of the vendor's own eight-GPU system or
of a usual one: DGX H100, H200 and B200 have one 400 Gb/s port a GPU, DGX A100 one of 200 Gb/s; HPC nodes of
MI250X have four ports of 200 Gb/s for eight dies; L40S and L4 servers one port of 200 Gb/s for two GPUs.
Memory is what the driver leaves of the sheet's figure: less where error correction takes its part.
"""

from __future__ import annotations

import difflib
from dataclasses import dataclass

from mien.errors import MienError


@dataclass(frozen=True)
class Gpu:
    """One device. FLOP/s, bytes, bytes/s."""

    name: str
    bf16: float
    """Peak of dense bfloat16 matrix products."""
    fp32: float
    """Peak of float32 products without TF32, which torch leaves off."""
    memory: float
    bandwidth: float
    """Of the device's own memory."""
    link: float
    """To the other GPUs of the node, each way: half of what sheets call NVLink's bandwidth, else PCIe."""
    nic: float
    """To other nodes, each way, this GPU's share."""


_T, _G, _M = 1e12, 1e9, float(1 << 30)

GPUS: dict[str, Gpu] = {
    gpu.name: gpu
    for gpu in (
        Gpu("h100", 989.4 * _T, 67 * _T, 79.6 * _M, 3350 * _G, 450 * _G, 50 * _G),
        Gpu("h100-pcie", 756 * _T, 51 * _T, 79.6 * _M, 2000 * _G, 64 * _G, 25 * _G),
        Gpu("h200", 989.4 * _T, 67 * _T, 140.4 * _M, 4800 * _G, 450 * _G, 50 * _G),
        Gpu("b200", 2250 * _T, 75 * _T, 179 * _M, 7700 * _G, 900 * _G, 50 * _G),
        Gpu("a100-40", 312 * _T, 19.5 * _T, 39.6 * _M, 1555 * _G, 300 * _G, 25 * _G),
        Gpu("a100-80", 312 * _T, 19.5 * _T, 79.6 * _M, 2039 * _G, 300 * _G, 25 * _G),
        Gpu("l40s", 362 * _T, 91.6 * _T, 45 * _M, 864 * _G, 32 * _G, 12.5 * _G),
        Gpu("l4", 121 * _T, 30.3 * _T, 22.5 * _M, 300 * _G, 32 * _G, 12.5 * _G),
        Gpu("mi250x", 191.5 * _T, 23.9 * _T, 64 * _M, 1638 * _G, 100 * _G, 12.5 * _G),
        Gpu("mi300x", 1307 * _T, 163.4 * _T, 192 * _M, 5300 * _G, 448 * _G, 50 * _G),
    )
}
"""By the name that `--gpu` takes."""


def gpu_of(name: str) -> Gpu:
    """The GPU of that name.

    Raises:
        MienError: if there is none, with the nearest name.
    """
    if name not in GPUS:
        close = difflib.get_close_matches(name, GPUS, n=1, cutoff=0.4)
        fix = f"did you mean {close[0]!r}? " if close else ""
        raise MienError(f"no GPU called {name!r}", where="--gpu", fix=f"{fix}known: {', '.join(GPUS)}")
    return GPUS[name]
