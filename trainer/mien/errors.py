"""The one exception family of mien: what is wrong, where, and how to mend it."""

from __future__ import annotations

from collections.abc import Iterable


class MienError(Exception):
    """A fault of the input or the surroundings, not of the program.

    The command line prints each line of `str(error)` and exits with code 2; any other exception is a bug and
    shows its trace.

    Args:
        what: what is wrong, one sentence without a full stop.
        where: file, key, sample or address that it concerns.
        fix: what the user can do about it.
    """

    def __init__(self, what: str, *, where: object = "", fix: str = "") -> None:
        self.what = what
        self.where = str(where)
        self.fix = fix
        head = f"{self.where}: {what}" if self.where else what
        super().__init__(f"{head}; {fix}" if fix else head)


class RecipeError(MienError):
    """A recipe that cannot be run; carries every problem found, one line each."""

    def __init__(self, problems: Iterable[MienError]) -> None:
        self.problems = list(problems)
        Exception.__init__(self, "\n".join(str(problem) for problem in self.problems))


class DataError(MienError):
    """Shards, an index or a labels file that cannot be used."""


class RunError(MienError):
    """A run folder or checkpoint that cannot be used."""
