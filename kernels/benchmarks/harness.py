"""Time, peak memory and error of several ways to compute one thing.

A benchmark gives `main` a function that builds a call for (way, size, depth). Peak memory is what it needs
beyond its inputs: resident pages of a process of its own on a CPU, allocated bytes on a GPU. Ways take turns
over the sizes, so that what else the machine does falls on all alike.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import platform
import re
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path

import matplotlib
import torch
from torch import Tensor

matplotlib.use("Agg")
from matplotlib import pyplot

RESULTS = Path(__file__).parent / "results"


@dataclass(frozen=True)
class Call:
    """What is timed, and what its result is compared with."""

    run: Callable[[], Sequence[Tensor]]
    """Computes result and gradients."""
    exact: Callable[[], Sequence[Tensor]]
    """The same in float64."""


@dataclass(frozen=True)
class Row:
    """One line of the table."""

    way: str
    size: int
    depth: int
    seconds: float
    extra_bytes: int
    error: float | None
    """Largest relative error of result and gradients, each against its largest entry."""


Build = Callable[[str, int, int], Call]


def device() -> torch.device:
    """The GPU where there is one."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def device_name() -> str:
    """Name of the card, or of the processor with its number of threads."""
    if torch.cuda.is_available():
        return torch.cuda.get_device_name()
    info = Path("/proc/cpuinfo")
    found = re.search(r"model name\s*: (.*)", info.read_text()) if info.exists() else None
    return f"{found[1] if found else platform.machine()}, {torch.get_num_threads()} threads"


def main(
    build: Build, ways: Sequence[str], fits: Callable[[str, int, int], bool], *, stem: str, peer: str,
    flops: Callable[[int, int], float] | None, sizes: Sequence[int], depths: Sequence[int], doc: str,
    arguments: Sequence[str] | None = None,
) -> None:  # fmt: skip
    """Measure every way at every size that fits; print the table, write csv, md and svg.

    Args:
        build: makes a call.
        ways: their names.
        fits: whether a way can be measured at a size and depth here.
        stem: of the files, and of the script.
        peer: the way that ratios are taken to.
        flops: of a call, for the share of the measured matrix product rate; None leaves it out.
        sizes: default sizes.
        depths: default depths.
        doc: for `--help`.
        arguments: of the command line.
    """
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="+", default=list(sizes), help="rows of each side")
    parser.add_argument("--depths", type=int, nargs="+", default=list(depths), help="columns")
    parser.add_argument("--ways", nargs="+", default=list(ways), choices=ways)
    parser.add_argument("--repeats", type=int, default=5, help="rounds up to 16,384 rows (GPU: 65,536)")
    parser.add_argument("--exact-up-to", type=int, default=4096, help="rows up to which float64 is computed")
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder for csv, md and svg")
    parser.add_argument("--measure", nargs=3, metavar=("WAY", "SIZE", "DEPTH"), help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.measure:
        way, size, depth = options.measure[0], int(options.measure[1]), int(options.measure[2])
        print(json.dumps(asdict(_measure(build(way, size, depth), way, size, depth, options))))
        return
    rows: list[Row] = []
    for depth in options.depths:
        for size in options.sizes:
            for way in options.ways:
                if torch.cuda.is_available():
                    torch.cuda.empty_cache()
                if not fits(way, size, depth):
                    continue
                if torch.cuda.is_available():
                    rows.append(_measure(build(way, size, depth), way, size, depth, options))
                else:  # a process never gives its peak back
                    rows.append(_child(way, size, depth, options))
                print(
                    f"{way:>12} {size:>7} x {depth:<4} {rows[-1].seconds:9.4f} s", file=sys.stderr, flush=True
                )
            _report(rows, options.out, stem, peer, flops)  # a run that is cut leaves its table
    print((options.out / f"{file_stem(stem)}.md").read_text(encoding="utf-8"))
    print(f"written: {os.path.relpath(options.out)}/{file_stem(stem)}.md, .csv, .svg")


def file_stem(stem: str) -> str:
    """Name of a benchmark's files: with that of the card."""
    return f"{stem}-{re.sub(r'[^a-z0-9]+', '-', device_name().lower()).strip('-')}"


def _child(way: str, size: int, depth: int, options: argparse.Namespace) -> Row:
    command = [
        sys.executable, sys.argv[0], "--measure", way, str(size), str(depth),
        "--repeats", str(options.repeats), "--exact-up-to", str(options.exact_up_to),
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{way} at {size} x {depth} failed:\n{done.stderr}")
    return Row(**json.loads(done.stdout.splitlines()[-1]))


def _measure(call: Call, way: str, size: int, depth: int, options: argparse.Namespace) -> Row:
    """Time of some calls after the first, memory of one, error of the last."""
    cuda = torch.cuda.is_available()
    if cuda:
        call.run()  # libraries take their workspaces
    before = _held(cuda)
    result = call.run()
    extra = _peak(cuda) - before
    times = []
    for _ in range(options.repeats if size <= (65536 if cuda else 16384) else 1):
        start = _now(cuda)
        result = call.run()
        times.append(_now(cuda) - start)
    error = None
    if size <= options.exact_up_to:
        error = max(
            float((got.double() - want).abs().max() / want.abs().max().clamp(min=1e-300))
            for got, want in zip(result, call.exact(), strict=True)
        )
    return Row(way, size, depth, statistics.median(times), extra, error)


def _now(cuda: bool) -> float:
    if cuda:
        torch.cuda.synchronize()
    return time.perf_counter()


def _held(cuda: bool) -> int:
    """Bytes in use; from here on `_peak` counts."""
    if cuda:
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
    return _peak(cuda)


def _peak(cuda: bool) -> int:
    """Bytes in use at the highest point: since `_held` on a GPU, since the start of the process on a CPU."""
    if cuda:
        torch.cuda.synchronize()
        return torch.cuda.max_memory_allocated()
    # not ru_maxrss: a child starts with its parent's
    status = Path("/proc/self/status").read_text()
    return 1024 * int(status.split("VmHWM:")[1].split()[0])


@cache
def matmul_rate(size: int, depth: int) -> float:
    """Floating point operations a second of torch's own product of [size, depth] and [depth, size]."""
    size = min(size, 16384)
    dtype = torch.bfloat16 if torch.cuda.is_available() else torch.float32
    a, b = (torch.randn(size, depth, device=device(), dtype=dtype) for _ in range(2))
    cuda, times = torch.cuda.is_available(), []
    for _ in range(8 if cuda else 4):
        start = _now(cuda)
        a @ b.T
        times.append(_now(cuda) - start)
    return 2 * size * size * depth / min(times)


def _report(
    rows: list[Row], out: Path, stem: str, peer: str, flops: Callable[[int, int], float] | None
) -> None:
    out.mkdir(parents=True, exist_ok=True)
    card, name = device_name(), file_stem(stem)
    base = {(row.size, row.depth): row for row in rows if row.way == peer}
    rates = {key: matmul_rate(*key) for key in {(row.size, row.depth) for row in rows}} if flops else {}
    lines = [
        f"{card}, torch {torch.__version__.split('+')[0]}; time and memory against {peer}",
        "",
        "| rows | depth | way | seconds | of peer | extra memory, MB | of peer | error |"
        + (" of matmul rate |" if flops else ""),
        "|---:|---:|---|---:|---:|---:|---:|---:|" + ("---:|" if flops else ""),
    ]
    for row in rows:
        other = base.get((row.size, row.depth))
        time_ratio = f"{row.seconds / other.seconds:.2f}" if other else "-"
        memory_ratio = f"{row.extra_bytes / other.extra_bytes:.3f}" if other and other.extra_bytes else "-"
        error = "-" if row.error is None else f"{row.error:.0e}"
        line = (
            f"| {row.size:,} | {row.depth} | {row.way} | {row.seconds:.4f} | {time_ratio} "
            f"| {row.extra_bytes / 1e6:,.0f} | {memory_ratio} | {error} |"
        )
        if flops:
            line += f" {flops(row.size, row.depth) / row.seconds / rates[row.size, row.depth]:.2f} |"
        lines.append(line)
    table = "\n".join(lines) + "\n"
    (out / f"{name}.md").write_text(table, encoding="utf-8")
    with (out / f"{name}.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, ["device", *asdict(rows[0])], lineterminator="\n")
        writer.writeheader()
        writer.writerows({"device": card, **asdict(row)} for row in rows)
    _plot(rows, out / f"{name}.svg", card)


def _plot(rows: list[Row], file: Path, title: str) -> None:
    figure, (left, right) = pyplot.subplots(1, 2, figsize=(10, 4), layout="constrained")
    depths = sorted({row.depth for row in rows})
    ways = list(dict.fromkeys(row.way for row in rows))
    for place, way in enumerate(ways):
        for depth, style in zip(depths, ("-", "--", ":", "-.")):
            some = [row for row in rows if (row.way, row.depth) == (way, depth)]
            label = way if len(depths) == 1 else f"{way}, {depth}"
            options = {
                "color": f"C{place}",
                "marker": "o",
                "linestyle": style,
                "markersize": 3,
                "label": label,
            }
            left.plot([row.size for row in some], [row.seconds for row in some], **options)
            right.plot([row.size for row in some], [row.extra_bytes / 1e6 for row in some], **options)
    for axis, unit in ((left, "seconds"), (right, "extra peak memory, MB")):
        axis.set(xscale="log", yscale="log", xlabel="rows", ylabel=unit)
        axis.set_xscale("log", base=2)
        axis.grid(alpha=0.3)
    right.legend(fontsize=8)
    figure.suptitle(title, fontsize=10)
    figure.savefig(file, metadata={"Date": None})
    pyplot.close(figure)
