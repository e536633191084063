"""Throughput of the stream against decoding alone and webdataset's reader: `python -m mien.data.bench`.

Readers yield RGB batches [B, 3, S, S] of the same JPEGs from the page cache; decoding alone keeps nothing.
One thread a process. The ways take turns, so that what else the machine does falls on all of them alike, and
the ratios are medians over rounds.
"""

from __future__ import annotations

import argparse
import io
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import webdataset
from numpy.typing import NDArray
from PIL import Image
from rich.console import Console
from rich.table import Table

from mien.data.decode import decode, decode_sample
from mien.data.image_memory import stack_images
from mien.data.loading import Batch, Item
from mien.data.reader import Sample, ShardSet
from mien.data.stream import Stream
from mien.data.writer import ShardWriter

BATCH = 64
"""Samples a micro-batch."""

Way = Callable[[], int]
"""Reads every sample once and returns how many there were."""


def make_set(out: Path, images: int, size: int, photos: Path | None, per_shard: int = 500) -> ShardSet:
    """A set of JPEGs, quality 90, as the platform's own makers write them.

    Args:
        out: folder to write.
        images: how many.
        size: side, in pixels.
        photos: folder of JPEGs to resize; None: smooth noise, with the spectrum of photographs.
        per_shard: images in a shard.
    """
    files = sorted(photos.glob("*.jpg")) if photos is not None else []
    with ShardWriter(out, "labelled/1", per_shard) as writer:
        for number in range(images):
            picture = _open(files[number % len(files)], size) if files else _noise(number, size)
            target = io.BytesIO()
            picture.save(target, "JPEG", quality=90)
            record = b'{"uid": %d, "label": "none", "group": "p%d"}' % (number, number)
            writer.write(f"{number:06d}", {"jpg": target.getvalue(), "json": record})
    return ShardSet(out)


def _open(path: Path, size: int) -> Image.Image:
    with Image.open(path) as image:
        return image.convert("RGB").resize((size, size), Image.Resampling.BICUBIC)


def _noise(seed: int, size: int) -> Image.Image:
    """Noise whose amplitude falls with the frequency, as in photographs (Field 1987)."""
    rng = np.random.default_rng(seed)
    rows, columns = np.fft.fftfreq(size)[:, None], np.fft.rfftfreq(size)[None]
    spectrum = np.fft.rfft2(rng.standard_normal((3, size, size))) / np.hypot(rows, columns).clip(1 / size)
    colours: NDArray[np.float64] = np.fft.irfft2(spectrum, (size, size))
    colours = colours / colours.std() * 50 + 128
    return Image.fromarray(colours.clip(0, 255).astype(np.uint8).transpose(1, 2, 0).copy())


def ways(shards: ShardSet, size: int) -> dict[str, Way]:
    """What is compared, by name; the first is the measure of the others."""
    encoded = [sample.image for sample in shards]
    urls = [str(path) for path in sorted(Path(shards.folder).glob("*.tar"))]

    def decode_only() -> int:
        for data in encoded:
            decode(data)
        return len(encoded)

    def decode_pillow_only() -> int:
        for data in encoded:
            torch.from_numpy(np.array(Image.open(io.BytesIO(data)).convert("RGB")))
        return len(encoded)

    def stream(workers: int) -> Way:
        # Three epochs: a run starts its workers once.
        options: dict[str, Any] = {
            "global_batch": BATCH,
            "steps": 3 * len(shards) // BATCH,
            "workers": workers,
        }
        return lambda: _count(Stream(shards, transform_image, collate_images, seed=0, **options), size)

    def by_webdataset(kind: str) -> Way:
        def read() -> int:
            source = webdataset.WebDataset(urls, shardshuffle=False).decode(kind).to_tuple("jpg")
            return _count(source.batched(BATCH, collation_fn=_collate_tuples, partial=False), size)

        return read

    return {
        "decode only, same decoder": decode_only,
        "stream": stream(0),
        "webdataset, uint8 (torchrgb8)": by_webdataset("torchrgb8"),
        "webdataset, float32 (torchrgb)": by_webdataset("torchrgb"),
        "decode only, Pillow": decode_pillow_only,
        "stream, 1 worker": stream(1),
        "stream, 2 workers": stream(2),
    }


def transform_image(sample: Sample, rng: np.random.Generator, epoch: int) -> Item:
    """The image alone."""
    return {"img": decode_sample(sample)}


def collate_images(items: Sequence[Item | None]) -> Batch:
    """Images of one size as `img` uint8 [B, 3, S, S]."""
    return {"img": stack_images([item["img"] for item in items if item is not None])}


def _collate_tuples(items: Sequence[tuple[Any]]) -> Batch:
    return {"img": torch.stack([item[0] for item in items])}


def _count(batches: Any, size: int) -> int:
    count = 0
    for batch in batches:
        assert batch["img"].shape == (BATCH, 3, size, size)
        count += BATCH
    return count


def measure(
    compared: dict[str, Way], repeats: int, clock: Callable[[], float] = time.perf_counter
) -> dict[str, list[float]]:
    """Samples per second of each way, one value per round; a round before the first warms up."""
    rates: dict[str, list[float]] = {name: [] for name in compared}
    for number in range(repeats + 1):
        for name, way in compared.items():
            start = clock()
            count = way()
            if number:
                rates[name].append(count / (clock() - start))
    return rates


def print_table(rates: dict[str, list[float]], title: str) -> None:
    """Medians, spread, and the median over rounds of the ratio to the first way."""
    table = Table("way", "images/s", "lowest", "highest", "of decode only", "stream is", title=title)
    base, streamed = list(rates.values())[:2]
    for name, values in rates.items():
        of_base, times = (
            statistics.median(a / b for a, b in zip(*pair, strict=True))
            for pair in ((values, base), (streamed, values))
        )
        numbers = (statistics.median(values), min(values), max(values))
        table.add_row(name, *(f"{value:.0f}" for value in numbers), f"{of_base:.3f}", f"{times:.2f}x")
    Console(width=110).print(table)


def main(arguments: Sequence[str] | None = None) -> None:
    """Make a set, measure, print the table."""
    parser = argparse.ArgumentParser(prog="python -m mien.data.bench", description=__doc__)
    parser.add_argument("--images", type=int, default=1024, help="images in the set, a multiple of 64")
    parser.add_argument("--size", type=int, default=256, help="side of an image, in pixels")
    parser.add_argument("--repeats", type=int, default=7, help="rounds that count")
    parser.add_argument("--cpu", action="store_true", help="CPU time, for a busy machine; leaves workers out")
    options = parser.parse_args(arguments)
    if options.images % BATCH or options.images < BATCH:
        parser.error(f"--images is a multiple of {BATCH}")
    torch.set_num_threads(1)
    data = os.environ.get("MIEN_DATA")
    photos = Path(data) / "wild_faces" / "images" if data else None
    with tempfile.TemporaryDirectory() as folder:
        shards = make_set(Path(folder) / "set", options.images, options.size, photos)
        compared = ways(shards, options.size)
        if options.cpu:
            compared = {name: way for name, way in compared.items() if "worker" not in name}
        rates = measure(compared, options.repeats, time.process_time if options.cpu else time.perf_counter)
        kind = "photographs" if photos else "noise"
        size = int(shards.bytes.sum()) / options.images / 1e3
        clock = "CPU time" if options.cpu else "wall clock"
        title = (
            f"{options.images} {kind}, {options.size} px, {size:.0f} kB, {options.repeats} rounds, {clock}"
        )
        print_table(rates, title)


if __name__ == "__main__":
    main()
