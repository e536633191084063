"""`python -m mien.faults`: every fault many times, and how each try ended."""

from __future__ import annotations

import argparse
import json
import random
import shutil
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from mien.faults import cases_process, cases_storage, cases_store, sessions
from mien.faults.lab import Case, Lab, Outcome
from mien.faults.subjects import SUBJECTS

CASES: dict[str, Case] = cases_process.CASES | cases_storage.CASES | cases_store.CASES


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the cases and print the table; 1 if a try ended otherwise than it should."""
    parser = argparse.ArgumentParser(prog="python -m mien.faults", description=__doc__)
    recipes = tuple(SUBJECTS)
    parser.add_argument("--recipe", choices=recipes, default=recipes[0], help="what is trained")
    parser.add_argument("--times", type=int, default=20, help="tries of each fault (default 20)")
    parser.add_argument("--parallel", type=int, default=2, help="tries at the same time (default 2)")
    parser.add_argument("--only", action="append", help="part of a fault's name; repeat for more")
    parser.add_argument("--seed", type=int, default=0, help="of the moments and places of the faults")
    parser.add_argument(
        "--patience",
        type=float,
        default=sessions.PATIENCE_S,
        help="seconds until a session counts as hanging",
    )
    parser.add_argument("--json", type=Path, help="also write the outcomes to this file")
    options = parser.parse_args(arguments)
    wanted = {n: c for n, c in CASES.items() if not options.only or any(o in n for o in options.only)}
    if not wanted:
        parser.error(f"no fault is called so; there are: {', '.join(CASES)}")
    sessions.PATIENCE_S = options.patience
    root = Path(tempfile.mkdtemp(prefix="mien-faults-"))
    try:
        lab = Lab(root, SUBJECTS[options.recipe])
        found = _try_all(wanted, lab, options.times, options.parallel, options.seed)
    finally:
        shutil.rmtree(root, ignore_errors=True)
    print(table(found))
    if options.json is not None:
        tree = {name: [[o.good, o.said] for o in outcomes] for name, outcomes in found.items()}
        options.json.write_text(json.dumps(tree, indent=1) + "\n", encoding="utf-8")
    return int(not all(outcome.good for outcomes in found.values() for outcome in outcomes))


def _try_all(
    cases: dict[str, Case], lab: Lab, times: int, parallel: int, seed: int
) -> dict[str, list[Outcome]]:
    columns = (TextColumn("{task.description:34}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    found: dict[str, list[Outcome]] = {}
    with Progress(*columns) as bar, ThreadPoolExecutor(parallel) as pool:
        for name, case in cases.items():
            task = bar.add_task(name, total=times)

            def one(number: int, name: str = name, case: Case = case, task: object = task) -> Outcome:
                folder = lab.root / f"{abs(hash(name)) % 10**8}-{number}"
                outcome = attempt(case, lab, folder, random.Random(f"{seed} {name} {number}"))
                shutil.rmtree(folder, ignore_errors=True)
                bar.advance(task)  # type: ignore[arg-type]
                if not outcome.good:
                    bar.console.print(f"{name}, try {number}: {outcome.said}", markup=False)
                return outcome

            found[name] = list(pool.map(one, range(times)))
    return found


def attempt(case: Case, lab: Lab, folder: Path, chance: random.Random) -> Outcome:
    """One try; a session that hangs or fails where it should not is an outcome too."""
    try:
        return case(lab, folder, chance)
    except AssertionError as error:
        lines = (str(error) or traceback.format_exc()).strip().splitlines()
        return Outcome(False, f"{lines[0]} ... {lines[-1]}"[:300])


def table(found: dict[str, list[Outcome]]) -> str:
    """A row a fault: tries, how many ended as they should, and what was seen."""
    lines = ["| fault | tries | as stated | outcome |", "|---|---:|---:|---|"]
    for name, outcomes in found.items():
        seen = Counter(outcome.said for outcome in outcomes)
        texts = ((count, " ".join(text.split())) for text, count in seen.items())
        said = "; ".join(f"{count} x {text}" if len(seen) > 1 else text for count, text in texts)
        lines.append(f"| {name} | {len(outcomes)} | {sum(o.good for o in outcomes)} | {said} |")
    return "\n".join(lines)


if __name__ == "__main__":
    began = time.monotonic()
    code = main()
    print(f"{(time.monotonic() - began) / 60:.0f} min", file=sys.stderr)
    sys.exit(code)
