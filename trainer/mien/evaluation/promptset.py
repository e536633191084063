"""Prompt sets: the words that stand for a class, pinned in a file and hashed into every report."""

from __future__ import annotations

import hashlib
import itertools
import json
import string
from collections.abc import Iterable
from importlib import resources
from pathlib import Path
from typing import Any

import yaml
from pydantic import Field, ValidationError

from mien.config import Config
from mien.errors import DataError


class Words(Config):
    """The words of one class."""

    nouns: list[str] = []
    """What {noun} expands to; the class name itself when empty."""
    adjectives: list[str] = []
    """What {adjective} expands to."""


class PromptSet(Config):
    """Classes and families of prompt templates."""

    name: str
    """File stem."""
    default: str
    """Family of the main row of a report; fixed here so that no test set can choose it."""
    classes: dict[str, Words] = Field(min_length=1)
    """Class label to its words."""
    families: dict[str, list[str]] = Field(min_length=1)
    """Family name to templates with {class}, {noun} or {adjective}."""

    @property
    def sha256(self) -> str:
        """Hash of everything that reaches the text tower: classes, words, families, default."""
        content = self.model_dump(exclude={"name"})
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()

    def prompts(self, family: str, label: str) -> list[str]:
        """Prompts of one class in one family, without repeats; `_` in a label reads as a space.

        Raises:
            DataError: for a label or family that the set has not.
        """
        label = label.replace("_", " ")
        if label not in self.classes:
            raise DataError(
                f"class '{label}' is unknown to the prompts", where=self.name, fix=_advice([label])
            )
        if family not in self.families:
            raise DataError(
                f"no prompt family '{family}'", where=self.name, fix="choose of " + ", ".join(self.families)
            )
        words = self.classes[label]
        fields = {
            "class": [label],
            "noun": words.nouns or [label],
            "adjective": words.adjectives,
        }
        expanded = (text for template in self.families[family] for text in _expand(template, fields))
        return list(dict.fromkeys(expanded))

    def require(self, labels: Iterable[str]) -> None:
        """Raise DataError when a label has no prompts, naming the packaged set that has them all."""
        unknown = sorted(label for label in set(labels) if label.replace("_", " ") not in self.classes)
        if unknown:
            names = ", ".join(f"'{label}'" for label in unknown)
            raise DataError(f"{names} unknown to the prompts", where=self.name, fix=_advice(labels))


def packaged() -> list[str]:
    """Names of the prompt sets that ship with the package, smallest first."""
    return sorted(_names(), key=lambda name: len(load_prompts(name).classes))


def covering(labels: Iterable[str]) -> PromptSet | None:
    """The smallest packaged set that has every label, if any has."""
    wanted = {label.replace("_", " ") for label in labels}
    return next((found for name in packaged() if wanted <= set((found := load_prompts(name)).classes)), None)


def load_prompts(source: str | Path) -> PromptSet:
    """Read a packaged set by name, or a yaml file by path; `extends: NAME` starts from a packaged set.

    Raises:
        DataError: when it is absent or malformed.
    """
    path = Path(source)
    content = _read(path if path.suffix in {".yaml", ".yml"} else _folder() / f"{source}.yaml", source)
    parent = content.pop("extends", None)
    if parent is not None:
        base = load_prompts(str(parent)).model_dump(exclude={"name"})
        content = {
            **base,
            **content,
            **{key: base[key] | content.get(key, {}) for key in ("classes", "families")},
        }
    try:
        found = PromptSet.model_validate({**content, "name": path.stem})
    except ValidationError as error:
        problems = ", ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
        raise DataError(problems, where=source, fix="see prompts/emotion7.yaml") from error
    _check(found, source)
    return found


def _read(path: Any, source: str | Path) -> dict[str, Any]:
    if not path.is_file():
        raise DataError("no such prompt set", where=source, fix="give a .yaml file or " + ", ".join(_names()))
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        line = " ".join(str(error).split())
        raise DataError(f"not yaml: {line}", where=source, fix="see prompts/emotion7.yaml") from error
    if not isinstance(content, dict):
        raise DataError("a prompt set is a mapping", where=source, fix="see prompts/emotion7.yaml")
    return content


def _check(found: PromptSet, source: str | Path) -> None:
    if found.default not in found.families:
        raise DataError(
            f"default family '{found.default}' is absent",
            where=source,
            fix="use " + ", ".join(found.families),
        )
    for family, templates in found.families.items():
        for template in templates:
            try:
                unknown = sorted(_fields(template) - {"class", "noun", "adjective"})
            except ValueError as error:
                unknown = [str(error)]
            if unknown:
                raise DataError(
                    f"template '{template}' of '{family}': bad field: {unknown[0]}",
                    where=source,
                    fix="use {class}, {noun} or {adjective}",
                )
        for label in found.classes:
            if not found.prompts(family, label):
                raise DataError(
                    f"class '{label}' has no prompt in '{family}'", where=source, fix="give it adjectives"
                )


def _fields(template: str) -> set[str]:
    return {name for _, name, _, _ in string.Formatter().parse(template) if name is not None}


def _expand(template: str, fields: dict[str, list[str]]) -> list[str]:
    names = sorted(_fields(template))
    choices = itertools.product(*(fields[name] for name in names))
    return [_article(template.format(**dict(zip(names, words)))) for words in choices]


def _article(text: str) -> str:
    """'a angry face' -> 'an angry face'."""
    words = text.split(" ")
    for place, (word, following) in enumerate(itertools.pairwise(words)):
        if word in {"a", "A"} and following[:1].lower() in "aeiou":
            words[place] = word + "n"
    return " ".join(words)


def _advice(labels: Iterable[str]) -> str:
    other = covering(labels)
    more = f"use --prompts {other.name}" if other else "write a prompt file with them"
    return f"{more}, or choose known ones with --classes"


def _names() -> list[str]:
    names = {item.name[:-5] for item in _folder().iterdir() if item.name.endswith(".yaml")}
    return sorted(names - {"units"})  # pairs of prompts: `unit_prompts`


def _folder() -> Any:
    return resources.files("mien.evaluation") / "prompts"
