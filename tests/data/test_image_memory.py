from __future__ import annotations

import io

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.io import ImageReadMode, decode_jpeg

from mien.data.decode import decode
from mien.data.image_memory import batch_memory, room, stack_images
from mien.errors import DataError


def jpeg(seed=0, size=(24, 16), mode="RGB", **options):
    values = np.random.default_rng(seed).integers(0, 255, (size[1] // 8, size[0] // 8, 3), dtype=np.uint8)
    image = Image.fromarray(values).resize(size, Image.Resampling.BICUBIC).convert(mode)
    target = io.BytesIO()
    image.save(target, "JPEG", **options)
    return target.getvalue()


def turned():
    exif = Image.Exif()
    exif[0x0112] = 6
    return jpeg(exif=exif)


FILES = [jpeg(), jpeg(mode="L"), jpeg(mode="CMYK"), jpeg(progressive=True), turned()]


@pytest.mark.parametrize("data", FILES)
def test_equals_the_other_decoder(data):
    encoded = torch.frombuffer(bytearray(data), dtype=torch.uint8)
    want = decode_jpeg(encoded, mode=ImageReadMode.RGB, apply_exif_orientation=True)
    with batch_memory(2):
        assert torch.equal(decode(data), want)
    assert torch.equal(decode(data), want)


def test_images_of_a_batch_are_stacked_without_a_copy():
    files = [jpeg(seed) for seed in range(4)]
    with batch_memory(4):
        images = [decode(data) for data in files]
    batch = stack_images(images)
    assert batch.data_ptr() == images[0].data_ptr()
    assert batch.shape == (4, 3, 16, 24)
    assert batch.is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(batch, torch.stack([decode(data) for data in files]))


@pytest.mark.parametrize(
    "files",
    [
        [jpeg(0), turned(), jpeg(1)],  # another decoder's memory in between, and another shape
        [jpeg(0), jpeg(1, size=(16, 16)), jpeg(2)],
        [jpeg(seed) for seed in range(5)],  # more than were announced
    ],
)
def test_other_images_are_copied(files):
    with batch_memory(3):
        images = [decode(data) for data in files]
    for image, data in zip(images, files):
        assert torch.equal(image, decode(data))
    same = [image for image in images if image.shape == images[0].shape]
    assert torch.equal(stack_images(same), torch.stack(same))
    assert torch.equal(stack_images(same[::-1]), torch.stack(same[::-1]))


def test_two_batches_do_not_share_memory():
    batches = []
    for first in (0, 2):
        with batch_memory(2):
            batches.append(stack_images([decode(jpeg(first)), decode(jpeg(first + 1))]))
    assert torch.equal(batches[0][1], decode(jpeg(1)))
    assert torch.equal(batches[1][0], decode(jpeg(2)))


def test_a_damaged_image_leaves_the_others_whole():
    with batch_memory(3):
        first, broken = decode(jpeg(0)), jpeg(1)
        with pytest.raises(DataError, match="cannot be decoded"):
            decode(broken[: len(broken) // 2])
        images = [first, decode(jpeg(2))]
    assert torch.equal(stack_images(images), torch.stack([decode(jpeg(0)), decode(jpeg(2))]))


def test_one_image_and_no_batch():
    assert room(4, 5).shape == (4, 5, 3)
    assert torch.equal(stack_images([decode(jpeg())])[0], decode(jpeg()))
