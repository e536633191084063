"""Edited pictures as files that carry their claim, and that claim read back.

| file | the claim, JSON | IPTC's source type, XMP |
|---|---|---|
| PNG | iTXt chunk `mien.edit` | iTXt chunk `XML:com.adobe.xmp` |
| JPEG | EXIF UserComment | APP1 |
| WebP, lossless | EXIF UserComment | XMP chunk |
"""

from __future__ import annotations

import contextlib
import io
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, PngImagePlugin
from pydantic import ValidationError

from mien.data.decode import decode_pillow, load_pixels
from mien.editing.claim import GENERATOR, SOURCE_TYPE, Claim, Origin, Pixels
from mien.editing.mark import marked
from mien.editing.upload import safe_name
from mien.errors import DataError
from mien.predict.media import MAX_IMAGE, MAX_PIXELS

KINDS = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG", ".webp": "WEBP"}
"""Files that can be written."""
CHUNK = "mien.edit"
LONGEST_CLAIM = 48 << 10
"""Bytes of JSON; a JPEG has room for 64 KiB."""

_LONGEST = {"PNG": 1 << 31, "JPEG": 65_500, "WEBP": 16_383}  # sides that the formats hold
_ASCII = b"ASCII\0\0\0"  # the character set of an EXIF comment
_XMP = f"""<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>
<x:xmpmeta xmlns:x="adobe:ns:meta/">
 <rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
  <rdf:Description rdf:about=""
    xmlns:xmp="http://ns.adobe.com/xap/1.0/"
    xmlns:Iptc4xmpExt="http://iptc.org/std/Iptc4xmpExt/2008-02-29/"
    xmp:CreatorTool="{GENERATOR}"
    Iptc4xmpExt:DigitalSourceType="{SOURCE_TYPE}"/>
 </rdf:RDF>
</x:xmpmeta>
<?xpacket end="r"?>"""


@dataclass(frozen=True)
class Provenance:
    """What a file says of itself.

    Attributes:
        claim: what it says; not signed, so anyone can have written it.
        state: `intact`: the pixels are those of the claim; `altered`: they are not; `unchecked`: a JPEG,
            whose pixels change when it is written.
    """

    claim: Claim
    state: Literal["intact", "altered", "unchecked"]


def check_target(path: Path, source: Path | None = None) -> None:
    """Whether an edit can be written there; to be asked before the work is done.

    Raises:
        DataError: for a suffix that is not in `KINDS`, an absent folder, a folder in its place, or the photo
            that is edited (`source`), by whatever name or link.
    """
    if path.suffix.lower() not in KINDS:
        what = f"cannot write {path.suffix!r} files" if path.suffix else "file name without a suffix"
        raise DataError(what, where=path, fix=f"end the name with one of {' '.join(KINDS)}")
    try:
        if "\0" in str(path):
            raise ValueError("a zero in its name")
        if not path.parent.is_dir():
            raise DataError("its folder does not exist", where=path, fix="make it, or give another one")
        if path.is_dir():
            raise DataError("is a folder", where=path, fix="give the name of a file")
        if source is not None and path.exists() and source.exists() and path.samefile(source):
            raise DataError("the edit would overwrite its photo", where=path, fix="give another name")
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        where = safe_name(path.name)
        raise DataError(f"cannot be used: {reason}", where=where, fix="give another name") from error


def write_edit(
    path: Path,
    pixels: NDArray[np.uint8],
    origin: Origin,
    *,
    source: Path | None = None,
    visible_mark: bool = False,
) -> Path:
    """Write an edited picture with its claim; a reader sees the old file or the new one, also after a crash.

    Args:
        path: file; its suffix says the format. An edit that lies there is replaced.
        pixels: uint8 [H, W, 3] sRGB.
        origin: what it is made of.
        source: the photo, which is never overwritten.
        visible_mark: whether to draw "AI edit" on it.

    Returns:
        `path`.

    Raises:
        DataError: as `check_target`, or if the claim or a side is too long for the format, or the file cannot
            be written.
    """
    check_target(path, source)
    if visible_mark:
        pixels = marked(pixels)
    text = origin.claim(pixels, visible_mark).model_dump_json(indent=1, ensure_ascii=True)
    if len(text) > LONGEST_CLAIM:
        fix = f"at most {LONGEST_CLAIM} bytes of parameters"
        raise DataError(f"claim of {len(text)} bytes", where=path.name, fix=fix)
    kind = KINDS[path.suffix.lower()]
    if max(pixels.shape[:2]) > _LONGEST[kind]:
        what = f"a picture of {pixels.shape[1]} x {pixels.shape[0]} pixels is too long for {kind}"
        raise DataError(what, where=path, fix="write a PNG")
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, kind, **_ENCODE[kind](text))
    _replace(path, buffer.getvalue())
    return path


def read_provenance(path: Path) -> Provenance:
    """The claim of a file, and whether its pixels are still those of the claim.

    Raises:
        DataError: if it is no PNG, JPEG or WebP that can be read, or carries no claim of this form.
    """
    found: list[str] = []

    def look(image: Image.Image) -> NDArray[np.uint8]:
        load_pixels(image)  # chunks may follow the pixels
        found.extend(_claims(image))
        kinds.append(image.format or "")
        return np.array(image.convert("RGB"))

    kinds: list[str] = []
    try:
        if not path.is_file() or path.stat().st_size > MAX_IMAGE:
            raise DataError("no such file, or too large", where=path, fix="check the path")
        data = path.read_bytes()
    except OSError as error:
        raise DataError(f"cannot be read: {error.strerror}", where=path, fix="check the file") from error
    pixels = decode_pillow(data, ("PNG", "JPEG", "WEBP"), path, MAX_PIXELS, look)
    if not found:
        raise DataError("carries no claim of mien", where=path, fix="it was not made by it, or was stripped")
    try:
        claim = Claim.model_validate_json(found[0])
    except ValidationError as error:
        raise DataError("its claim is damaged", where=path, fix="do not rely on it") from error
    if kinds[0] not in ("PNG", "WEBP"):
        return Provenance(claim, "unchecked")
    return Provenance(claim, "intact" if Pixels.of(pixels) == claim.pixels else "altered")


def _claims(image: Image.Image) -> list[str]:
    text = image.info.get(CHUNK)
    if isinstance(text, str):
        return [str(text)[: LONGEST_CLAIM + 1]]
    comment = image.getexif().get_ifd(ExifTags.IFD.Exif).get(ExifTags.Base.UserComment)
    if isinstance(comment, bytes) and comment.startswith(_ASCII + b"{"):
        return [comment[len(_ASCII) :][: LONGEST_CLAIM + 1].decode("ascii", "replace")]
    return []


def _png(text: str) -> dict[str, Any]:
    chunks = PngImagePlugin.PngInfo()
    chunks.add_itxt(CHUNK, text)
    chunks.add_itxt("XML:com.adobe.xmp", _XMP)
    return {"pnginfo": chunks}


def _exif(text: str) -> bytes:
    exif = Image.Exif()
    exif[ExifTags.Base.Software] = GENERATOR
    exif.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.UserComment] = _ASCII + text.encode("ascii")
    return exif.tobytes()


def _jpeg(text: str) -> dict[str, Any]:
    return {"exif": _exif(text), "xmp": _XMP.encode(), "quality": 95, "subsampling": 0}


def _webp(text: str) -> dict[str, Any]:
    return {"exif": _exif(text), "xmp": _XMP.encode(), "lossless": True}


_ENCODE: dict[str, Callable[[str], dict[str, Any]]] = {"PNG": _png, "JPEG": _jpeg, "WEBP": _webp}


def _replace(path: Path, content: bytes) -> None:
    aside = path.with_name(f".{os.getpid()}.{path.name[-40:]}.tmp")
    try:
        with aside.open("xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(aside, path)
    except OSError as error:
        with contextlib.suppress(OSError):
            aside.unlink(missing_ok=True)
        raise DataError(f"cannot be written: {error.strerror}", where=path, fix="check the folder") from error
