"""Train a recipe from its first step, or from where its newest run stands."""

from __future__ import annotations

import contextlib
import logging
import math
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from lightning.pytorch import Callback, Trainer

from mien import systems
from mien.data import sets
from mien.data.mixture import MixedSet
from mien.data.quarantine import Quarantine
from mien.data.reader import ShardSet
from mien.data.stream import EvalStream, Stream
from mien.data.together import TogetherSet
from mien.engine import lock, rng, trainer
from mien.engine import resume as resuming
from mien.engine.agree import Agreement
from mien.engine.callback import Conductor
from mien.engine.meters import TimedStream
from mien.engine.portable import Portable
from mien.engine.remining import Remining, Rounds
from mien.engine.rundir import RunFolder
from mien.engine.signals import Stopped, StopSignals, leave
from mien.engine.startup import StartUp
from mien.engine.trainer import Shape
from mien.engine.validation import Validation
from mien.errors import MienError, RunError

if TYPE_CHECKING:
    from mien.recipe import Recipe
    from mien.systems.base import SystemModule

log = logging.getLogger("mien.engine")


@dataclass(frozen=True)
class _Start:
    """What rank 0 decides and every rank follows."""

    folder: str
    step: int
    checkpoint: str | None


def train(recipe: Recipe, *, resume: bool = False, callbacks: Iterable[Callback] = ()) -> Path:
    """Train a recipe.

    Args:
        recipe: what to train.
        resume: continue the newest run of this recipe under `run.root`; start one if there is none. A run
            that is already as long as `engine.max_steps` is left as it is.

    Returns:
        The run folder.

    Raises:
        RunError: if the surroundings do not fit the recipe, the run may not be continued with it, or the
            guard stops.
        DataError: if a set cannot be used.
        Stopped: a SystemExit, after a stop signal and a save.
    """
    if recipe.data.train is None:
        raise RunError("nothing to train on", where="data.train", fix="set data.train.shards")
    system = systems.get(recipe.system)
    if system.check is not None:
        system.check(recipe)
    began = StartUp()
    began.mark("imports")
    shape = trainer.resolve(recipe.engine)
    shards = sets.open_train(recipe.data, shape.nodes)
    held_out = sets.open_val(recipe.data, shape.nodes)
    began.mark("sets")
    signals = StopSignals(recipe.engine.signals, recipe.engine.grace_s)
    signals.install()
    try:
        loop = trainer.make(recipe.engine, shape)
        session = _Session(recipe, resume, shape, loop, shards, held_out, signals, began, callbacks)
        # Lightning starts the other local processes inside `launch`; from there on every rank is here.
        launcher = loop.strategy.launcher
        return session.run() if launcher is None else launcher.launch(session.run, trainer=loop)
    finally:
        signals.release()


def compile_blocks(module: SystemModule) -> None:
    """Compile each block by itself: equal blocks share the code, and hooks of a strategy stay outside."""
    for block in module.blocks():
        block.forward = torch.compile(block.forward)


class _Session:
    """One process's work on a run, from the agreement where to begin to the exit code."""

    def __init__(
        self,
        recipe: Recipe,
        resume: bool,
        shape: Shape,
        loop: Trainer,
        shards: ShardSet | MixedSet | TogetherSet,
        held_out: ShardSet | None,
        signals: StopSignals,
        began: StartUp,
        callbacks: Iterable[Callback],
    ) -> None:
        self.recipe = recipe
        self.resume = resume
        self.shape = shape
        self.loop = loop
        self.shards = shards
        self.held_out = held_out
        self.signals = signals
        self.began = began
        self.callbacks = callbacks

    def run(self) -> Path:
        """Train; on every rank at once."""
        self._settle()
        self.loop.strategy.setup_environment()  # joins the ranks; Lightning would do so later, inside `fit`
        self.agreement = Agreement()
        with contextlib.ExitStack() as self._until_end:
            # Attention that falls off leaves weights too small for a float's full precision, and CPUs take
            # several times as long to compute with those. It does not touch GPUs.
            torch.set_flush_denormal(True)
            self._until_end.callback(torch.set_flush_denormal, False)
            return self._run()

    def _run(self) -> Path:
        start = self._start()
        self.folder = RunFolder(Path(start.folder))
        self.began.report_to(self.folder if self.agreement.rank == 0 else None)
        self.began.mark("run")
        if start.step >= self.recipe.engine.max_steps:
            log.info("nothing left to do: %s has %d steps", start.folder, start.step)
            return self.folder.path
        return self._train(start)

    def _settle(self) -> None:
        """Threads and determinism of this process."""
        engine = self.recipe.engine
        if engine.threads is not None:
            torch.set_num_threads(engine.threads)
        wanted = engine.deterministic
        rng.determinism(self.shape.accelerator == "cpu" if wanted == "auto" else wanted)

    def _start(self) -> _Start:
        """Rank 0 finds or makes the run; a reason why it cannot is every rank's."""
        found: _Start | MienError | None = None
        if self.agreement.rank == 0:
            try:
                found = self._prepare()
            except MienError as error:
                found = error
        found = self.agreement.share(found)
        if isinstance(found, MienError):
            if self.agreement.rank == 0:
                raise found
            raise SystemExit(2)  # said once, by rank 0
        assert found is not None
        return found

    def _prepare(self) -> _Start:
        folder = RunFolder.newest(self.recipe) if self.resume else None
        if folder is None:
            folder = RunFolder.create(self.recipe)
            self._until_end.enter_context(lock.held(folder))
            folder.update(train_sha=self.shards.sha)
            checkpoint = None
        else:
            self._until_end.enter_context(lock.held(folder))
            resuming.check(folder, self.recipe, self.shards.sha)
            checkpoint = folder.store.newest_valid()
            if checkpoint is not None and checkpoint.step >= self.recipe.engine.max_steps:
                return _Start(str(folder.path), checkpoint.step, None)
            resuming.rewind(folder, checkpoint)
            folder.freeze(self.recipe)
        folder.begin_session()
        if checkpoint is None:
            return _Start(str(folder.path), 0, None)
        return _Start(str(folder.path), checkpoint.step, str(checkpoint.path))

    def _train(self, start: _Start) -> Path:
        conductor: Conductor | None = None
        state = "failed"
        try:
            rng.seed(self.recipe.seed)
            module = systems.get(self.recipe.system).build(self.recipe)
            module.take_neighbours(self.shards.table if isinstance(self.shards, TogetherSet) else None)
            if self.recipe.engine.precision == "64":
                module.double()  # Lightning does it after it has restored the weights, which rounds them
            assert isinstance(self.loop.strategy, Portable)
            if self.recipe.engine.compile:
                compile_blocks(module)
            self.loop.strategy.prepare(module)
            self.began.mark("model")
            remining = self._remining(module, start.step)
            conductor = Conductor(
                self.recipe,
                self.folder,
                self.agreement,
                self.signals,
                TimedStream(remining or self._stream(self.shards, start.step)),
                self._validation(),
                start.step,
                remining,
            )
            self.began.mark("trackers")
            self.loop.callbacks += [conductor, self.began, *self.callbacks]  # type: ignore[attr-defined]
            self.loop.fit(module, train_dataloaders=conductor.stream, ckpt_path=start.checkpoint)
            state = "stopped" if conductor.stopped_by else "finished"
        finally:
            if conductor is not None:
                conductor.close(int(state == "failed"))
            if self.agreement.rank == 0:
                self.folder.end_session(state)
        if conductor.stopped_by:
            self._leave(conductor.stopped_by, conductor.step)
        return self.folder.path

    def _leave(self, signum: int, step: int) -> None:
        """Requeue where that is due, and end every rank with the same code.

        Raises:
            Stopped: always.
        """
        requeued, code = self.agreement.share(leave(signum) if self.agreement.rank == 0 else None)
        stopped = Stopped(signum, self.folder.path, step, requeued, code)
        if self.agreement.rank == 0:
            log.warning("%s", stopped)
        raise stopped

    def _remining(self, module: SystemModule, step: int) -> Remining | None:
        """The batches of a run that mines its own training set, None for any other."""
        epochs, train = module.mining_epochs(), self.recipe.data.train
        if epochs is None:
            return None
        assert train is not None
        assert not isinstance(self.shards, MixedSet)  # refused by the system's check
        rounds = Rounds(
            self.shards, self.folder.path, epochs, self.recipe.engine.global_batch, train.beside,
            (self.recipe.seed, self.recipe.data.shuffle_block),
        )  # fmt: skip
        whole = self._held_out(rounds.shards)
        return Remining(rounds, self._stream, whole, self.recipe.engine.accumulate, self.agreement, step)

    def _stream(self, shards: ShardSet | MixedSet | TogetherSet, step: int) -> Stream:
        """Endless, for Lightning counts the batches of a finite one from the start of the run."""
        recipe, system = self.recipe, systems.get(self.recipe.system)
        return Stream(
            shards,
            system.transform(recipe, "train"),
            system.collate(recipe),
            seed=recipe.seed,
            global_batch=recipe.engine.global_batch,
            accumulate=recipe.engine.accumulate,
            rank=self.agreement.rank,
            world=self.agreement.world,
            start=step * recipe.engine.global_batch,
            workers=recipe.data.workers,
            prefetch=recipe.data.prefetch,
            shuffle_block=recipe.data.shuffle_block,
            quarantine=self._quarantine(self.shards),
            pin=self.shape.accelerator == "cuda",
        )

    def _validation(self) -> Validation | None:
        if self.held_out is None:
            return None
        return Validation(self._held_out(self.held_out), self.agreement)

    def _held_out(self, shards: ShardSet) -> EvalStream:
        """Every sample of a set once, as in validation."""
        recipe, system, world = self.recipe, systems.get(self.recipe.system), self.agreement.world
        batch = recipe.engine.val_batch or recipe.engine.global_batch // recipe.engine.accumulate
        return EvalStream(
            shards,
            system.transform(recipe, "val"),
            system.collate(recipe),
            batch=math.ceil(batch / world),
            rank=self.agreement.rank,
            world=world,
            workers=min(recipe.data.workers, 1),
            prefetch=recipe.data.prefetch,
            seed=recipe.seed,
            quarantine=self._quarantine(shards),
            pin=self.shape.accelerator == "cuda",
        )

    def _quarantine(self, shards: ShardSet | MixedSet | TogetherSet) -> Quarantine:
        ledger, share = self.folder.path / "quarantine.jsonl", self.recipe.data.quarantine_fraction
        return Quarantine(ledger, sha=shards.sha, size=len(shards), fraction=share)
