"""Bodies of at most 4 MB that cost a model as much as one can: pictures at the limits, damaged or endless parts, arrays, tables."""

import io
import json
import struct
import zlib
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
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


def chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}


def png(
    width: int,
    height: int,
    depth: int = 8,
    colour: int = 2,
    interlaced: bool = False,
    extra: bytes = b"",
    noise: int = 0,
) -> bytes:
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
            parts.append(
                packer.compress(row[:1] + own + row[1 + len(own) :] if number % 2 else b"\1" + bytes(len(row) - 1))
            )
    head = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, interlaced)
    palette = chunk(b"PLTE", bytes(range(256)) * 3) + chunk(b"tRNS", bytes(range(256))) if colour == 3 else b""
    data = b"".join([*parts, packer.flush()])
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + palette + extra + chunk(b"IDAT", data) + chunk(b"IEND", b"")


def file(picture: Image.Image, form: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, form, **options)
    return buffer.getvalue()


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
    empty = 300_000 * chunk(b"IDAT", b"")
    yield Body("PNG, 300,000 empty parts", png(32, 32)[:33] + empty + png(32, 32)[33:])
    yield Body("PNG, 300,000 unknown parts", png(32, 32, extra=300_000 * chunk(b"abCd", b"")))
    text = chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(1_000_000), 9))
    yield Body("PNG, texts that unpack", png(32, 32, extra=3000 * text))
    yield Body(
        "PNG, a profile that unpacks", png(32, 32, extra=chunk(b"iCCP", b"a\0\0" + zlib.compress(bytes(10**9), 9)))
    )
    yield Body("PNG, EXIF", png(32, 32, extra=chunk(b"eXIf", directory(60_000, 2_000_000))))

    yield Body("JPEG, RGB", padded(file(striped("RGB", WIDE, WIDE), "JPEG", subsampling=0)))
    yield Body("JPEG, RGB, details", file(striped("RGB", 4800, 4800, 3), "JPEG", quality=30)[:LARGEST])
    yield Body("JPEG, grey", padded(file(striped("L", WIDE, WIDE), "JPEG")))
    yield Body("JPEG, CMYK", padded(file(striped("CMYK", WIDE, WIDE), "JPEG")))
    progressive = file(striped("RGB", WIDE, WIDE), "JPEG", progressive=True, subsampling=0)
    yield Body("JPEG, progressive", padded(progressive))
    yield Body("JPEG, progressive, CMYK", padded(file(striped("CMYK", WIDE, WIDE), "JPEG", progressive=True)))
    side = 1990
    yield Body(
        "JPEG, 98 scans",
        padded(scans(file(striped("RGB", side, side, 512), "JPEG", progressive=True, subsampling=0), 88)),
    )
    plain = small("JPEG")
    bare = plain[:2] + plain[20:]  # without JFIF's part, so that Pillow looks for the resolution in EXIF
    exif = segment(0xE1, b"Exif\0\0" + directory(5000, 65_000)[:65_500])
    yield Body("JPEG, EXIF", bare[:2] + exif + bare[2:])
    split = directory(60_000, 2_000_000)
    pieces = [segment(0xE1, b"Exif\0\0" + split[at : at + 65_500]) for at in range(0, len(split), 65_500)]
    yield Body("JPEG, EXIF in parts", bare[:2] + b"".join(pieces) + bare[2:])
    yield Body(
        "JPEG, EXIF in tiny parts",
        bare[:2] + 30 * segment(0xE1, b"Exif\0\0" + bytes(65_500)) + 150_000 * segment(0xE1, b"Exif\0\0x") + bare[2:],
    )
    index = segment(0xE2, b"MPF\0" + directory(5000, 65_000)[:65_500])
    yield Body("MPO, index", plain[:20] + index + plain[20:])
    yield Body("MPO, many pictures", 3000 * plain)
    yield Body("JPEG, 900,000 parts", plain[:20] + 900_000 * segment(0xEB, b"") + plain[20:])
    yield Body("JPEG, 900,000 comments", plain[:20] + 900_000 * segment(0xFE, b"") + plain[20:])
    yield Body("JPEG, profile in parts", plain[:20] + 200_000 * segment(0xE2, b"ICC_PROFILE\0\1\1") + plain[20:])

    yield Body("WEBP, lossless", file(striped("RGBA", SIDE, SIDE), "WEBP", lossless=True, method=0))
    yield Body("WEBP, lossy", file(striped("RGBA", SIDE, SIDE), "WEBP", method=0, quality=5))
    few = [striped("RGBA", 1000, 1000, cell) for cell in (64, 32, 16)]
    yield Body("WEBP, frames", file(few[0], "WEBP", save_all=True, append_images=few[1:] * 20, method=0, quality=1))

    yield Body("GIF", file(striped("L", SIDE, SIDE), "GIF"))
    yield Body(
        "GIF, frames",
        file(few[0].convert("L"), "GIF", save_all=True, append_images=[one.convert("L") for one in few[1:] * 14]),
    )
    gif = small("GIF")
    at = gif.index(b",")  # of the picture
    yield Body("GIF, comment in tiny parts", gif[:at] + b"!\xfe" + 1_900_000 * b"\1x" + b"\0" + gif[at:])
    yield Body("GIF, 700,000 comments", gif[:at] + 700_000 * b"!\xfe\1x\0" + gif[at:])
    yield Body("GIF, 900,000 extensions", gif[:at] + 900_000 * b"!\xf9\0" + gif[at:])

    yield Body("BMP, 1 bit", file(striped("L", SIDE, SIDE).convert("1"), "BMP"))
    yield Body("BMP, runs", runs(1_900_000 * b"\1\7", SIDE, SIDE))
    yield Body("BMP, long runs", runs(SIDE * (13 * b"\xff\7" + b"\xdc\7" + b"\0\0"), SIDE, SIDE))
    yield Body("BMP, jumps", runs(900_000 * b"\0\2\1\1", SIDE, SIDE))

    for form, options in {"AVIF": {"speed": 10}, "HEIF": {"enc_params": {"preset": "ultrafast"}}}.items():
        yield Body(form, file(striped("RGB", 3536, 3534), form, quality=10, **options))
        large = file(Image.new("RGB", (8192, 8192), "teal"), form, quality=10, **options)
        size, lie = (struct.pack(">LL", side, side) for side in (8192, 1000))
        assert size in large
        yield Body(f"{form}, 67 million pixels said to be 1", large.replace(size, lie))
        harmless, harmful = (
            directory(60_000, 2_000_000, kind) for kind in (99, 7)
        )  # Pillow would read it while saving
        noted = file(striped("RGB", 32, 32, 4), form, exif=b"Exif\0\0" + harmless)
        assert harmless in noted
        yield Body(f"{form}, EXIF", noted.replace(harmless, harmful))
    yield Body(
        "AVIF, frames",
        file(
            few[0].convert("RGB"),
            "AVIF",
            save_all=True,
            append_images=[one.convert("RGB") for one in few[1:] * 20],
            speed=10,
        ),
    )
    yield Body(
        "HEIF, 300 pictures",
        file(striped("RGB", 64, 64, 4), "HEIF", save_all=True, append_images=[striped("RGB", 64, 64, 4)] * 300),
    )


def runs(data: bytes, width: int, height: int) -> bytes:
    """A BMP file with 8 bits and ``data`` of its run-length encoding."""
    palette = b"".join(bytes([value, value, value, 0]) for value in range(256))
    head = struct.pack("<LLLHHLLLLLL", 40, width, height, 1, 8, 1, len(data), 0, 0, 256, 0)
    start = 14 + len(head) + len(palette)
    return b"BM" + struct.pack("<LHHL", start + len(data), 0, 0, start) + head + palette + data


def drawings() -> Iterator[Body]:
    """Pictures whose ink is in thousands of pieces, for the search for digits."""
    generator = np.random.default_rng(0)
    rows, columns = np.indices((320, 320))
    sparse = np.where(generator.random((320, 320)) < 0.02, 0, 255)
    boxes = np.where((rows % 20 < 14) & (columns % 20 < 8) & ((rows % 20 < 2) | (columns % 20 < 2)), 0, 255)
    rings = np.where((np.hypot(rows - 160, columns - 160) % 8) < 2, 0, 255)
    colours = generator.integers(0, 256, (320, 320, 4))
    for name, pixels in {
        "noise": generator.integers(0, 256, (320, 320)),
        "dots": sparse,
        "checks": (rows + columns) % 2 * 255,
        "larger checks": (rows // 4 + columns // 4) % 2 * 255,
        "many strokes": boxes,
        "rings": rings,
        "stripes": np.where(columns % 6 < 2, 0, 255),
        "coloured noise": colours,
        "strokes in noise": np.clip(boxes + generator.integers(-90, 90, (320, 320)), 0, 255),
    }.items():
        picture = Image.fromarray(pixels.astype(np.uint8))
        for several in ("", "; several=true"):
            yield Body(
                f"drawing, {name}{several and ', several'}", file(picture, "PNG"), f"image/png{several}", ("mnist",)
            )
        large = picture.resize((SIDE, SIDE), Image.Resampling.NEAREST)
        if len(content := file(large, "PNG", compress_level=1)) <= LARGEST:
            yield Body(f"drawing, {name}, large", content, "image/png; several=true", ("mnist",))


def npy(array: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


def arrays() -> Iterator[Body]:
    generator = np.random.default_rng(0)
    kind = "application/x-npy"
    yield Body("array, 5,100 digits", npy(generator.integers(0, 256, (5100, 28, 28), dtype=np.uint8)), kind, ("mnist",))
    for shape in (
        (1000, 36, 36, 3),
        (1000, 1, 1, 3),
        (1000, 1, 20, 3),
        (300, 20, 222, 3),
        (20, 250, 266, 3),
        (1, 1150, 1150, 3),
    ):
        pixels = generator.integers(0, 256, shape, dtype=np.uint8)
        yield Body(f"array, {shape}", npy(pixels), kind, ("landmarks",))
    for header in (
        b"[" * 9000,
        b"{'descr': '|u1', 'fortran_order': False, 'shape': (" + b"9," * 4000 + b"), }",
        b"-" * 60_000,
    ):
        forged = b"\x93NUMPY\x02\x00" + struct.pack("<L", len(header)) + header
        yield Body(f"array, header of {len(header)} x {header[-3:]!r}", forged, kind, ("mnist", "landmarks"))
    yield Body(
        "array, header of 4 MB",
        b"\x93NUMPY\x03\x00" + struct.pack("<L", 3_900_000) + b"(" * 3_900_000,
        kind,
        ("mnist", "landmarks"),
    )


def texts() -> Iterator[Body]:
    kind = "application/json"
    digit = [[3] * 28] * 27 + [[200] * 28]
    yield Body(
        "JSON, 2,500 digits",
        json.dumps({"images": [digit] * 2500}, separators=(",", ":")).encode()[:LARGEST],
        kind,
        ("mnist",),
    )
    yield Body("JSON, 1,690 digits", json.dumps({"images": [digit] * 1600}).encode(), kind, ("mnist",))
    for name, content in {
        "empty lists": b"[" + b"[]," * 1_300_000 + b"[]]",
        "empty objects": b"[" + b"{}," * 1_300_000 + b"{}]",
        "keys": b"{" + b",".join(b'"%d":0' % number for number in range(350_000)) + b"}",
        "objects with own keys": b"[" + b",".join(b'{"%d":0}' % number for number in range(300_000)) + b"]",
        "long number": b"[" + b"9" * 3_900_000 + b"]",
        "numbers": b'{"images":[' + b"1," * 1_900_000 + b"1]}",
        "floats": b'{"images":[[[' + b"1e9," * 900_000 + b"1]]]}",
        "deep": b"[" * 3_900_000,
        "texts": b'{"images":["' + b"\\u00e9" * 600_000 + b'"]}',
    }.items():
        yield Body(f"JSON, {name}", content, kind, ("mnist", "bikes"))


HOUR = "2011-01-{:02} {:02}:00:00,1,0,1,1,9.0,11.0,50,{}"


def tables() -> Iterator[Body]:
    names = "datetime,season,holiday,workingday,weather,temp,atemp,humidity,windspeed"
    hours = [HOUR.format(20 + number // 24 % 10, number % 24, 10) for number in range(80_000)]
    yield Body("CSV, 10,000 hours", "\n".join([names, *hours[:10_000]]).encode(), "text/csv", ("bikes",))
    yield Body("CSV, 80,000 hours", "\n".join([names, *hours]).encode()[:LARGEST], "text/csv", ("bikes",))
    apart = np.datetime64("2011-01-01T00") + np.arange(10_000)
    lines = [f"{str(when).replace('T', ' ')}:00:00,1,0,1,1,9.0,11.0,50,10" for when in apart]
    yield Body("CSV, 10,000 different hours", "\n".join([names, *lines]).encode(), "text/csv", ("bikes",))
    objects = [
        dict(zip(names.split(","), [line.split(",")[0], *map(float, line.split(",")[1:])], strict=True))
        for line in lines
    ]
    yield Body("JSON, 10,000 different hours", json.dumps(objects).encode(), "application/json", ("bikes",))
    yield Body("CSV, 2,000,000 columns", b"a," * 1_999_000, "text/csv", ("bikes",))
    yield Body("CSV, one wide row", names.encode() + b"\n" + b"1," * 1_900_000, "text/csv", ("bikes",))
    yield Body("CSV, 2,000,000 empty rows", names.encode() + b"\n" * 3_900_000, "text/csv", ("bikes",))
    yield Body("CSV, quotation marks", names.encode() + b"\n" + b'"' * 3_900_001, "text/csv", ("bikes",))


def all_bodies() -> Iterator[Body]:
    for make in (pictures, drawings, arrays, texts, tables):
        yield from make()
