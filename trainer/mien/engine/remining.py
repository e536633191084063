"""A run that mines its own training set: every few epochs a new table of neighbours, and a new order.

Round n begins with the first step whose samples all belong to epoch n x `epochs` or a later one. Its table is
mined from the weights as they are then, on all ranks, and written into the run folder, so that a run that was
killed reads it again. The step that a round begins with does not depend on the number of ranks.
"""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Callable, Generator, Iterable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mien.data import neighbours
from mien.data.collate import place_rows
from mien.data.neighbours import Neighbours
from mien.data.order import Indices
from mien.data.reader import ShardSet
from mien.data.stream import Stream
from mien.data.together import TogetherSet, require_everywhere
from mien.engine import rng
from mien.engine.agree import Agreement
from mien.engine.ema import Ema
from mien.engine.portable import Portable
from mien.errors import RunError
from mien.systems.base import Batch, SystemModule

log = logging.getLogger("mien.engine")

FOLDER = "neighbours"
"""Of the tables, in the run folder; a file is named after the step before which it was mined."""


def table_path(run: Path, step: int) -> Path:
    """Of the table that counts from the step after `step` on."""
    return run / FOLDER / f"step-{step:08d}.safetensors"


def forget_after(run: Path, step: int) -> None:
    """Remove the tables that were mined after `step`, from weights that are no more."""
    for path in (run / FOLDER).glob("step-*.safetensors"):
        if int(path.stem.removeprefix("step-")) > step:
            path.unlink()


class Rounds:
    """Which table counts at which step.

    Args:
        base: the training set, with the table that the recipe gives, if any.
        run: run folder.
        epochs: of a round.
        batch: global batch.
        beside: neighbours that follow a sample.
        order: seed and shuffle block of the order.

    Raises:
        RunError: if the set is smaller than a global batch.
        DataError: if the set cannot be read in such an order.
    """

    def __init__(
        self, base: ShardSet | TogetherSet, run: Path, epochs: int, batch: int, beside: int,
        order: tuple[int, int],
    ) -> None:  # fmt: skip
        self.base = base
        self.shards = base.shards if isinstance(base, TogetherSet) else base
        self.run = run
        self.batch = batch
        self.samples = epochs * len(base)
        self._beside = beside
        self._order = order
        self._tables: dict[int, Neighbours] = {}
        if len(base) < batch:
            what = f"a set of {len(base)} samples is smaller than a global batch of {batch}"
            raise RunError(what, where="objective.mining.every", fix="take a smaller engine.global_batch")
        require_everywhere(self.shards)

    def at(self, step: int) -> int:
        """The round of the step after `step` steps; 0 is the time before the first table."""
        return step * self.batch // self.samples

    def begin(self, number: int) -> int:
        """Steps before a round."""
        return -(-number * self.samples // self.batch)

    def path(self, number: int) -> Path:
        """Of a round's table."""
        return table_path(self.run, self.begin(number))

    def table(self, number: int) -> Neighbours:
        """A round's table, from its file unless it has been put here.

        Raises:
            DataError: if the file is absent, damaged or of another set.
        """
        if number not in self._tables:
            found = neighbours.load(self.path(number))
            found.check(self.shards.sha, len(self.shards), self.path(number))
            self.put(number, found)
        return self._tables[number]

    def put(self, number: int, table: Neighbours) -> None:
        """Keep a table; those of two rounds are kept."""
        self._tables[number] = table
        for old in [kept for kept in self._tables if kept < number - 1]:
            del self._tables[old]

    def set_of(self, number: int) -> ShardSet | TogetherSet:
        """The training set in the order of a round; what came of its first epoch before stays first."""
        if number == 0:
            return self.base
        epoch, come = divmod(self.begin(number) * self.batch, len(self.shards))
        begun = (epoch, self._first(number - 1, epoch, come)) if come else None
        return TogetherSet(self.shards, self.table(number), self._beside, begun)

    def _first(self, number: int, epoch: int, count: int) -> Indices:
        """The first samples of an epoch in a round's order; its own first epoch is another one."""
        start = epoch * len(self.shards)
        if number == 0:
            order: Any = self.base.order(*self._order)
        else:
            order = TogetherSet(self.shards, self.table(number), self._beside).order(*self._order)
        return order.slice(start, start + count)[1]


class Remining:
    """Training batches over all rounds; mines where a round begins that has no table yet.

    Args:
        rounds: the tables.
        open_stream: (set, first step) -> endless stream of this rank's micro batches.
        whole: this rank's part of the set, in index order, without augmentation.
        accumulate: micro batches of a step.
        agreement: the ranks.
        start: steps done before.
    """

    def __init__(
        self,
        rounds: Rounds,
        open_stream: Callable[[ShardSet | TogetherSet, int], Stream],
        whole: Iterable[Batch],
        accumulate: int,
        agreement: Agreement,
        start: int,
    ) -> None:
        self.rounds = rounds
        self.open_stream = open_stream
        self.whole = whole
        self.accumulate = accumulate
        self.agreement = agreement
        self.start = start

    def attach(
        self, module: SystemModule, ema: Ema | None, settle: Callable[[], None], beat: Callable[[], None]
    ) -> None:
        """Be given what mines.

        Args:
            module: in training.
            ema: its average.
            settle: returns when no checkpoint is being copied from the weights.
            beat: called while mining goes on.
        """
        self.module, self.ema, self.settle, self.beat = module, ema, settle, beat

    def in_use(self, step: int) -> str | None:
        """SHA-256 of the table that the step before `step` had; None without one."""
        number = self.rounds.at(step - 1) if step else 0
        return self.rounds.table(number).sha if number else None

    def __iter__(self) -> Generator[Batch, None, None]:
        step = self.start
        while True:
            number = self.rounds.at(step)
            waiting: Batch | None = None
            if number and not self._known(number, step):
                # The loop asks for a batch before it has done the step before: this one is filled once it is
                # asked for the next, when that step is done and its weights are there.
                waiting = {}
                yield waiting
                self._mine(number, step)
            count = (self.rounds.begin(number + 1) - step) * self.accumulate
            yield from self._round(number, step, count, waiting)
            step = self.rounds.begin(number + 1)

    def _round(self, number: int, step: int, count: int, waiting: Batch | None) -> Generator[Batch]:
        if number:
            self.module.take_neighbours(self.rounds.table(number))
        stream = self.open_stream(self.rounds.set_of(number), step)
        batches = iter(stream)
        try:
            for place in range(count):
                batch = next(batches)
                if place or waiting is None:
                    yield batch
                else:
                    waiting.update(batch)
        finally:
            batches.close()  # type: ignore[attr-defined]
            stream.close()

    def _known(self, number: int, step: int) -> bool:
        """Whether a round's table is there; on all ranks at once.

        Raises:
            RunError: if it is not, and the step it was mined before has passed.
        """
        path = self.rounds.path(number)
        if self.agreement.share(path.is_file()):
            return True
        if step > self.rounds.begin(number):
            fix = "bring the file back, or remove the checkpoints of later steps and resume"
            raise RunError("the run's table of neighbours is gone", where=path, fix=fix)
        return False

    def _mine(self, number: int, step: int) -> None:
        """Embed the set on all ranks, compare on the first, tell all."""
        began = time.perf_counter()
        rows = self._embed()
        table: Neighbours | None = None
        if self.agreement.rank == 0:
            facts = {"run": self.rounds.run.name, "recipe": self.module.recipe.name, "step": step}
            with rng.preserved():
                table = self.module.mine(rows, self.rounds.shards.sha, facts)
            neighbours.save(table, self.rounds.path(number))
        self.rounds.put(number, self.agreement.share(table))
        if self.agreement.rank == 0:
            seconds = time.perf_counter() - began
            log.info("step %d: mined %d samples anew in %.1f s", step, len(self.rounds.shards), seconds)
        self.beat()

    @torch.no_grad()
    def _embed(self) -> dict[str, Tensor]:
        module, strategy = self.module, self.module.trainer.strategy
        assert isinstance(strategy, Portable)
        whole: dict[str, Tensor] = {}
        self.settle()  # the average takes the place of weights that may be on their way to a checkpoint
        averaged = self.ema.applied() if self.ema is not None else contextlib.nullcontext()
        module.eval()
        with rng.preserved(), averaged:
            for batch in self.whole:
                index = batch["index"]
                batch = module.transfer_batch_to_device(batch, module.device, 0)
                place_rows(whole, strategy.call("mining_rows", batch), index, len(self.rounds.shards))
                self.beat()
        module.train()
        return {name: self._together(values) for name, values in whole.items()}

    def _together(self, values: Tensor) -> Tensor:
        """Rows of all ranks: each is zero where another rank read the sample."""
        numbers = values.to(torch.int64) if values.dtype == torch.bool else values
        self.agreement.add(numbers)
        return numbers.to(values.dtype)
