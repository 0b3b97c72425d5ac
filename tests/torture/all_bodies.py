"""All bodies of at most 4 MB that cost a model as much as one can: pictures, drawings in pieces, arrays, texts, tables."""

import json
import struct
from collections.abc import Iterator

import numpy as np
from bodies import LARGEST, SIDE, Body, dense, metadata, padded, pictures, png, striped
from pictures import saved as file
from PIL import Image

from stages.common.vision import images
from stages.serving.comparison import npy


def drawings() -> Iterator[Body]:
    """Pictures whose ink is in thousands of pieces, for the search for digits."""
    generator = np.random.default_rng(0)
    rows, columns = np.indices((320, 320))
    sparse = np.where(generator.random((320, 320)) < 0.02, 0, 255)
    boxes = np.where((rows % 20 < 14) & (columns % 20 < 8) & ((rows % 20 < 2) | (columns % 20 < 2)), 0, 255)
    rings = np.where((np.hypot(rows - 160, columns - 160) % 8) < 2, 0, 255)
    colours = generator.integers(0, 256, (320, 320, 4))
    several = [np.roll(boxes, 10 * band, band % 2) for band in range(3)]  # each colour shows other strokes
    for name, pixels in {
        "noise": generator.integers(0, 256, (320, 320)),
        "dots": sparse,
        "checks": (rows + columns) % 2 * 255,
        "larger checks": (rows // 4 + columns // 4) % 2 * 255,
        "many strokes": boxes,
        "rings": rings,
        "stripes": np.where(columns % 6 < 2, 0, 255),
        "coloured noise": colours,
        "coloured strokes": np.stack(several, 2),
        "coloured strokes in noise": np.clip(np.stack(several, 2) + generator.integers(-60, 60, (320, 320, 3)), 0, 255),
        "strokes in noise": np.clip(boxes + generator.integers(-90, 90, (320, 320)), 0, 255),
    }.items():
        picture = Image.fromarray(pixels.astype(np.uint8))
        for words in ("", "; several=true"):
            yield Body(f"drawing, {name}{words and ', several'}", file(picture, "PNG"), f"image/png{words}", ("mnist",))
        large = picture.resize((SIDE, SIDE), Image.Resampling.NEAREST)
        for form, options in (("PNG", {"compress_level": 1}), ("WEBP", {"lossless": True, "method": 0})):
            if len(content := file(large, form, **options)) <= LARGEST:
                yield Body(f"drawing, {name}, large {form}", content, "image/png; several=true", ("mnist",))


def arrays() -> Iterator[Body]:
    generator = np.random.default_rng(0)
    kind = "application/x-npy"
    yield Body("array, 5,100 digits", npy(generator.integers(0, 256, (5100, 28, 28), dtype=np.uint8)), kind, ("mnist",))
    for shape in ((1000, 36, 36), (1000, 1, 1), (1000, 1, 20), (300, 20, 222), (20, 250, 266), (1, 1150, 1150)):
        pixels = generator.integers(0, 256, (*shape, 3), dtype=np.uint8)
        yield Body(f"array, {(*shape, 3)}", npy(pixels), kind, ("landmarks",))
    for header in (
        b"[" * 9000,
        b"{'descr': '|u1', 'fortran_order': False, 'shape': (" + b"9," * 4000 + b"), }",
        b"-" * 60_000,
    ):
        forged = b"\x93NUMPY\x02\x00" + struct.pack("<L", len(header)) + header
        yield Body(f"array, header of {len(header)} x {header[-3:]!r}", forged, kind, ("mnist", "landmarks"))
    forged = b"\x93NUMPY\x03\x00" + struct.pack("<L", 3_900_000) + b"(" * 3_900_000
    yield Body("array, header of 4 MB", forged, kind, ("mnist", "landmarks"))


def asked() -> Iterator[Body]:
    """Photographs of which landmarks tells more: each part of them costs as much as a photograph."""
    noise = np.random.default_rng(0).integers(0, 256, (1100, 1100, 3), dtype=np.uint8)
    for name, content in {
        "panorama": padded(file(striped("RGB", 20_000, 1200), "JPEG", subsampling=0)),
        "tall": padded(file(striped("RGB", 1536, 8000), "JPEG", subsampling=0)),
        "square": file(striped("RGB", 1535, 1535), "PNG"),
        "large square": png(SIDE, SIDE),
        "noise": file(Image.fromarray(noise), "PNG"),
    }.items():
        for words in ("several", "evidence"):
            yield Body(f"{words}, {name}", content, f"image/png; {words}=true", ("landmarks",))


def texts() -> Iterator[Body]:
    kind = "application/json"
    digit = [[3] * 28] * 27 + [[200] * 28]
    tight = json.dumps({"images": [digit] * 2500}, separators=(",", ":")).encode()[:LARGEST]
    yield Body("JSON, 2,500 digits", tight, kind, ("mnist",))
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
    """All are for bikes: CSV, or JSON if it looks so."""
    for name, content in _tables():
        kind = "application/json" if name.startswith("JSON") else "text/csv"
        yield Body(name, content, kind, ("bikes",))


def _tables() -> Iterator[tuple[str, bytes]]:
    names = "datetime,season,holiday,workingday,weather,temp,atemp,humidity,windspeed"
    hours = [HOUR.format(20 + number // 24 % 10, number % 24, 10) for number in range(80_000)]
    yield "CSV, 10,000 hours", "\n".join([names, *hours[:10_000]]).encode()
    yield "CSV, 80,000 hours", "\n".join([names, *hours]).encode()[:LARGEST]
    apart = np.datetime64("2011-01-01T00") + np.arange(10_000)
    lines = [f"{str(when).replace('T', ' ')}:00:00,1,0,1,1,9.0,11.0,50,10" for when in apart]
    yield "CSV, 10,000 different hours", "\n".join([names, *lines]).encode()
    rows = [[when, *map(float, values)] for when, *values in (line.split(",") for line in lines)]
    objects = [dict(zip(names.split(","), row, strict=True)) for row in rows]
    yield "JSON, 10,000 different hours", json.dumps(objects).encode()
    for name, cells in {
        "dates of no form": "{day}th of May 20{year:02},1,0,1,1,9.0,11.0,50,10",
        "dates of many forms": "2011-{month}-{day_of_month}T{hour}:00:00+0{zone}:00,1,0,1,1,9.0,11.0,50,10",
        "numbers of 350 digits": "2011-01-20 {hour:02}:00:00,1,0,1,1," + "9" * 350 + ",11.0,50,10",
        "quoted cells": '"2011-01-20 {hour:02}:00:00","1","0","1","1","' + " " * 300 + '9.0","11.0","50","10"',
    }.items():
        table = [names]
        for number in range(9900):
            days = {"day": number // 97 % 28 + 1, "day_of_month": number % 28 + 1, "month": number % 12 + 1}
            table.append(cells.format(**days, year=number % 100, hour=number % 24, zone=number % 9))
        content = "\n".join(table).encode()[:LARGEST]
        yield f"CSV, {name}", content[: content.rfind(b"\n")]
    wide = ",".join([names, *(f"c{number}" for number in range(990))])
    widest = "\n".join([wide, *(f"{hours[number]}{',' * 990}" for number in range(3900))]).encode()
    yield "CSV, 1,000 columns, 3,900 rows", widest[:LARGEST]
    yield "CSV, one long cell", f"{names}\n".encode() + b"9" * 3_900_000
    in_columns = {name: [row[name] for row in objects] for name in names.split(",")}
    yield "JSON, 10,000 hours in columns", json.dumps(in_columns).encode()
    yield "JSON, exponents", json.dumps(objects).replace("9.0", "9e99999").encode()
    yield "JSON, spaces", json.dumps(objects[:100]).encode() + b" " * 3_900_000
    yield "CSV, 2,000,000 columns", b"a," * 1_999_000
    yield "CSV, one wide row", names.encode() + b"\n" + b"1," * 1_900_000
    yield "CSV, 2,000,000 empty rows", names.encode() + b"\n" * 3_900_000
    yield "CSV, quotation marks", names.encode() + b"\n" + b'"' * 3_900_001


def all_bodies() -> Iterator[Body]:
    images._register_heif()
    for make in (metadata, pictures, dense, drawings, arrays, asked, texts, tables):
        yield from make()
