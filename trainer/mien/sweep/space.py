"""From a sweep to the parameters of a point, and to what Optuna calls distributions, samplers and pruners."""

from __future__ import annotations

import itertools
import json
import warnings
from typing import TYPE_CHECKING, Any

import numpy as np

from mien.sweep.config import Dimension, SweepConfig

if TYPE_CHECKING:
    import optuna
    from optuna.distributions import BaseDistribution


def distribution(dimension: Dimension) -> BaseDistribution:
    """The dimension in Optuna's words; values that are lists become their JSON text."""
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    if dimension.values is not None:
        return CategoricalDistribution([_hashable(value) for value in dimension.values])
    assert dimension.low is not None
    assert dimension.high is not None
    if dimension.whole:
        step = int(dimension.step or 1)
        return IntDistribution(int(dimension.low), int(dimension.high), log=dimension.log, step=step)
    return FloatDistribution(dimension.low, dimension.high, log=dimension.log, step=dimension.step)


def distributions(config: SweepConfig) -> dict[str, BaseDistribution]:
    """Optuna's search space."""
    return {key: distribution(dimension) for key, dimension in config.space.items()}


def drawn(config: SweepConfig, point: int, study: optuna.Study | None = None) -> dict[str, Any]:
    """Parameters of a point.

    Args:
        config: the sweep.
        point: number of the point, from 0. With `grid` and `random` nothing else counts but the seed.
        study: what has finished so far, for `tpe`; None draws as `random` does.

    Returns:
        Recipe key -> value, as Optuna stores it; see `values`.
    """
    import optuna

    if config.method == "grid":
        row = next(itertools.islice(config.grid(), point, None))
        return {key: _hashable(value) for key, value in row.items()}
    seed = int(np.random.SeedSequence([config.seed, point]).generate_state(1)[0])
    sampler: optuna.samplers.BaseSampler = optuna.samplers.RandomSampler(seed)
    if config.method == "tpe" and study is not None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            sampler = optuna.samplers.TPESampler(multivariate=True, constant_liar=True, seed=seed)
    if study is None:
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        study = optuna.create_study(direction="minimize")
    blank = optuna.trial.create_trial(state=optuna.trial.TrialState.RUNNING)
    wanted = distributions(config)
    together = sampler.sample_relative(study, blank, wanted)
    return {
        key: together[key] if key in together else sampler.sample_independent(study, blank, key, one)
        for key, one in wanted.items()
    }


def values(config: SweepConfig, params: dict[str, Any]) -> dict[str, Any]:
    """Parameters as the recipe wants them: JSON text of lists is read back."""
    listed = {
        key: {_hashable(value): value for value in dimension.values}
        for key, dimension in config.space.items()
        if dimension.values is not None
    }
    return {key: listed[key][value] if key in listed else value for key, value in params.items()}


def pruner(config: SweepConfig, max_steps: int, every: int) -> optuna.pruners.BasePruner:
    """The rule that gives trials up.

    Args:
        config: the sweep.
        max_steps: length of a trial.
        every: steps between two values of the metric.
    """
    import optuna

    rule = config.pruning
    first = max(rule.warmup_steps, every)
    if rule.rule == "median":
        return optuna.pruners.MedianPruner(rule.warmup_trials, rule.warmup_steps)
    if rule.rule == "asha":
        return optuna.pruners.SuccessiveHalvingPruner(min_resource=first, reduction_factor=3)
    if rule.rule == "hyperband":
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            return optuna.pruners.HyperbandPruner(first, max(max_steps, first), reduction_factor=3)
    return optuna.pruners.NopPruner()


def _hashable(value: Any) -> Any:
    return json.dumps(value) if isinstance(value, list | dict) else value
