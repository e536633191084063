"""`mien data`: make, pack, index, check and split shard sets."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from mien import cli_pairs
from mien.cli_corpus import emocap
from mien.errors import DataError, MienError

data = typer.Typer(help="Make, pack, index, check and split shard sets.", no_args_is_help=True)
data.add_typer(emocap, name="emocap")
cli_pairs.add_to(data)

Set = Annotated[Path, typer.Argument(help="Folder of shards.", show_default=False)]
Out = Annotated[Path, typer.Argument(help="Folder to write; absent or empty.", show_default=False)]


@data.command(
    epilog="Example: mien data synth --kind emocap --people 60 --images 6000 --seed 0 data/emocap/train"
)
def synth(
    out: Out,
    people: Annotated[int, typer.Option(help="Number of different people.", show_default=False)],
    images: Annotated[int, typer.Option(help="Number of samples.", show_default=False)],
    kind: Annotated[
        str,
        typer.Option(help="What to make: emocap (captioned faces), pairs (for face editors) or rig_pairs."),
    ] = "emocap",
    seed: Annotated[int, typer.Option(help="Of everything, people too.")] = 0,
    rig: Annotated[
        str, typer.Option(help="builtin, or an ICT-FaceKit model: its FaceXModel folder or a packed npz.")
    ] = "builtin",
    size: Annotated[int, typer.Option(help="Side of a picture, pixels.")] = 96,
    style: Annotated[str, typer.Option(help="studio or wild.")] = "studio",
    emotions: Annotated[
        str | None,
        typer.Option(help="Classes, with commas between; default the basic seven.", show_default=False),
    ] = None,
    first_person: Annotated[
        int, typer.Option(help="Number of the first person; other numbers are other people.")
    ] = 0,
    extras: Annotated[
        bool, typer.Option("--extras", help="Also write landmarks, normals and depth.")
    ] = False,
    workers: Annotated[int, typer.Option(help="Processes; 0 is one for each CPU.")] = 0,
) -> None:
    """Make synthetic faces with ground truth, and a contact sheet sheet.png beside them."""
    from mien.makers import maker

    make, chosen = maker(kind), _names(emotions)
    if style not in ("studio", "wild"):
        raise DataError(f"unknown style {style!r}", where="--style", fix="give studio or wild")
    own: dict[str, object] = {"emotions": chosen} if chosen else {}
    own |= {"extras": True} if extras else {}
    if own and kind != "emocap":
        raise DataError(
            f"a set of {kind} has no {next(iter(own))}", where=f"--{next(iter(own))}", fix="leave it out"
        )
    make(
        out,
        people=people,
        images=images,
        seed=seed,
        rig=rig,
        size=size,
        style=style,
        first_person=first_person,
        workers=workers,
        progress=sys.stderr.isatty(),
        **own,
    )
    print(out)


@data.command(
    epilog="Example: mien data pack photos shards --labels labels.csv --label emotion --group person"
)
def pack(
    folder: Annotated[
        Path, typer.Argument(help="Folder that the image paths start from.", show_default=False)
    ],
    out: Out,
    labels: Annotated[Path, typer.Option(help="CSV file, or its name inside FOLDER.", show_default=False)],
    image: Annotated[str, typer.Option(help="Column of the image path.")] = "image",
    label: Annotated[str, typer.Option(help="Column of the class.")] = "label",
    group: Annotated[
        str | None,
        typer.Option(
            help="Column of the person; splits and intervals keep people whole.", show_default=False
        ),
    ] = None,
    skip_bad: Annotated[
        bool,
        typer.Option("--skip-bad", help="Leave out images that cannot be used and list them in skipped.csv."),
    ] = False,
) -> None:
    """Turn a folder of images and a CSV of labels into shards."""
    from mien.data.pack import pack as write

    if not labels.is_file() and (folder / labels).is_file():
        labels = folder / labels
    report = write(
        folder,
        out,
        labels=labels,
        image=image,
        label=label,
        group=group,
        skip_bad=skip_bad,
        progress=sys.stderr.isatty(),
    )
    print(report)


@data.command(
    name="pack-benchmark",
    epilog="Example: mien data pack-benchmark dfew DFEW data/dfew/fold1/train --split train --fold 1",
)
def pack_benchmark(
    name: Annotated[str, typer.Argument(help="Benchmark, such as raf-db.", show_default=False)],
    folder: Annotated[Path, typer.Argument(help="The set as its owner publishes it.", show_default=False)],
    out: Out,
    split: Annotated[str, typer.Option(help="train, val or test.")] = "train",
    fold: Annotated[int, typer.Option(help="Which fold is tested, from 1; 0 without folds.")] = 0,
) -> None:
    """Turn a split of a public benchmark into shards, to fine-tune on."""
    from mien.benchmarks.pack import choose, pack_items
    from mien.benchmarks.table import get

    benchmark = get(name)
    items = choose(benchmark, benchmark.open(folder), split, fold)
    print(pack_items(benchmark, items, out, progress=sys.stderr.isatty()))


@data.command(
    epilog="Example: mien data encode magicface/paper data/latents && mien train magicface/paper "
    "data.train.shards=data/latents/train data.val.shards=data/latents/val"
)
def encode(
    recipe: Annotated[str, typer.Argument(help="Recipe of a face editor.", show_default=False)],
    out: Annotated[Path, typer.Argument(help="Folder of the sets `train` and `val`.", show_default=False)],
    overrides: Annotated[
        list[str] | None, typer.Argument(help="key=value, as of mien train.", show_default=False)
    ] = None,
    batch: Annotated[int, typer.Option(min=1, help="Pairs at once.")] = 8,
) -> None:
    """Send a recipe's pairs through its autoencoder once, in place of at every step of the training.

    On a GPU if there is one. The sets hold latents in half precision. Editing needs the same autoencoder; a
    judge needs the pairs. RigFace's background is dilated as in evaluation, where training on pairs draws it
    anew at every step.
    """
    from mien import recipe as recipes
    from mien.systems.editing.encode import encode_sets

    loaded = recipes.load(recipe, overrides or [])
    print(*encode_sets(loaded, out, batch=batch, progress=sys.stderr.isatty()), sep="\n")


@data.command(epilog="Example: mien data index my_webdataset")
def index(
    folder: Set,
    schema: Annotated[
        str | None,
        typer.Option(help="Schema of the samples; default what the first one fits.", show_default=False),
    ] = None,
) -> None:
    """Write index.json for a folder of tar files, such as a WebDataset made elsewhere."""
    from mien.data import index as index_file

    made = index_file.build(folder, schema)
    index_file.save(made, folder)
    print(f"{folder}: {made.samples} samples in {len(made.shards)} shards, schema {made.schema}")


@data.command(epilog="Example: mien data check data/emocap/train")
def check(
    folder: Annotated[str, typer.Argument(help="Folder of shards, or its URL.", show_default=False)],
    fast: Annotated[
        bool, typer.Option("--fast", help="Only the index and the sizes of files; read no sample.")
    ] = False,
    benchmark: Annotated[
        str | None,
        typer.Option(
            help="The folder is this public set as its owner publishes it, such as raf-db.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Verify checksums, offsets, schema and pictures of a set; exit code 2 if something is wrong."""
    if benchmark is not None:
        from mien.benchmarks.summary import summary
        from mien.benchmarks.table import get

        print(summary(get(benchmark), Path(folder)))
        return
    from mien.data.check import check as verify

    report = verify(folder, deep=not fast)
    report.raise_if_bad()
    print(report)


@data.command(name="benchmark-sample", epilog="Example: mien data benchmark-sample raf-db samples/raf-db")
def benchmark_sample(
    name: Annotated[str, typer.Argument(help="Benchmark, such as raf-db.", show_default=False)],
    out: Out,
    people: Annotated[int, typer.Option(help="Number of different people.")] = 6,
    each: Annotated[int, typer.Option(help="Items of each class.")] = 4,
    size: Annotated[int, typer.Option(help="Side of a picture, pixels.")] = 96,
    seed: Annotated[int, typer.Option(help="Of everything, people too.")] = 0,
) -> None:
    """Write a small synthetic set in the exact layout of a public benchmark, to try things on."""
    from mien.benchmarks.base import Making
    from mien.benchmarks.sample import make_sample
    from mien.benchmarks.table import get

    make_sample(get(name), out, Making(people=people, each=each, seed=seed, size=size))
    print(out)


@data.command(epilog="Example: mien data split shards parts --parts train=0.8,test=0.2 --seed 0")
def split(
    folder: Set,
    out: Out,
    parts: Annotated[str, typer.Option(help="Names and shares of the parts.")] = "train=0.8,test=0.2",
    seed: Annotated[int, typer.Option(help="Of the draw.")] = 0,
) -> None:
    """Split a set into parts that share no person."""
    from mien.data.split import split as divide

    for path in divide(folder, out, parts=_shares(parts), seed=seed).values():
        print(path)


def _names(text: str | None) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(",")) if text else ()


def _shares(text: str) -> dict[str, float]:
    shares = {}
    for part in text.split(","):
        name, _, share = part.partition("=")
        try:
            shares[name.strip()] = float(share)
        except ValueError as error:
            what = f"{part!r} is not a part"
            raise MienError(what, where="--parts", fix="write train=0.8,test=0.2") from error
    return shares
