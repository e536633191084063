"""What each process of the cross-rank tests runs: a small two-tower model under DDP."""

from __future__ import annotations

from pathlib import Path

import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from open_clip.loss import ClipLoss, SigLipLoss
from torch import nn
from torch.nn import functional as F
from torch.nn.parallel import DistributedDataParallel

from mien_kernels import Tags, contrast, gather_rows, mine, own_rows, symmetric_contrast

ROWS, CLASSES = 12, 4
BARS = {"k": 2, "ignore": 2, "threshold": 0.3, "ignore_threshold": 0.3}


class Towers(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.image, self.text = nn.Linear(6, 5).double(), nn.Linear(7, 5).double()
        self.theta = nn.Parameter(torch.tensor(2.0, dtype=torch.float64))

    def forward(self, image, text):
        return F.normalize(self.image(image), dim=1), F.normalize(self.text(text), dim=1), self.theta.exp()


def batch():
    generator = torch.Generator().manual_seed(1)
    image = torch.randn(ROWS, 6, generator=generator, dtype=torch.float64)
    return image, torch.randn(ROWS, 7, generator=generator, dtype=torch.float64), torch.arange(ROWS) // 2


def towers_theta(towers):
    """The one parameter that scale and bias come from."""
    return getattr(towers, "module", towers).theta


def open_clip_loss(kind, towers, rows, rank, world):
    """The same loss by open_clip, in its own distributed form."""
    image, text, _ = (part[rows] for part in batch())
    a, b, scale = towers(image, text)
    if kind == "siglip":
        return SigLipLoss(rank=rank, world_size=world)(a, b, scale, -towers_theta(towers))
    return ClipLoss(local_loss=True, gather_with_grad=True, rank=rank, world_size=world)(a, b, scale)


WEIGHTS = {
    "full": None,
    "uneven": [1, 0, 0.5, 1, 1, 2, 0, 0, 1, 1, 1, 0],
    "empty rank": [0, 0, 0, 0, 0, 0, 1, 1, 0, 2, 1, 1],
    "one row": [0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0],
    "nothing": [0] * ROWS,
}


def loss_of(kind, weights, towers, rows, group, exchange="gather", backend="auto"):
    """The loss of the given rows: those of one rank, or, without a group, the whole batch."""
    how = {"exchange": exchange, "backend": backend}
    image, text, key = (part[rows] for part in batch())
    weight = None if WEIGHTS[weights] is None else torch.tensor(WEIGHTS[weights], dtype=torch.float64)[rows]
    a, b, scale = towers(image, text)
    tags, start = Tags.any(key), rows.start
    if kind == "siglip":
        return symmetric_contrast(
            a, b, scale, form="sigmoid", logit_bias=-towers_theta(towers), process_group=group, **how
        )
    if kind == "plain":
        return symmetric_contrast(a, b, scale, row_weight=weight, process_group=group, **how)
    if kind == "rectangle":  # one class a row: the candidates are the first rows of each rank
        keys = torch.arange(ROWS).reshape(-1, 3)[:, 1]  # every third row of b is a candidate
        mine_only = [i - start for i in keys.tolist() if rows.start <= i < rows.stop]
        targets = (torch.arange(start, start + len(a))[:, None] // 3, torch.ones(len(a), 1))
        return contrast(
            a, b[mine_only], scale, targets=targets, row_weight=weight, process_group=group, **how
        )
    if kind == "sigmoid":
        how["logit_bias"] = -towers_theta(towers)
    everyone = (lambda x: x) if group is None else (lambda x: gather_rows(x, group))
    valid = None if weight is None else everyone(weight > 0)
    found = mine(
        everyone(a.detach()), everyone(b.detach()), rule="swap", tags=Tags.any(everyone(key)), valid=valid,
        rows=None if group is None else own_rows(len(a), group), backend=backend, **BARS,
    )  # fmt: skip
    return symmetric_contrast(
        a, b, scale, targets_ab=found.ab.targets(0.3, start), targets_ba=found.ba.targets(0.3, start),
        row_weight=weight, tags=tags, ignore=(found.ab.ignored, found.ba.ignored), form=kind,
        process_group=group, **how,
    )  # fmt: skip


CASES = [("plain", "full"), ("plain", "uneven"), ("plain", "empty rank"), ("plain", "nothing")]
CASES += [("out", name) for name in WEIGHTS] + [("in", "uneven"), ("dec", "empty rank")]
CASES += [("rectangle", "full"), ("rectangle", "empty rank"), ("siglip", "full"), ("sigmoid", "empty rank")]


def gradients(module):
    return {name: parameter.grad.clone() for name, parameter in module.named_parameters()}


def compiled_and_eager(rank, count, exchange, backend):
    """Loss and gradients through `torch.compile`, in one graph, and without."""
    rows, found = slice(rank * count, (rank + 1) * count), []
    image, text, key = (part[rows] for part in batch())

    def loss(a, b, scale):
        return symmetric_contrast(
            a,
            b,
            scale,
            tags=Tags.any(key),
            process_group=dist.group.WORLD,
            exchange=exchange,
            backend=backend,
        )

    for function in (torch.compile(loss, fullgraph=True, backend="aot_eager"), loss):
        leaves = [F.normalize(x[:, :5], dim=1).requires_grad_() for x in (image, text)]
        leaves.append(torch.tensor(7.0, dtype=torch.float64, requires_grad=True))
        value = function(*leaves)
        found.append([value.detach(), *torch.autograd.grad(value, leaves)])
    return found


def work(rank: int, world: int, folder: str, exchange: str, backend: str) -> None:
    """Write losses and averaged gradients of every case to <folder>/<rank>.pt."""
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=world)
    towers = Towers()
    wrapped = DistributedDataParallel(towers)
    count = ROWS // world
    results = {}
    for kind, weights in CASES:
        wrapped.zero_grad()
        loss = loss_of(
            kind,
            weights,
            wrapped,
            slice(rank * count, (rank + 1) * count),
            dist.group.WORLD,
            exchange,
            backend,
        )
        loss.backward()
        mean = loss.detach().clone()
        dist.all_reduce(mean)
        results[f"{kind}/{weights}"] = {"loss": mean / world, **gradients(towers)}
    for kind in ("plain", "siglip"):
        wrapped.zero_grad()
        loss = open_clip_loss(kind, wrapped, slice(rank * count, (rank + 1) * count), rank, world)
        loss.backward()
        mean = loss.detach().clone()
        dist.all_reduce(mean)
        results[f"open_clip {kind}"] = {"loss": mean / world, **gradients(towers)}
    if world == 2:
        results["compiled"] = compiled_and_eager(rank, count, exchange, backend)
    half = torch.full((2, 3), rank + 1.0, dtype=torch.bfloat16)
    results["gathered"] = {
        "half": gather_rows(half, dist.group.WORLD),
        "bool": gather_rows(half > 1, dist.group.WORLD),
    }
    torch.save(results, Path(folder) / f"{rank}.pt")
    dist.destroy_process_group()


Job = tuple[int, str, str]
"""Number of ranks, exchange, back end."""


def place(folder: str, job: Job) -> Path:
    """Where the ranks of a job write."""
    return Path(folder) / "-".join(map(str, job))


def in_turn(rank: int, folder: str, jobs: list[Job]) -> None:
    """One process, a rank of each job that has so many; each job has a process group of its own."""
    for job in jobs:
        if rank < job[0]:
            torch._dynamo.reset()
            try:
                work(rank, job[0], str(place(folder, job)), *job[1:])
            except Exception as error:
                error.add_note(f"job {job}")
                raise


def all_jobs(_: int, folder: str, jobs: list[Job]) -> None:
    """Fork the ranks from this process, which has imported everything and computed nothing."""
    for job in jobs:
        place(folder, job).mkdir()
    mp.start_processes(in_turn, (folder, jobs), nprocs=max(world for world, *_ in jobs), start_method="fork")
