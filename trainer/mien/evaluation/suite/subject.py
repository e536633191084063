"""What `mien benchmark` scores: a run folder, or a published model as `name:path`."""

from __future__ import annotations

import hashlib
from pathlib import Path

from mien.errors import RunError
from mien.evaluation.suite.runner import Subject


def open_subject(said: str, which: str = "last") -> Subject:
    """The model that an argument names.

    Args:
        said: run folder, or `name:path` (also `baseline:name:path`) of published weights; the path of
            `expclip` is `HEAD,CLIP` or a folder of both.
        which: checkpoint of a run: `last`, `best` or a step.

    Raises:
        RunError: if it is neither, or its weights cannot be used.
    """
    if Path(said).is_dir():
        return _run(Path(said), which)
    name, _, path = said.removeprefix("baseline:").rpartition(":")
    if not name:
        raise RunError("no such run", where=said, fix="give a run folder, or NAME:PATH of published weights")
    return _pretrained(name, path)


def _run(path: Path, which: str) -> Subject:
    from mien import systems
    from mien.engine.rundir import RunFolder

    folder = RunFolder.open(path)
    manifest = folder.checkpoint(which).path / "manifest.json"
    digest = hashlib.sha256(manifest.read_bytes()).hexdigest()
    return Subject(f"{folder.recipe.name}/{path.resolve().name}", digest, systems.load(path, which))


def _pretrained(name: str, path: str) -> Subject:
    from mien.systems.emocapclip.pretrained import load_pretrained, weight_files

    digests = []
    for part in weight_files(name, path):
        with part.open("rb") as file:
            digests.append(hashlib.file_digest(file, "sha256").hexdigest())
    whole = digests[0] if len(digests) == 1 else hashlib.sha256("".join(digests).encode()).hexdigest()
    return Subject(name, whole, load_pretrained(name, path))
