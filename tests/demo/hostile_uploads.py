"""What a stranger may upload, and the line that answers it: why it is refused, or what was made of it."""

from __future__ import annotations

import io
import pickle
import zipfile

import numpy as np
from PIL import Image

from editing import hostile_files as hostile
from editing.hostile_files import SIDE, encode, picture

PLAIN = picture()
FRAMES = {"save_all": True, "append_images": [Image.fromarray(255 - PLAIN)]}
MEND = "; give a JPEG, PNG, WebP, BMP or TIFF"
DAMAGED = r"image (cannot be decoded|is in none of the formats)[^\n]*"


def _zip() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("../../x.png", encode(PLAIN, "PNG"))
    return buffer.getvalue()


def _turned() -> bytes:
    exif = Image.Exif()
    exif[0x0112] = 6
    return encode(picture(20, 30), "JPEG", exif=exif)


def _deep() -> bytes:
    colours = (picture().astype(np.uint32) * 257).astype(">u2")
    return hostile.png(SIDE, SIDE, depth=16, rows=hostile.png_rows(colours))


def _cut(kind: str) -> bytes:
    data = encode(picture(200, 200), kind)
    return data[: len(data) // 2]


UPLOADS = {
    "nothing in it": (b"", f"file is empty{MEND}"),
    "html": (b"<!doctype html><script>alert(1)</script>", f"not a photo but HTML, SVG or XML{MEND}"),
    "svg": (b"<svg xmlns='http://www.w3.org/2000/svg'/>", f"not a photo but HTML, SVG or XML{MEND}"),
    "text": (b"just some words", f"not a photo but something else{MEND}"),
    "program": (b"\x7fELF\x02\x01\x01" + bytes(60), f"not a photo but a program{MEND}"),
    "zip": (_zip(), f"not a photo but a zip archive{MEND}"),
    "pickle": (pickle.dumps({"a": np.zeros(3)}), f"not a photo but a pickle, maybe{MEND}"),
    "pdf": (b"%PDF-1.7\n" + bytes(40), f"not a photo but a PDF{MEND}"),
    "animated gif": (encode(Image.fromarray(PLAIN), "GIF", **FRAMES), f"not a photo but a GIF{MEND}"),
    "avif": (b"\0\0\0\x20ftypavif" + bytes(40), f"not a photo but a video, or a HEIC or AVIF picture{MEND}"),
    "png cut": (_cut("PNG"), DAMAGED),
    "jpeg cut": (_cut("JPEG"), DAMAGED),
    "png of 65535 x 65535": (hostile.png(65535, 65535), r"image too large[^\n]*"),
    "jpeg of 65000 x 65000": (hostile.jpeg_header(65000, 65000), r"image too large[^\n]*"),
    "png with a bomb as profile": (
        hostile.png(SIDE, SIDE, hostile.chunk(b"iCCP", b"x\0\0" + hostile.bomb())), DAMAGED,
    ),
    "png with a bomb as text": (
        hostile.png(SIDE, SIDE, hostile.chunk(b"zTXt", b"x\0\0" + hostile.bomb())), DAMAGED,
    ),
    "png of no pixels": (hostile.png(0, 0), DAMAGED),
    "one pixel": (
        encode(picture(1, 1), "PNG"), "picture too small: 1 x 1 pixels; give one of 16 x 16 pixels or more",
    ),
    "no face in it": (
        encode(picture(100, 150), "PNG"),
        "no face found; give a photo of one face from the front, or tick that it is a face crop already",
    ),
    "animated webp": (
        encode(Image.fromarray(PLAIN), "WEBP", **FRAMES), "32 x 32 pixels; animated: first frame taken",
    ),
    "print colours": (
        encode(Image.new("CMYK", (SIDE, SIDE), (0, 255, 255, 0)), "JPEG"),
        "32 x 32 pixels; print colours without a profile: colours are a guess",
    ),
    "16 bit": (_deep(), "32 x 32 pixels"),
    "profile of garbage": (
        encode(PLAIN, "PNG", icc_profile=b"no profile"),
        "32 x 32 pixels; colour profile of no use: colours taken as sRGB",
    ),
    "turned by EXIF": (_turned(), r"20 x 30 pixels; [^\n]* mirrored[^\n]*"),
    "behind a photo an archive": (encode(PLAIN, "PNG") + _zip(), "32 x 32 pixels"),
}  # fmt: skip
"""By what they are: the bytes and the whole line after the name, a pattern. All but the one without a face
are sent as face crops."""
