"""All benchmarks of a folder, one after the other; those that are done are not computed again."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from mien.benchmarks.base import MADE, Benchmark, Item
from mien.errors import DataError, MienError
from mien.evaluation.suite.classes import zero_shot
from mien.evaluation.suite.embed import ClipReader, Embedder, Media, ProtocolName, read_clip
from mien.evaluation.suite.questions import answer_questions
from mien.evaluation.suite.results import Outcome, Result, held_out, person, read_result, write_result
from mien.evaluation.suite.trained import with_shots
from mien.evaluation.suite.units import zero_shot_units
from mien.systems.encoder import Encoder

VERSION = 2
"""Counts up when a number could change without its inputs changing; older results are then computed again."""

MOST_DAMAGED = 0.01
"""Share of damaged samples above which a benchmark fails."""


@dataclass(frozen=True)
class Subject:
    """What is scored.

    Attributes:
        name: for the table.
        fingerprint: hash of its weights.
        encoder: the model at rest.
    """

    name: str
    fingerprint: str
    encoder: Encoder


def run_all(
    subject: Subject,
    benchmarks: Mapping[str, tuple[Benchmark, Path]],
    protocol: ProtocolName,
    out: Path,
    *,
    shots: bool = False,
    seed: int = 0,
    clips: ClipReader = read_clip,
) -> tuple[list[Result], list[MienError]]:
    """Score a model on benchmarks; each leaves `OUT/<name>/result.json` and `predictions.csv`.

    Args:
        subject: what is scored.
        benchmarks: by name, each with its folder.
        protocol: of `embed.PROTOCOLS`.
        out: folder of one model and one protocol.
        shots: also few-shot, linear probe and retrieval rows.
        seed: of bootstraps, shots and folds.
        clips: reads frames.

    Returns:
        Results in order, and the faults of those that failed; a failed one leaves no result.

    Raises:
        MienError: if `out` holds another protocol.
    """
    require_one_protocol(out, protocol)
    embedder = Embedder(subject.encoder, protocol, clips)
    results, faults = [], []
    with Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        transient=True,
    ) as bar:
        whole = bar.add_task("benchmarks", total=len(benchmarks))
        for name, (benchmark, folder) in benchmarks.items():
            try:
                results.append(run_one(subject, benchmark, folder, embedder, out / name, bar, shots, seed))
            except MienError as error:
                faults.append(error)
            bar.advance(whole)
    return results, faults


def run_one(
    subject: Subject, benchmark: Benchmark, folder: Path, embedder: Embedder, out: Path, bar: Progress,
    shots: bool, seed: int,
) -> Result:  # fmt: skip
    """The result of one benchmark, read if it is there and nothing that it depends on has changed.

    Raises:
        DataError: if the folder is unsound, or more than `MOST_DAMAGED` of the samples cannot be read.
    """
    items = benchmark.open(folder)
    key = _key(subject, benchmark, items, embedder.protocol, shots, seed)
    done = read_result(out)
    if done is not None and done.key == key:
        return done
    scored = held_out(items)
    if not scored:
        raise DataError(f"{benchmark.title} has nothing to score", where=folder, fix="add its test split")
    train = [item for item in items if item.split == "train"]
    used = scored + (train if shots or benchmark.task == "au" else [])
    task = bar.add_task(benchmark.title, total=sum(len(_media(item)) for item in used))
    embedder.prepare((one for item in used for one in _media(item)), lambda count: bar.advance(task, count))
    bar.remove_task(task)
    damaged = {item.key: text for item in used if (text := _damage(item, embedder))}
    require_whole(benchmark, damaged, len(used), folder)
    scored, train = ([item for item in part if item.key not in damaged] for part in (scored, train))
    outcome = _outcome(embedder, benchmark, scored, train, seed)
    extra = with_shots(embedder, benchmark, scored, train, seed) if shots else []
    people = len({person(item) for item in scored})
    facts = {"model": subject.name, "weights": subject.fingerprint, "clips": embedder.note, "seed": seed}
    lines = [f"{name}: {text}" for name, text in damaged.items()]
    title = benchmark.title
    if (folder / MADE).is_file():
        facts, title = facts | {"synthetic": "made by mien, not the real set"}, f"{title}, synthetic"
    result = Result(
        benchmark.name, title, benchmark.task, embedder.protocol, key,
        outcome.rows + extra, len(scored), people, lines, facts | outcome.facts,
    )  # fmt: skip
    write_result(result, outcome.predictions, out)
    return result


def require_whole(benchmark: Benchmark, damaged: Mapping[str, str], count: int, where: Path) -> None:
    """Raise DataError if more than `MOST_DAMAGED` of the samples are damaged; names the first."""
    if len(damaged) > MOST_DAMAGED * count:
        key, text = next(iter(damaged.items()))
        raise DataError(
            f"{benchmark.title}: {len(damaged)} of {count} samples are damaged, first {key}: {text}",
            where=where,
            fix="fetch the set again; at most 1 % may be damaged",
        )


def require_one_protocol(out: Path, protocol: ProtocolName) -> None:
    """Raise MienError if a folder holds results of another protocol."""
    for path in sorted(out.glob("*/result.json")):
        found = read_result(path.parent)
        if found is not None and found.protocol != protocol:
            raise MienError(
                f"holds results of protocol {found.protocol}, which never share a table with {protocol}",
                where=out,
                fix="choose another --out",
            )


def _outcome(
    embedder: Embedder, benchmark: Benchmark, scored: Sequence[Item], train: Sequence[Item], seed: int
) -> Outcome:
    if benchmark.task == "au":
        return zero_shot_units(embedder, benchmark, scored, train, seed)
    if benchmark.task == "mcq":
        return answer_questions(embedder, benchmark, scored, seed)
    return zero_shot(embedder, benchmark, scored, seed)


def _media(item: Item) -> list[Media]:
    """What is embedded of an item: each image of a question, else all media as one."""
    return [(path,) for path in item.media] if item.question is not None else [item.media]


def _damage(item: Item, embedder: Embedder) -> str | None:
    return next((embedder.damaged[one] for one in _media(item) if one in embedder.damaged), None)


def _key(
    subject: Subject,
    benchmark: Benchmark,
    items: Sequence[Item],
    protocol: ProtocolName,
    shots: bool,
    seed: int,
) -> str:
    """Hash of the weights, the protocol and the items with the sizes of their files."""
    shown = [
        (item.key, item.label, item.group, item.split, item.fold, item.text, repr(item.question),
         sorted((item.units or {}).items()), [path.stat().st_size for path in item.media])
        for item in items
    ]  # fmt: skip
    content = [
        VERSION, subject.fingerprint, benchmark.name, benchmark.classes, benchmark.units, protocol, shots,
        seed, shown, _wording(),
    ]  # fmt: skip
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _wording() -> str:
    """Hash of every file that pins prompts."""
    from importlib import resources

    prompts = resources.files("mien.evaluation") / "prompts"
    files = sorted(prompts.iterdir(), key=lambda file: file.name)
    texts = [file.read_bytes() for file in files if file.name.endswith(".yaml")]
    return hashlib.sha256(b"\0".join(texts)).hexdigest()
