"""From a run and sets to a report: `evaluate` is what the command line calls, `assess` needs no run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from mien import systems
from mien.engine.rundir import RunFolder
from mien.errors import DataError, MienError
from mien.evaluation import baselines as simple
from mien.evaluation.classify import classify
from mien.evaluation.cnn import CnnConfig, cnn
from mien.evaluation.faceset import FaceSet, open_faces, require_disjoint
from mien.evaluation.page import write_page
from mien.evaluation.promptset import PromptSet, covering, load_prompts
from mien.evaluation.protocols import always_present, linear_probe, linear_probe_units, unit_probe, zero_shot
from mien.evaluation.report import Report, Row
from mien.evaluation.retrieval import retrieval
from mien.systems.encoder import Encoder

PROTOCOLS = ("zero_shot", "linear_probe", "retrieval", "classify")
BASELINES = ("majority", "hog", "cnn")
TASKS = ("emotion", "au")

Say = Callable[[str], None]


def evaluate(
    run: str | Path,
    protocol: str,
    test: str | Path,
    train: str | Path | None = None,
    out: str | Path | None = None,
    *,
    prompts: str | Path | None = None,
    baselines: Sequence[str] = ("majority", "hog"),
    task: str = "emotion",
    classes: Sequence[str] | None = None,
    allow_overlap: bool = False,
    which: str = "last",
    cnn_config: CnnConfig | None = None,
    seed: int = 0,
    progress: Say = lambda _: None,
) -> Report:
    """Score a run by a protocol; write report.json, table.csv, predictions and report.html.

    Args:
        run: run folder.
        protocol: one of `PROTOCOLS`.
        test: shard set to score on.
        train: shard set for the probe and the trained baselines; needed by `linear_probe`, else optional.
        out: folder to write; `<run>/evaluation/<protocol>` (with `-au` for that task) when None.
        prompts: packaged prompt set or yaml file; None: the smallest packaged set that has the classes.
        baselines: of `BASELINES`; those that train need `train`. Caption retrieval has chance instead.
        task: `emotion` scores classes, `au` (linear probe only) action units.
        classes: keep only samples of these labels, in both sets.
        allow_overlap: let people be in both sets.
        which: checkpoint: `last`, `best` or a step.
        cnn_config: of the `cnn` baseline.
        seed: of folds, bootstrap and the CNN.
        progress: told one line a stage.

    Raises:
        MienError: for a run, set, prompt file or choice that cannot be used.
    """
    _check(protocol, task, baselines, train)
    folder = RunFolder.open(run)
    held = open_faces(test, classes)
    fitted = open_faces(train, classes) if train is not None else None
    if fitted is not None and not allow_overlap:
        require_disjoint(fitted, held)
    chosen = _prompts(prompts, held) if protocol == "zero_shot" else None
    progress(f"loading {folder.path} ({which})")
    encoder: Encoder | None = None
    if protocol == "classify":
        classifier = systems.load_classifier(folder.path, which)
        progress(f"classify: {len(held)} test samples of {len(set(held.groups))} people")
        names = list(classifier.classes)
        others = _class_baselines(baselines, fitted, held, names, cnn_config, seed, progress)
        rows = [classify(classifier, held, seed=seed), *others]
    else:
        encoder = systems.load(folder.path, which)
        rows = assess(
            encoder, protocol, held, fitted, prompts=chosen, baselines=baselines, task=task,
            cnn_config=cnn_config, seed=seed, progress=progress,
        )  # fmt: skip
    facts = _facts(folder, which, held, fitted, chosen, seed)
    report = Report(protocol, str(run), rows, held.keys, held.groups, facts)
    if facts.get("test people also in pretraining"):
        progress(f"warning: {facts['test people also in pretraining']} test people were seen in pretraining")
    target = Path(
        out or folder.path / "evaluation" / (protocol if task == "emotion" else f"{protocol}-{task}")
    )
    report.write(target)
    progress("drawing the report")
    write_page(report, target / "report.html", encoder, held)
    return report


def assess(
    encoder: Encoder,
    protocol: str,
    test: FaceSet,
    train: FaceSet | None = None,
    *,
    prompts: PromptSet | None = None,
    baselines: Sequence[str] = ("majority", "hog"),
    task: str = "emotion",
    cnn_config: CnnConfig | None = None,
    seed: int = 0,
    progress: Say = lambda _: None,
) -> list[Row]:
    """Rows of a protocol, the encoder's first, then the baselines; arguments as in `evaluate`."""
    _check(protocol, task, baselines, train)
    progress(f"{protocol}: {len(test)} test faces of {len(set(test.groups))} people")
    if protocol == "retrieval":
        return retrieval(encoder, test, seed=seed)
    if task == "au":
        assert train is not None  # _check
        return [
            linear_probe_units(encoder, train, test, seed=seed),
            *_unit_baselines(baselines, train, test, seed),
        ]
    if protocol == "zero_shot":
        rows = zero_shot(encoder, test, prompts or _prompts(None, test), seed=seed)
        names = sorted(set(test.labels))
        train = train and train.of_classes(names)
    else:
        assert train is not None  # _check
        rows = linear_probe(encoder, train, test, seed=seed)
        names = sorted(set(train.labels))
    return rows + _class_baselines(baselines, train, test, names, cnn_config, seed, progress)


def _class_baselines(
    wanted: Sequence[str],
    train: FaceSet | None,
    test: FaceSet,
    classes: list[str],
    cnn_config: CnnConfig | None,
    seed: int,
    progress: Say,
) -> list[Row]:
    rows = []
    for name in wanted:
        if name != "majority" and train is None:
            progress(f"baseline {name} is left out: it needs --train")
            continue
        progress(f"baseline: {name}")
        if name == "majority":
            rows.append(simple.majority(test, classes, train, seed))
        elif train is not None and name == "hog":
            rows.append(simple.hog_logistic(train, test, classes, seed))
        elif train is not None:
            rows.append(cnn(train, test, classes, seed, cnn_config))
    return rows


def _unit_baselines(wanted: Sequence[str], train: FaceSet, test: FaceSet, seed: int) -> list[Row]:
    rows = []
    if "majority" in wanted:
        rows.append(always_present(train, test, seed=seed))
    if "hog" in wanted:
        features, held = simple.hog_features(train), simple.hog_features(test)
        rows.append(unit_probe(features, held, train, test, "hog_logreg/au", seed=seed))
    return rows


def _check(protocol: str, task: str, baselines: Sequence[str], train: object) -> None:
    """Raise MienError for an impossible choice, before anything is read."""
    for what, value, known in (("protocol", protocol, PROTOCOLS), ("task", task, TASKS)):
        if value not in known:
            raise MienError(f"unknown {what} '{value}'", fix="choose of " + ", ".join(known))
    for name in baselines:
        if name not in BASELINES:
            raise MienError(f"unknown baseline '{name}'", fix="choose of " + ", ".join(BASELINES))
    if task == "au" and protocol != "linear_probe":
        raise MienError("task 'au' belongs to linear_probe", fix="add --protocol linear_probe")
    if protocol == "linear_probe" and train is None:
        raise DataError("linear_probe needs a train set", fix="add --train SHARDS")


def _prompts(source: str | Path | None, test: FaceSet) -> PromptSet:
    labels = sorted(set(test.labels))
    found = load_prompts(source) if source is not None else covering(labels) or load_prompts("compound")
    found.require(labels)
    return found


def _facts(
    folder: RunFolder,
    which: str,
    test: FaceSet,
    train: FaceSet | None,
    prompts: PromptSet | None,
    seed: int,
) -> dict[str, Any]:
    info, recipe = folder.info, folder.recipe
    facts: dict[str, Any] = {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "run id": info["id"],
        "recipe": recipe.name,
        "recipe sha256": recipe.hash,
        "code": info.get("code_version", ""),
        "checkpoint": which,
        "step": folder.checkpoint(which).step,
    }
    for name, faces in (("test", test), ("train", train)):
        if faces is not None:
            facts[f"{name} set"] = faces.name
            facts[f"{name} sha256"] = faces.shards.sha
            facts[f"{name} samples"] = len(faces)
            facts[f"{name} people"] = len(set(faces.groups))
            facts[f"{name} classes"] = ", ".join(
                f"{label} {faces.labels.count(label)}" for label in sorted(set(faces.labels))
            )
    seen = _pretraining_people(recipe)
    facts["test people also in pretraining"] = len(seen & set(test.groups)) if seen is not None else "unknown"
    if prompts is not None:
        facts |= {"prompts": prompts.name, "prompts sha256": prompts.sha256, "main family": prompts.default}
    return facts | {"seed": seed}


def _pretraining_people(recipe: Any) -> set[str] | None:
    """People of the set that the run was trained on; None when it is no longer there."""
    folders = [part.shards for part in recipe.data.train.parts] if recipe.data.train is not None else []
    if not folders or not all(Path(folder).is_dir() for folder in folders):
        return None
    return {group for folder in folders for group in open_faces(folder).groups}
