"""What `mien benchmark` scores: a run folder, or a published model as `name:path`."""

from __future__ import annotations

import hashlib
from pathlib import Path

from mien.errors import RunError
from mien.evaluation.suite.runner import Subject


def open_subject(said: str, which: str = "last") -> Subject:
    """The model that an argument names.

    Args:
        said: run folder, or `name:path` (also `baseline:name:path`) of published weights.
        which: checkpoint of a run: `last`, `best` or a step.

    Raises:
        RunError: if it is neither, or its weights cannot be used.
    """
    if Path(said).is_dir():
        return _run(Path(said), which)
    name, _, path = said.removeprefix("baseline:").rpartition(":")
    if not name:
        raise RunError("no such run", where=said, fix="give a run folder, or NAME:PATH of published weights")
    return _pretrained(name, Path(path))


def _run(path: Path, which: str) -> Subject:
    from mien import systems
    from mien.engine.rundir import RunFolder

    folder = RunFolder.open(path)
    manifest = folder.checkpoint(which).path / "manifest.json"
    digest = hashlib.sha256(manifest.read_bytes()).hexdigest()
    return Subject(f"{folder.recipe.name}/{path.resolve().name}", digest, systems.load(path, which))


def _pretrained(name: str, path: Path) -> Subject:
    if not path.is_file():
        raise RunError("no such weights", where=path, fix=f"give {name}:PATH with the file of its weights")
    try:
        from mien.systems.emocapclip.pretrained import load_pretrained
    except ModuleNotFoundError as error:
        if error.name != "mien.systems.emocapclip.pretrained":
            raise
        raise RunError(
            "this version of mien reads no published weights", where=name, fix="update mien"
        ) from error
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return Subject(name, digest, load_pretrained(name, path))
