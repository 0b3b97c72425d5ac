"""Pictures of at most 4 MB that cost a model as much as they can: at the limits of their pixels, with endless metadata."""

import struct
import zlib
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from pictures import chunk
from pictures import saved as file
from PIL import Image

LARGEST = 4_000_000
SIDE = 3535  # pixels: the square of 12.5 million
WIDE = 6324  # the square of 40 million, for JPEG


class Body(NamedTuple):
    """``kind``: the content type. ``projects``: whose models read it."""

    name: str
    content: bytes
    kind: str = "application/octet-stream"
    projects: tuple[str, ...] = ("mnist", "landmarks", "scones")


CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}


def png(width: int, height: int, depth: int = 8, colour: int = 2, interlaced: bool = False, noise: int = 0) -> bytes:
    """A PNG file with stripes and ``noise`` bytes that don't compress. ``colour``: 0 grey, 2 RGB, 3 palette, 4 LA, 6 RGBA."""
    bits = depth * CHANNELS[colour]
    steps = [(0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)]
    packer, parts = zlib.compressobj(6), []
    random = np.random.default_rng(0).bytes(noise)
    for left, top, across, down in steps if interlaced else [(0, 0, 1, 1)]:
        columns, rows = len(range(left, width, across)), len(range(top, height, down))
        row = b"\2" + (b"\x1b\xe4\x93\x00\x07" * (columns * bits // 40 + 1))[: (columns * bits + 7) // 8]
        for number in range(rows if columns else 0):
            own, random = random[: len(row) - 1], random[len(row) - 1 :]
            other = row[:1] + own + row[1 + len(own) :]
            parts.append(packer.compress(other if number % 2 else b"\1" + bytes(len(row) - 1)))
    head = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, interlaced)
    palette = chunk(b"PLTE", bytes(range(256)) * 3) + chunk(b"tRNS", bytes(range(256))) if colour == 3 else b""
    data = b"".join([*parts, packer.flush()])
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + palette + chunk(b"IDAT", data) + chunk(b"IEND", b"")


def striped(mode: str, width: int, height: int, cell: int = 64) -> Image.Image:
    """A picture that compresses well and is not plain."""
    rows, columns = np.indices((-(-height // cell), -(-width // cell)))
    channels = len(Image.new(mode, (1, 1)).getbands())
    small = np.stack([(rows * 37 + columns * (91 + 30 * band)) % 256 for band in range(channels)], -1).astype(np.uint8)
    grown = small.repeat(cell, 0).repeat(cell, 1)[:height, :width]
    return Image.fromarray(grown[..., 0] if channels == 1 else np.ascontiguousarray(grown), mode)


def padded(content: bytes) -> bytes:
    """The largest file with that beginning: what may be decoded grows with the bytes."""
    return content + bytes(LARGEST - len(content))


def directory(entries: int, size: int, kind: int = 7) -> bytes:
    """EXIF whose entries all name the same ``size`` bytes, which a reader would copy for each of them. 7 is TIFF's undefined."""
    listed = b"".join(struct.pack("<HHLL", number, kind, size, 8) for number in range(1000, 1000 + entries))
    return (b"II*\0" + struct.pack("<L", 8) + struct.pack("<H", entries) + listed).ljust(size + 8, b"\0")


def segment(marker: int, content: bytes) -> bytes:
    return bytes([0xFF, marker]) + struct.pack(">H", len(content) + 2) + content


def scans(content: bytes, copies: int) -> bytes:
    """A progressive JPEG with its first scan that many times more."""
    starts = [at for at in range(len(content) - 1) if content[at] == 0xFF and content[at + 1] in (0xDA, 0xC4)]
    first = content.index(b"\xff\xda")
    end = next(at for at in starts if at > first)
    return content[:end] + copies * content[first:end] + content[end:]


def small(form: str) -> bytes:
    return file(striped("RGB", 32, 32, 4), form)


QUICK: dict[str, dict[str, Any]] = {"AVIF": {"speed": 10}, "HEIF": {"enc_params": {"preset": "ultrafast"}}}
"""Options of encoders that would take long."""


def metadata() -> Iterator[Body]:
    """Small pictures with much beside them, which a reader may copy, join or unpack before it looks at the pixels."""
    start, rest = png(32, 32)[:33], png(32, 32)[33:]
    large, many = (zlib.compress(bytes(size), 9) for size in (10**8, 10**6))
    for name, parts in {
        "300,000 empty parts": 300_000 * chunk(b"IDAT", b""),
        "300,000 unknown parts": 300_000 * chunk(b"abCd", b""),
        "texts that unpack": 3000 * chunk(b"zTXt", b"a\0\0" + many),
        "a profile that unpacks": chunk(b"iCCP", b"a\0\0" + large),
        "many profiles that unpack": 3800 * chunk(b"iCCP", b"a\0\0" + many),
        "EXIF": chunk(b"eXIf", directory(60_000, 2_000_000)),
    }.items():
        yield Body(f"PNG, {name}", start + parts + rest)

    plain = small("JPEG")
    exif = directory(60_000, 2_000_000)
    pieces = [segment(0xE1, b"Exif\0\0" + exif[at : at + 65_500]) for at in range(0, len(exif), 65_500)]
    padding = segment(0xE1, b"Exif\0\0" + bytes(65_500))
    for name, parts in {
        "EXIF": segment(0xE1, b"Exif\0\0" + directory(5000, 65_000)[:65_500]),
        "EXIF in parts": b"".join(pieces),
        "EXIF in tiny parts": 30 * padding + 150_000 * segment(0xE1, b"Exif\0\0x"),
    }.items():  # without JFIF's part, so that Pillow looks for the resolution in EXIF
        yield Body(f"JPEG, {name}", plain[:2] + parts + plain[20:])
    for name, parts in {
        "MPO, index": segment(0xE2, b"MPF\0" + directory(5000, 65_000)[:65_500]),
        "JPEG, 900,000 parts": 900_000 * segment(0xEB, b""),
        "JPEG, 900,000 comments": 900_000 * segment(0xFE, b""),
        "JPEG, profile in parts": 200_000 * segment(0xE2, b"ICC_PROFILE\0\1\1"),
    }.items():
        yield Body(name, plain[:20] + parts + plain[20:])
    yield Body("MPO, many pictures", 3000 * plain)

    gif = small("GIF")
    at = gif.index(b",")  # of the picture
    for name, parts in {
        "comment in tiny parts": b"!\xfe" + 1_900_000 * b"\1x" + b"\0",
        "700,000 comments": 700_000 * b"!\xfe\1x\0",
        "900,000 extensions": 900_000 * b"!\xf9\0",
    }.items():
        yield Body(f"GIF, {name}", gif[:at] + parts + gif[at:])

    for form in QUICK:
        # Pillow would read it while saving.
        harmless, harmful = (directory(60_000, 2_000_000, kind) for kind in (99, 7))
        noted = file(striped("RGB", 32, 32, 4), form, exif=b"Exif\0\0" + harmless)
        assert harmless in noted
        yield Body(f"{form}, EXIF", noted.replace(harmless, harmful))


def pictures() -> Iterator[Body]:
    yield Body("PNG, 10,000 x 10,000 RGBA", png(10_000, 10_000, 8, 6))
    for name, depth, colour in (
        ("RGB", 8, 2),
        ("RGBA", 8, 6),
        ("RGB 16 bits", 16, 2),
        ("RGBA 16 bits", 16, 6),
        ("grey 16 bits", 16, 0),
        ("grey and alpha 16 bits", 16, 4),
        ("grey 1 bit", 1, 0),
        ("palette", 8, 3),
        ("palette 1 bit", 1, 3),
    ):
        for interlaced in (False, True):
            words = f"PNG, {name}{', interlaced' if interlaced else ''}"
            yield Body(words, png(SIDE, SIDE, depth, colour, interlaced))
    yield Body("PNG, RGBA, 4 MB", png(SIDE, SIDE, 8, 6, noise=3_700_000))
    yield Body("JPEG, RGB, details", file(striped("RGB", 4800, 4800, 3), "JPEG", quality=30)[:LARGEST])
    of_scans = scans(file(striped("RGB", 1990, 1990, 512), "JPEG", progressive=True, subsampling=0), 88)
    for name, content in {
        "RGB": file(striped("RGB", WIDE, WIDE), "JPEG", subsampling=0),
        "grey": file(striped("L", WIDE, WIDE), "JPEG"),
        "CMYK": file(striped("CMYK", WIDE, WIDE), "JPEG"),
        "progressive": file(striped("RGB", WIDE, WIDE), "JPEG", progressive=True, subsampling=0),
        "progressive, CMYK": file(striped("CMYK", WIDE, WIDE), "JPEG", progressive=True),
        "98 scans": of_scans,
    }.items():
        yield Body(f"JPEG, {name}", padded(content))
    yield Body("WEBP, lossless", file(striped("RGBA", SIDE, SIDE), "WEBP", lossless=True, method=0))
    yield Body("WEBP, lossy", file(striped("RGBA", SIDE, SIDE), "WEBP", method=0, quality=5))
    yield Body("WEBP, frames", frames("RGBA", "WEBP", 20, method=0, quality=1))
    yield Body("GIF", file(striped("L", SIDE, SIDE), "GIF"))
    yield Body("GIF, frames", frames("L", "GIF", 14))
    yield Body("BMP, 1 bit", file(striped("L", SIDE, SIDE).convert("1"), "BMP"))
    yield Body("BMP, runs", runs(1_900_000 * b"\1\7", SIDE, SIDE))
    yield Body("BMP, long runs", runs(SIDE * (13 * b"\xff\7" + b"\xdc\7" + b"\0\0"), SIDE, SIDE))
    yield Body("BMP, jumps", runs(900_000 * b"\0\2\1\1", SIDE, SIDE))

    for form, options in QUICK.items():
        yield Body(form, file(striped("RGB", 3536, 3534), form, quality=10, **options))
        large = file(Image.new("RGB", (8192, 8192), "teal"), form, quality=10, **options)
        size, lie = (struct.pack(">LL", side, side) for side in (8192, 1000))
        assert size in large
        yield Body(f"{form}, 67 million pixels said to be 1", large.replace(size, lie))
    yield Body("AVIF, frames", frames("RGB", "AVIF", 20, speed=10))
    tiny = striped("RGB", 64, 64, 4)
    yield Body("HEIF, 300 pictures", file(tiny, "HEIF", save_all=True, append_images=[tiny] * 300))


def frames(mode: str, form: str, times: int, **options: Any) -> bytes:
    """A film: one picture, and then two others in turn, each so many ``times``."""
    first, *others = (striped("RGBA", 1000, 1000, cell).convert(mode) for cell in (64, 32, 16))
    return file(first, form, save_all=True, append_images=others * times, **options)


def dense() -> Iterator[Body]:
    """Pictures whose pixels are noise, so that each of their bytes is work, and what encoders can make costly besides."""
    for form, side, options in (
        ("PNG", 1100, {}),
        ("WEBP", 1100, {"lossless": True, "method": 0}),
        ("WEBP", 2300, {"quality": 60, "method": 0}),
        ("GIF", 3000, {}),
        ("JPEG", 2300, {"quality": 75, "progressive": True}),
        ("JPEG", 1250, {"quality": 95, "subsampling": 0}),
        ("AVIF", 1000, {"speed": 10, "quality": 100, "subsampling": "4:4:4"}),
        ("AVIF", 1900, {"speed": 10, "quality": 70}),
        ("AVIF", 3536, {"speed": 10, "quality": 30, "advanced": {"film-grain-test": "4"}}),
        ("HEIF", 1000, {"quality": -1, "chroma": 444, "enc_params": {"preset": "ultrafast"}}),
        ("HEIF", 1900, {"quality": 60, "enc_params": {"preset": "ultrafast"}}),
    ):
        cell = 8 if side > 3000 else 1
        noise = np.random.default_rng(0).integers(0, 256, (-(-side // cell), -(-side // cell), 3), dtype=np.uint8)
        picture = Image.fromarray(np.ascontiguousarray(noise.repeat(cell, 0).repeat(cell, 1)[:side, :side]))
        content = file(picture.convert("L") if form == "GIF" else picture, form, **options)
        words = ", ".join(f"{name} {value}" for name, value in options.items() if name not in ("method", "enc_params"))
        yield Body(f"{form}, noise of {side} pixels{words and ', '}{words}", content)


def runs(data: bytes, width: int, height: int) -> bytes:
    """A BMP file with 8 bits and ``data`` of its run-length encoding."""
    palette = b"".join(bytes([value, value, value, 0]) for value in range(256))
    head = struct.pack("<LLLHHLLLLLL", 40, width, height, 1, 8, 1, len(data), 0, 0, 256, 0)
    start = 14 + len(head) + len(palette)
    return b"BM" + struct.pack("<LHHL", start + len(data), 0, 0, start) + head + palette + data
