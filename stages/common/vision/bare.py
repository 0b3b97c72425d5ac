"""Leave out of a picture's file what a decoder would spend memory or time on before it comes to the pixels.

Pillow reads all metadata first. A small file's can take gigabytes, since many entries of EXIF can name the same bytes, or
minutes, since the pieces of a comment are joined one by one. Exported models include this file.
"""

import re

MAX_RUNS = 2_000_000  # bytes of a BMP with run-length encoding: Pillow's decoder for it is slow

MARKER = re.compile(rb"\xff+([\x01-\xfe])")
START_OF_SCAN, STANDALONE = 0xDA, {0x01, *range(0xD0, 0xDA)}
METADATA = {*range(0xE1, 0xEE), 0xEF, 0xFE}
"""JPEG's markers: the parts with metadata and comments. APP0 and APP14 tell the colour space, so they stay."""

MAX_PARTS = 10_000
"""Limit of the parts of a JPEG before its pixels, and of a PNG. Usual files have tens, those of 32 MB some thousands."""


class ImageError(ValueError):
    """The bytes are not an image, are damaged, or are refused. The message gives the cause in one sentence."""


def _jpeg(content: bytes) -> tuple[bytes, bytes]:
    """Return a JPEG file without metadata before its pixels, and its EXIF."""
    kept, exif, place = [content[:2]], b"", 2
    for _ in range(MAX_PARTS):
        marker = MARKER.search(content, place)
        if marker is None:
            raise ImageError("the JPEG file is damaged: its header can't be read")
        start, kind = marker.end(), marker[1][0]
        if kind == START_OF_SCAN:
            return b"".join(kept) + content[start - 2 :], exif
        length = 0 if kind in STANDALONE else max(2, int.from_bytes(content[start : start + 2], "big"))
        place = start + length
        if kind not in METADATA:
            kept.append(content[start - 2 : place])
        elif content.startswith(b"Exif\0\0", start + 2):
            exif = exif or content[start + 2 : place]
    raise ImageError(f"the JPEG file has more than {MAX_PARTS} parts")


def _gif(content: bytes) -> tuple[bytes, bytes]:
    """Return a GIF file without the comments before its first image."""
    flags = content[10] if len(content) > 10 else 0
    place = 13 + (flags >> 7) * (6 << (flags & 7))
    kept = [content[:place]]
    while content[place : place + 1] not in (b",", b";", b""):
        if content[place] != ord("!"):
            place += 1  # Pillow skips it, too
            continue
        start, place = place, place + 2
        while place < len(content) and content[place]:
            place += 1 + content[place]
        place += 1
        if content[start + 1 : start + 2] == b"\xf9" and len(kept) < MAX_PARTS:  # which colour is transparent
            kept.append(content[start:place])
    return b"".join(kept) + content[place:], b""


def _png(content: bytes) -> tuple[bytes, bytes]:
    """Return a PNG file without colour profiles after its first one. Raise ImageError if it has too many parts.

    Pillow unpacks each profile, up to a megabyte, and reads the file twice.
    """
    kept: list[bytes] = []
    start, place, profiles = 0, 8, 0
    for _ in range(MAX_PARTS):
        if place >= len(content):
            return b"".join([*kept, content[start:]]) if kept else content, b""
        end = place + 12 + int.from_bytes(content[place : place + 4], "big")
        if content[place + 4 : place + 8] == b"iCCP":
            profiles += 1
            if profiles > 1:
                kept.append(content[start:place])
                start = end
        place = end
    raise ImageError(f"the PNG file has more than {MAX_PARTS} parts")


def _bmp(content: bytes) -> tuple[bytes, bytes]:
    """Return a BMP file as it is. Raise ImageError if it would take long to read."""
    if content[30:34] in (b"\1\0\0\0", b"\2\0\0\0") and len(content) > MAX_RUNS:
        raise ImageError(f"the BMP file has run-length encoding and more than {MAX_RUNS:,} bytes: save it as PNG")
    return content, b""


def _avif(content: bytes) -> tuple[bytes, bytes]:
    """Return an AVIF file without EXIF in its table of contents. What turns its image is elsewhere."""
    return re.sub(rb"(infe(?:.{8}|.{10}))Exif", rb"\1none", content, flags=re.DOTALL), b""


BARE = {"JPEG": _jpeg, "GIF": _gif, "PNG": _png, "BMP": _bmp, "AVIF": _avif}
