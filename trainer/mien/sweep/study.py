"""A sweep on disk: what it is, its trials in Optuna's journal, and which trial is whose.

<root>/<name>/
    sweep.yaml, recipe.yaml   the sweep and its base recipe, frozen
    journal.log               Optuna's journal: text, a line an operation, on any shared file system
    claims/                   see `mien.sweep.claims`
    trial-0003/               run root of trial 3; `log.txt` of what it printed, `failures` if it died, `done`
    report/                   report.html, trials.csv, trials.json
"""

from __future__ import annotations

import math
import os
import secrets
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import optuna
import yaml
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from mien import recipe as recipes
from mien.engine import resume
from mien.errors import RunError
from mien.recipe import Recipe
from mien.sweep import load, space
from mien.sweep.claims import Claim, Claims
from mien.sweep.config import SweepConfig

_MAY_CHANGE = ("trials", "root")
optuna.logging.set_verbosity(optuna.logging.WARNING)


class _Lock(JournalFileOpenLock):
    """Optuna's lock, made by an exclusive create (safe on NFS 3 and later), over a journal that is whole.

    A worker killed in the middle of a line would leave a torn one, and the next line would be glued to it.
    """

    def __init__(self, journal: Path) -> None:
        super().__init__(str(journal))
        self._journal = journal

    def acquire(self) -> bool:
        held = super().acquire()
        drop_torn_tail(self._journal)
        return held


class Sweep:
    """A sweep that has begun.

    Args:
        folder: holds `sweep.yaml`.
        config: its content.
    """

    def __init__(self, folder: Path, config: SweepConfig) -> None:
        self.folder = folder
        self.config = config
        self.claims = Claims(folder / "claims")
        self.storage = _storage(folder)
        self.study = optuna.load_study(
            study_name=config.name, storage=self.storage, sampler=optuna.samplers.RandomSampler(0)
        )

    @classmethod
    def begin(cls, config: SweepConfig, file: Path) -> Sweep:
        """Make the sweep's folder, or go on with the one that is there.

        Args:
            config: the sweep.
            file: where it was read from.

        Raises:
            RecipeError: if a point does not fit the recipe; nothing is written then.
            RunError: if the sweep that is there is another one.
        """
        folder = Path(config.root) / config.name
        base = load.base_recipe(config, file)
        if (folder / "sweep.yaml").is_file():
            return cls(folder, _continued(folder, config, base))
        aside = folder.with_name(f".{config.name}-{secrets.token_hex(4)}.tmp")
        load.try_points(config, base, file)
        try:
            aside.mkdir(parents=True)
            recipes.save(base, aside / "recipe.yaml")
            _freeze(config, aside)
            direction = StudyDirection.MINIMIZE if config.mode == "min" else StudyDirection.MAXIMIZE
            optuna.create_study(study_name=config.name, storage=_storage(aside), direction=direction)
            os.rename(aside, folder)
        except OSError as error:
            if (folder / "sweep.yaml").is_file():  # another worker was quicker
                return cls(folder, _continued(folder, config, base))
            what = f"cannot make the sweep's folder: {error.strerror}"
            raise RunError(what, where=folder, fix="set root, or remove what is there") from error
        finally:
            shutil.rmtree(aside, ignore_errors=True)
        return cls(folder, config)

    @classmethod
    def open(cls, folder: Path) -> Sweep:
        """The sweep in a folder.

        Raises:
            RunError: if there is none.
        """
        file = folder / "sweep.yaml"
        if not file.is_file():
            raise RunError("no sweep has begun here", where=folder, fix="start it with mien sweep SWEEP")
        tree, _ = recipes.read_tree(file)
        return cls(folder, load.from_tree(tree, file))

    # --- trials

    def trials(self) -> list[FrozenTrial]:
        """Trials that were begun, by number."""
        return self.study.get_trials(deepcopy=False)[: self.config.total]

    def root(self, number: int) -> Path:
        """Run root of a trial."""
        return self.folder / f"trial-{number:04d}"

    def recipe(self, number: int, extra: list[str] | None = None) -> Recipe:
        """The recipe of a trial.

        Args:
            number: of the trial.
            extra: more `key=value`, such as what Slurm chose.
        """
        base = recipes.load_resolved(self.folder / "recipe.yaml")
        own = (
            load.override("run.root", str(self.root(number))),
            load.override("tracking.group", self.config.name),
            load.override("tracking.tags", [*base.tracking.tags, f"trial-{number:04d}"]),
        )
        overrides = [*self.overrides(number), *own, *(extra or [])]
        return recipes.change(base, overrides, origin=f"trial {number}")

    def overrides(self, number: int) -> list[str]:
        """What a trial changes in the base recipe, as `key=value`."""
        return list(self.trials()[number].user_attrs["overrides"])

    def take(self, me: Mapping[str, Any]) -> tuple[Claim | None, bool]:
        """Claim a trial to work on: an interrupted one before a new one.

        Args:
            me: `claims.process()` or `claims.job()`.

        Returns:
            The claim, None if there is nothing to take now; and whether that may change soon, because the
            holder of a trial is being watched for signs of life.
        """
        lock = JournalFileOpenLock(str(self.folder / "sweep"))
        lock.acquire()
        try:
            watched = False
            for trial in self.trials():
                if trial.state.is_finished():
                    continue
                if (claim := self.claims.take(trial.number, me)) is not None:
                    return claim, False
                last = self.claims.newest(trial.number)
                watched |= last is not None and self.claims.held(last) is None
            while (number := len(self.trials())) < self.config.total:
                self._ask(number)
                if (claim := self.claims.take(number, me)) is not None:
                    return claim, False
            return None, watched
        finally:
            lock.release()

    def tell(self, number: int, state: TrialState, value: float | None = None, **facts: Any) -> None:
        """Note how a trial ended; once, later calls change nothing.

        Args:
            number: of the trial.
            state: COMPLETE, PRUNED or FAIL.
            value: of the metric; not for a failed one.
            facts: what else to keep: `run`, `seconds`, `steps`, `reason`.
        """
        trial = self.trials()[number]
        if trial.state.is_finished():
            return
        for key, fact in facts.items():
            self.storage.set_trial_user_attr(trial._trial_id, key, fact)
        numbers = None if value is None or math.isnan(value) else [value]
        self.storage.set_trial_state_values(trial._trial_id, state, numbers)
        (self.root(number) / "done").touch()  # for the launcher on Slurm

    def note(self, number: int, step: int, value: float) -> FrozenTrial:
        """Keep a value of the metric on the way; gives the trial as it stands then."""
        trial = self.trials()[number]
        if step not in trial.intermediate_values:
            self.storage.set_trial_intermediate_value(trial._trial_id, step, value)
        return self.study.get_trials(deepcopy=False)[number]

    def _ask(self, number: int) -> None:
        """Write a new trial, whole in one line of the journal; only under the lock."""
        config, seeds = self.config, self.config.seeds
        point, turn = divmod(number, max(len(seeds), 1))
        if turn:
            params = self.trials()[number - turn].params
        else:
            params = space.drawn(config, point, self.study)
        chosen = space.values(config, params)
        overrides = [load.override(key, value) for key, value in chosen.items()]
        if seeds:
            overrides.append(load.override("seed", seeds[turn]))
        self.study.add_trial(
            optuna.trial.create_trial(
                state=TrialState.RUNNING,
                params=params,
                distributions=space.distributions(config),
                user_attrs={"point": point, "overrides": overrides},
            )
        )


def drop_torn_tail(journal: Path) -> None:
    """Cut off a last line without an end; only under the journal's lock."""
    with journal.open("r+b") as file:
        size = file.seek(0, os.SEEK_END)
        if not size:
            return
        file.seek(size - 1)
        if file.read(1) != b"\n":
            file.seek(0)
            file.truncate(file.read().rfind(b"\n") + 1)


def _storage(folder: Path) -> JournalStorage:
    journal = folder / "journal.log"
    return JournalStorage(JournalFileBackend(str(journal), lock_obj=_Lock(journal)))


def _freeze(config: SweepConfig, folder: Path) -> None:
    aside = folder / f".sweep-{secrets.token_hex(4)}.tmp"
    aside.write_text(yaml.safe_dump(config.dump(), sort_keys=False), encoding="utf-8")
    os.replace(aside, folder / "sweep.yaml")


def _continued(folder: Path, config: SweepConfig, base: Recipe) -> SweepConfig:
    """The sweep to go on with: as frozen, with as many trials as are asked for now.

    Raises:
        RunError: naming the keys that differ.
    """
    tree, _ = recipes.read_tree(folder / "sweep.yaml")
    frozen = load.from_tree(tree, folder / "sweep.yaml")
    old, new = frozen.dump(), config.dump()
    keys = [key for key in new if old[key] != new[key] and key not in (*_MAY_CHANGE, "recipe", "set")]
    keys += resume.changed_keys(recipes.load_resolved(folder / "recipe.yaml").dump(), base.dump())
    if keys:
        what = f"the sweep differs from the one that began here in {', '.join(keys)}"
        raise RunError(what, where=folder, fix="take the change back, or give it another name=")
    if frozen.trials != config.trials:
        frozen = frozen.model_copy(update={"trials": config.trials})
        _freeze(frozen, folder)
    return frozen


def best(sweep: Sweep) -> FrozenTrial | None:
    """The finished trial with the best value."""
    done = [t for t in sweep.trials() if t.state == TrialState.COMPLETE and t.value is not None]
    sign = 1 if sweep.config.mode == "min" else -1
    return min(done, key=lambda trial: sign * float(trial.value or 0.0), default=None)
