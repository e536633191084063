"""Parts of `mien data emocap`: measure action units, try a captioner on one picture."""

from __future__ import annotations

import sys
from math import isnan
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from mien.corpus.units import UnitMeter

units = typer.Typer(help="Measure action units in face crops.", no_args_is_help=True)

Picture = Annotated[Path, typer.Argument(help="Face crop: JPEG, PNG or another image.", show_default=False)]


@units.command(epilog="Example: mien data emocap units fit data/emocap/train meter --test data/emocap/test")
def fit(
    folder: Annotated[Path, typer.Argument(metavar="SET", help="Shards with `au`.", show_default=False)],
    out: Annotated[Path, typer.Argument(help="Folder to write; absent or empty.", show_default=False)],
    test: Annotated[
        Path | None, typer.Option(help="Set of other people to score on.", show_default=False)
    ] = None,
    risk: Annotated[
        float, typer.Option(min=0, max=0.5, help="Share of true sentences on a unit that it may refute.")
    ] = 0.01,
) -> None:
    """Fit a meter on faces whose units are known; with --test print how well it does on other people."""
    from mien.corpus.units import save_meter
    from mien.corpus.units_captions import score_captions
    from mien.corpus.units_fit import fit_meter, measure_set, score_meter
    from mien.errors import DataError

    progress = sys.stderr.isatty()
    train = measure_set(folder, progress)
    held = measure_set(test, progress) if test else None
    if held is not None and set(train.people) & set(held.people):
        raise DataError("people of the test set are in the train set", where=test, fix="split by person")
    meter = fit_meter(train, folder.name, risk)
    save_meter(meter, out)
    if held is not None:
        print("| AU | faces | r | F1 | F1, mean | MAE | MAE, mean | r of left - right | refuted | wronged |")
        print("|---:|" + "---:|" * 9)
        for row in score_meter(meter, held, train):
            head = f"| {row.number} | {row.faces} | {row.correlation:.3f} | {row.f1:.3f} | {row.f1_mean:.3f}"
            sides = "even" if isnan(row.sides) else f"{row.sides:.3f}"
            tail = f"{row.mae_mean:.3f} | {sides} | {_share(row.refuted)} | {_share(row.wronged)} |"
            print(f"{head} | {row.mae:.3f} | {tail}")
        if told := score_captions(meter, held.features, held.records):
            print(f"true captions refused: {told.true_refused:.3f} of {told.captions}")
            print(f"captions of another face refused: {told.other_refused:.3f}")
            sides = f"true {told.sided_refused}, left and right exchanged {told.exchanged_refused}"
            print(f"captions that name a side refused for it, of {told.sided}: {sides}")
    print(out)


@units.command(epilog="Example: mien data emocap units show --meter meter face.jpg")
def show(
    meter: Annotated[Path, typer.Option(help="Folder that `units fit` wrote.", show_default=False)],
    picture: Annotated[
        Path | None,
        typer.Argument(help="Face crop; without one the meter itself is shown.", show_default=False),
    ] = None,
) -> None:
    """Print the units that a meter sees in a picture, or how far its reading of each unit holds."""
    from mien.corpus.units import load_meter
    from mien.faces.actions import ACTION_UNITS, grade

    loaded = load_meter(meter)
    if picture is None:
        _show_meter(loaded)
        return
    shares = dict(zip(loaded.numbers, loaded.shares.tolist(), strict=True))
    print("| AU | name | left | right | FACS | sides |\n|---:|---|---:|---:|---|---|")
    for number, (left, right) in loaded(_read(picture)).items():
        letter, told = grade(max(left, right)), "told" if shares[number] else "even"
        if letter:
            name = ACTION_UNITS[number].name
            print(f"| {number} | {name} | {left:.2f} | {right:.2f} | {letter} | {told} |")


def _show_meter(meter: UnitMeter) -> None:
    from mien.faces.actions import ACTION_UNITS

    print(f"fitted on {meter.facts['faces']} faces of {meter.facts['people']} people, sha {meter.sha}")
    print("| AU | name | sides told | r of them | lower bound | absent below | present from | lead below |")
    print("|---:|---|---|---:|---:|---:|---:|---:|")
    for number, share in zip(meter.numbers, meter.shares.tolist(), strict=True):
        trust, (r, low) = meter.trust[number], meter.facts["sides"][str(number)]
        sides = f"{share:.2f} of it" if share else "even"
        lead = f"{trust.lead:.3f}" if share else "-"
        name = ACTION_UNITS[number].name
        head = f"| {number} | {name} | {sides} | {r:.2f} | {low:.2f}"
        print(f"{head} | {trust.low:.3f} | {trust.high:.3f} | {lead} |")


def caption_try(
    picture: Picture,
    captioner: Annotated[
        str,
        typer.Option(help="offline:METER, http:OPTIONS.yaml, or http with --set.", show_default=False),
    ],
    meter: Annotated[
        Path | None, typer.Option(help="Also judge against units that this meter sees.", show_default=False)
    ] = None,
    changes: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Change an option of an HTTP captioner."),
    ] = None,
) -> None:
    """Caption one picture; print the caption, what the gates say, and what it took."""
    from mien.corpus.caption_gates import judge
    from mien.corpus.captioner import make_captioner
    from mien.corpus.units import load_meter

    data = _read(picture)
    made = make_captioner(captioner, changes or ())
    loaded = load_meter(meter) if meter else None
    seen = loaded(data) if loaded else None
    captioned = made(data, seen)
    record, usage = captioned.record(), captioned.usage
    print(f"global   {record['global']}")
    for local in record["locals"]:
        numbers = ",".join(map(str, local["au"])) or "-"
        print(f"local    {local['text']} [{local['region']}, AU {numbers}, {local['intensity'] or '-'}]")
    print(f"summary  {record['summary']}")
    codes = judge(record, seen, trust=loaded.trust if loaded else None)
    print(f"gates    {', '.join(codes) or 'passes'}")
    source = "from the cache" if usage.cached else f"{usage.requests} requests, {usage.seconds:.1f} s"
    print(f"cost     {usage.usd:.6f} USD, {usage.tokens_in} tokens in, {usage.tokens_out} out, {source}")


def captioner_example() -> None:
    """Print an options file of `http:FILE.yaml` with every option, its default and its meaning."""
    from importlib import resources

    text = resources.files("mien.corpus").joinpath("captioner_example.yaml").read_text(encoding="utf-8")
    print(text, end="")


def add_to(app: typer.Typer) -> None:
    """Give `mien data emocap` these commands."""
    app.add_typer(units, name="units")
    example = "mien data emocap caption-try face.jpg --captioner offline:meter"
    app.command("caption-try", epilog=f"Example: {example}")(caption_try)
    example = "mien data emocap captioner-example > http.yaml"
    app.command("captioner-example", epilog=f"Example: {example}")(captioner_example)


def _share(value: float) -> str:
    return "-" if isnan(value) else f"{value:.2f}"


def _read(picture: Path) -> bytes:
    from mien.data.images import load_image
    from mien.errors import DataError

    try:
        return load_image(picture)[1]
    except DataError as error:
        raise DataError(error.what, where=picture, fix="give a JPEG or PNG") from error
