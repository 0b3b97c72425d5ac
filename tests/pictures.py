"""Files as people have them, and as they have them by accident or by malice: what tests decode, made by code."""

import io
import os
import signal
import struct
import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pillow_heif
from numpy.typing import NDArray
from PIL import Image, ImageCms
from PIL.PngImagePlugin import PngInfo

Pixels = NDArray[np.uint8]

ADAM7 = [(0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)]
"""The passes of an interlaced PNG: first column and row, steps to the next ones."""

LIMIT = 1_000_000
"""Pixels that the corpus is decoded with; only its bombs have more."""


class Readable(NamedTuple):
    """A file, the RGB pixels (H, W, 3) that belong in it, and how far each may be off."""

    content: bytes
    pixels: Pixels
    tolerance: int = 0


def gradient(height: int = 24, width: int = 32) -> Pixels:
    """A smooth picture with another colour in each corner, so that no turned or mirrored copy is like it."""
    y, x = np.mgrid[0:height, 0:width] / np.array([height, width]).reshape(2, 1, 1)
    return np.stack([255 * x, 255 * y, 255 * (1 - x) * (0.4 + 0.6 * y)], axis=2).astype(np.uint8)


def saved(image: Image.Image | Pixels, picture_format: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    (image if isinstance(image, Image.Image) else Image.fromarray(image)).save(buffer, picture_format, **options)
    return buffer.getvalue()


def heic(pixels: Pixels, **options: Any) -> bytes:
    """A HEIC file, as iPhones write it."""
    buffer = io.BytesIO()
    pillow_heif.from_pillow(Image.fromarray(pixels)).save(buffer, quality=95, chroma=444, **options)
    return buffer.getvalue()


def grey(values: Pixels) -> Pixels:
    return np.repeat(values[:, :, None], 3, axis=2)


def on_white(colours: Pixels, alpha: NDArray[Any]) -> Pixels:
    share = alpha[:, :, None] / 255
    return (colours * share + 255 * (1 - share)).round().astype(np.uint8)


def turned_by(orientation: int) -> Image.Exif:
    """EXIF of this orientation. pillow-heif only writes it, but also writes a box that turns the pixels if it gets bytes."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    return exif


def chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def png(
    size: tuple[int, int],
    depth: int,
    colour: int,
    data: bytes,
    *,
    before: Iterable[bytes] = (),
    interlaced: bool = False,
) -> bytes:
    """A PNG of ``size`` (width, height) with ``data`` as its filtered rows and the chunks ``before`` those."""
    header = struct.pack(">2I5B", *size, depth, colour, 0, 0, interlaced)
    body = [chunk(b"IHDR", header), *before, chunk(b"IDAT", zlib.compress(data)), chunk(b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(body)


def png_of(values: NDArray[Any], colour: int, *, before: Iterable[bytes] = ()) -> bytes:
    """(H, W, channels) of 8 or 16 bits as a PNG of the ``colour`` type: 0 grey, 2 RGB, 4 grey and alpha, 6 RGBA."""
    height, width, _ = values.shape
    size = values.dtype.itemsize
    rows = values.astype(f">u{size}").reshape(height, -1)
    return png((width, height), 8 * size, colour, b"".join(b"\0" + row.tobytes() for row in rows), before=before)


def interlaced(values: Pixels) -> bytes:
    """RGB (H, W, 3) as a PNG in Adam7's seven passes."""
    passes = (values[top::down, left::right] for left, top, right, down in ADAM7)
    data = b"".join(b"\0" + row.tobytes() for part in passes for row in part)
    return png((values.shape[1], values.shape[0]), 8, 2, data, interlaced=True)


def ycck(inks: Pixels) -> bytes:
    """Inks (H, W, 4) as Adobe's programs store them: black inverted, the others as luminance and colour differences."""
    colours = np.asarray(Image.fromarray(np.ascontiguousarray(inks[:, :, :3])).convert("YCbCr"))
    stored = np.dstack([colours, 255 - inks[:, :, 3]])
    content = saved(Image.fromarray(255 - stored, "CMYK"), "JPEG", quality=100)  # Pillow inverts what it writes
    adobe = content.index(b"Adobe")
    return content[: adobe + 11] + b"\x02" + content[adobe + 12 :]


def rgb_of(inks: Pixels) -> Pixels:
    left = 255 - inks.astype(float)
    light: Pixels = (left[:, :, :3] * left[:, :, 3:] / 255).round().astype(np.uint8)
    return light


def readable() -> dict[str, Readable]:
    picture = gradient()
    height, width, _ = picture.shape
    image, other = Image.fromarray(picture), Image.fromarray(255 - picture)
    light = np.asarray(image.convert("L"))
    alpha = np.linspace(0, 255, height * width).astype(np.uint8).reshape(height, width)
    rgba = np.dstack([picture, alpha])
    inks = np.dstack([255 - picture, 80 * (alpha > 100)]).astype(np.uint8)
    palette = image.quantize(32)
    flat = np.asarray(palette.convert("RGB"))
    index = np.asarray(palette)
    hole = int(index[0, 0])
    punched = np.where((index == hole)[:, :, None], 255, flat).astype(np.uint8)
    alphas = np.arange(0, 256, 8, dtype=np.uint8)
    bits = np.where(light > 127, 255, 0).astype(np.uint8)
    wide = np.linspace(0, 65535, height * width).round().astype(np.uint16).reshape(height, width, 1)
    wide_rgb = picture.astype(np.uint16) * 256 + 77
    narrow = (wide_rgb / 257).round().astype(np.uint8)
    wide_alpha = alpha[:, :, None].astype(np.uint16) * 257
    narrow_grey = grey((wide[:, :, 0] / 257).round().astype(np.uint8))
    holed = narrow_grey.copy()
    holed[5, 5] = 255
    first = struct.pack(">3H", *picture[0, 0])
    without_first = np.where((picture == picture[0, 0]).all(2)[:, :, None], 255, picture).astype(np.uint8)
    fifth = struct.pack(">H", wide[5, 5, 0])
    more: dict[str, Any] = {"save_all": True, "append_images": [other]}
    jpeg = saved(picture, "JPEG", quality=95)
    mpo = saved(image, "MPO", quality=95, **more)
    broken_mpo = mpo.replace(b"MPF\0II*\0", b"MPF\0II*\1").replace(b"MPF\0MM\0*", b"MPF\0MM\1*")
    broken_exif, no_exif = b"Exif\0\0II*\0\x08\0\0\0\x05\0\x12\x01", b"Exif\0\0rubbish, not TIFF"
    upright = {  # what each orientation makes of the stored picture, from EXIF's words on row 0 and column 0
        1: picture,
        2: picture[:, ::-1],
        3: picture[::-1, ::-1],
        4: picture[::-1],
        5: picture.transpose(1, 0, 2),
        6: picture[::-1].transpose(1, 0, 2),
        7: picture[::-1, ::-1].transpose(1, 0, 2),
        8: picture[:, ::-1].transpose(1, 0, 2),
        9: picture,
    }
    exact = {
        "png": (saved(picture, "PNG"), picture),
        "png, interlaced": (interlaced(picture), picture),
        "png, first of an animation": (saved(image, "PNG", **more), picture),
        "png, text and profile": (with_text(picture), picture),
        "png, palette": (saved(palette, "PNG"), flat),
        "png, palette with one transparent colour": (saved(palette, "PNG", transparency=hole), punched),
        "png, grey": (saved(light, "PNG"), grey(light)),
        "png, black and white": (saved(Image.fromarray(bits).convert("1"), "PNG"), grey(bits)),
        "png, one transparent colour": (png_of(picture, 2, before=[chunk(b"tRNS", first)]), without_first),
        "png, 16 bits, grey": (png_of(wide, 0), narrow_grey),
        "png, 16 bits, grey, one transparent": (png_of(wide, 0, before=[chunk(b"tRNS", fifth)]), holed),
        "png, exif turned": (saved(picture, "PNG", exif=turned_by(6)), upright[6]),
        "png, exif of rubbish": (saved(picture, "PNG", exif=b"rubbish, not TIFF"), picture),
        "gif": (saved(palette, "GIF"), flat),
        "gif, transparent": (saved(palette, "GIF", transparency=hole), punched),
        "gif, first of an animation": (saved(palette, "GIF", save_all=True, append_images=[other.quantize(32)]), flat),
        "webp, lossless": (saved(picture, "WEBP", lossless=True), picture),
        "webp, first of an animation": (saved(image, "WEBP", lossless=True, **more), picture),
        "webp, exif turned": (saved(picture, "WEBP", lossless=True, exif=turned_by(8)), upright[8]),
        "bmp": (saved(picture, "BMP"), picture),
        "bmp, palette": (saved(palette, "BMP"), flat),
        "bmp, black and white": (saved(Image.fromarray(bits).convert("1"), "BMP"), grey(bits)),
        "png, 16 bits that hold 8": (png_of(light[:, :, None].astype(np.uint16), 0), grey(light)),
        "one pixel": (saved(picture[:1, :1], "PNG"), picture[:1, :1]),
        "twenty times as wide as high": (saved(gradient(2, 40), "PNG"), gradient(2, 40)),
        "as many pixels as are allowed": (saved(gradient(1000, 1000), "PNG", compress_level=1), gradient(1000, 1000)),
    }
    near = {
        "png, transparent": (saved(rgba, "PNG"), on_white(picture, alpha), 1),
        "png, palette with alphas": (
            saved(palette, "PNG", transparency=bytes(alphas)),
            on_white(flat, alphas[index]),
            1,
        ),
        "png, grey and transparent": (saved(np.dstack([light, alpha]), "PNG"), on_white(grey(light), alpha), 1),
        "png, 16 bits, grey and transparent": (
            png_of(np.dstack([wide, wide_alpha]), 4),
            on_white(narrow_grey, alpha),
            2,
        ),
        "png, 16 bits": (png_of(wide_rgb, 2), narrow, 1),
        "png, 16 bits, transparent": (png_of(np.dstack([wide_rgb, wide_alpha]), 6), on_white(narrow, alpha), 2),
        "webp": (saved(picture, "WEBP", quality=95), picture, 30),
        "avif": (saved(picture, "AVIF", quality=95), picture, 30),
        "heic": (heic(picture), picture, 30),
        "heic, exif turned": (heic(picture, exif=turned_by(6).tobytes()), upright[6], 30),
        "heic, turned by exif alone": (heic(picture, exif=turned_by(8)), upright[8], 30),
        "webp, transparent": (saved(rgba, "WEBP", lossless=True, exact=True), on_white(picture, alpha), 1),
        "jpeg": (jpeg, picture, 12),
        "jpeg, progressive": (saved(picture, "JPEG", progressive=True, quality=95), picture, 12),
        "jpeg, grey": (saved(light, "JPEG", quality=95), grey(light), 12),
        "jpeg, cmyk": (saved(Image.fromarray(inks, "CMYK"), "JPEG", quality=100), rgb_of(inks), 12),
        "jpeg, ycck": (ycck(inks), rgb_of(inks), 12),
        "jpeg, something behind it": (jpeg + b"MotionPhoto_Data" + bytes(range(256)) * 4, picture, 12),
        "jpeg, exif damaged": (saved(picture, "JPEG", exif=broken_exif, quality=95), picture, 12),
        "jpeg, exif of rubbish": (saved(picture, "JPEG", exif=no_exif, quality=95), picture, 12),
        "mpo": (mpo, picture, 12),
        "mpo, index damaged": (broken_mpo, picture, 12),
    }
    orientations = {
        f"jpeg, orientation {number}": (saved(picture, "JPEG", exif=turned_by(number), quality=95), pixels, 12)
        for number, pixels in upright.items()
    }
    return {name: Readable(*case) for name, case in (exact | near | orientations).items()}


def with_text(picture: Pixels) -> bytes:
    info = PngInfo()
    info.add_text("Comment", "a" * 10_000, zip=True)
    info.add_itxt("Title", "Zürich", zip=True)
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    return saved(picture, "PNG", pnginfo=info, icc_profile=profile)


def resized_jpeg(content: bytes, width: int, height: int, marker: bytes = b"\xff\xc0") -> bytes:
    """``content`` with another size in its frame header."""
    at = content.index(marker) + 5
    return content[:at] + struct.pack(">2H", height, width) + content[at + 4 :]


def scanned(content: bytes, times: int) -> bytes:
    """A progressive JPEG with its last scan that many times more."""
    last = content.rindex(b"\xff\xda")
    return content[:-2] + content[last:-2] * times + content[-2:]


def swollen(name: bytes, before: bytes) -> bytes:
    """A PNG whose chunk ``name`` unpacks to 20 MB, from 20 kB."""
    zeros = zlib.compressobj(9)
    packed = b"".join([zeros.compress(bytes(1_000_000)) for _ in range(20)]) + zeros.flush()
    return png((4, 4), 8, 0, bytes(20), before=[chunk(name, before + packed)])


def gif(screen: tuple[int, int], frame: tuple[int, int], data: bytes = b"\x02\x02L\x01\0;") -> bytes:
    """A GIF of two colours whose ``frame`` need not agree with its ``screen``; it is disposed of to the background."""
    return b"".join(
        [
            b"GIF89a" + struct.pack("<2H3B", *screen, 0x80, 0, 0) + b"\0\0\0\xff\xff\xff",
            b"!\xf9\x04\x08\0\0\0\0",
            b"," + struct.pack("<4HB", 0, 0, *frame, 0) + data,
        ]
    )


def webp(*chunks: tuple[bytes, bytes]) -> bytes:
    body = b"WEBP" + b"".join(
        name + struct.pack("<I", len(data)) + data + b"\0" * (len(data) % 2) for name, data in chunks
    )
    return b"RIFF" + struct.pack("<I", len(body)) + body


def bmp(width: int, height: int, bits: int = 24, compression: int = 0, data: bytes = b"") -> bytes:
    header = struct.pack("<IiiHHIIiiII", 40, width, height, 1, bits, compression, 0, 0, 0, 0, 0)
    return b"BM" + struct.pack("<IHHI", 54 + len(data), 0, 0, 54) + header + data


def bombs() -> dict[str, bytes]:
    """Small files that say they have more pixels than LIMIT."""
    picture = gradient()
    jpeg, progressive = saved(picture, "JPEG"), saved(picture, "JPEG", progressive=True)
    frames = [Image.fromarray(gradient(1001, 1000))] * 2
    small = saved(Image.fromarray(picture), "WEBP", save_all=True, append_images=[Image.fromarray(255 - picture)])
    return {
        "jpeg": resized_jpeg(jpeg, 65_000, 65_000),
        "jpeg, progressive": resized_jpeg(progressive, 65_000, 65_000, b"\xff\xc2"),
        "jpeg, one row more than allowed": resized_jpeg(jpeg, 1000, 1001),
        "mpo": resized_jpeg(saved(Image.fromarray(picture), "MPO", save_all=True), 30_000, 30_000),
        "png": png((60_000, 60_000), 8, 2, bytes(100)),
        "png, of one bit": png((12_000, 12_000), 1, 0, bytes(100)),
        "png, one row more than allowed": saved(gradient(1001, 1000), "PNG", compress_level=1),
        "png, animated": saved(frames[0], "PNG", save_all=True, append_images=frames[1:], compress_level=1),
        "gif": gif((60_000, 60_000), (4, 4)),
        "gif, frame larger than its screen": gif((4, 4), (12_000, 12_000)),
        "gif, animated": saved(frames[0], "GIF", save_all=True, append_images=frames[1:]),
        "webp": webp((b"VP8L", b"\x2f" + struct.pack("<I", 16_382 | 16_382 << 14) + bytes(20))),
        # Its frames are small; the canvas, in the bytes after VP8X's flags, is not.
        "webp, canvas": small[:24] + (15_999).to_bytes(3, "little") * 2 + small[30:],
        "webp, animated": saved(frames[0], "WEBP", save_all=True, append_images=frames[1:], method=0),
        "bmp": bmp(60_000, 60_000),
        "bmp, packed": bmp(60_000, 10_000, 8, 1),
    }


def refused() -> dict[str, tuple[bytes, str]]:
    """Files and words of the reason for which each is refused."""
    picture = gradient()
    jpeg, progressive = saved(picture, "JPEG"), saved(picture, "JPEG", progressive=True)
    whole_png, whole_gif, whole_webp = saved(picture, "PNG"), saved(picture, "GIF"), saved(picture, "WEBP")
    whole_bmp = saved(picture, "BMP")
    table = jpeg.index(b"\xff\xc4")
    pixels = whole_png.index(b"IDAT")
    other = "it is not a JPEG, PNG, WEBP, GIF, BMP, AVIF or HEIF file"
    jpeg_cut, gif_cut, bmp_cut = (
        f"the {kind} file is damaged: it is cut off, send the whole file" for kind in ("JPEG", "GIF", "BMP")
    )
    jpeg_header, png_header = (f"the {kind} file is damaged: its header can't be read" for kind in ("JPEG", "PNG"))
    swells = "the PNG file is damaged: a text in it unpacks to too many bytes"
    rows = zlib.compress(bytes(20))
    cases = {
        "nothing": (b"", "the file is empty"),
        "one byte": (b"\xff", other),
        "text": (b"hello, I am not a picture\n", f"{other}: it begins with b'hello, I am not '"),
        "a page that says not found": (
            b"<!DOCTYPE html><html>404</html>",
            f"{other}: it begins with b'<!DOCTYPE html><'",
        ),
        "svg": (b'<svg xmlns="http://www.w3.org/2000/svg"/>', other),
        "zip": (b"PK\x03\x04" + bytes(30), other),
        "pdf": (b"%PDF-1.7\n", other),
        "heic, only a header": (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "the HEIF file is damaged"),
        "quicktime": (b"\0\0\0\x18ftypqt  \0\0\0\0qt  ", f"{other}: it begins with b'\\x00\\x00\\x00\\x18ftypqt"),
        "tiff": (saved(picture, "TIFF"), "it is a TIFF file, which is not read: save it as PNG or JPEG"),
        "netpbm": (saved(picture, "PPM"), other),
        "postscript": (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", other),
        "jpeg, its first bytes": (jpeg[:3], jpeg_header),
        "jpeg, cut in its header": (jpeg[:300], "the JPEG file is damaged"),
        "jpeg, cut in its pixels": (jpeg[:-100], jpeg_cut),
        "jpeg, cut before its end": (jpeg[:-2], jpeg_cut),
        "jpeg, progressive, cut": (progressive[:-40], jpeg_cut),
        "jpeg, huffman table damaged": (
            jpeg[: table + 5] + b"\xff" * 16 + jpeg[table + 21 :],
            "the JPEG file is damaged: its pixels can't be read, save it again",
        ),
        "jpeg, no rows": (resized_jpeg(jpeg, 32, 0), jpeg_header),
        "jpeg, of 12 bits": (
            jpeg.replace(b"\xff\xc0\0\x11\x08", b"\xff\xc0\0\x11\x0c"),
            "the JPEG file is damaged: its header",
        ),
        "jpeg, no end of scans": (scanned(progressive, 500), "the JPEG file has more than 100 scans"),
        "mpo, cut": (saved(Image.fromarray(picture), "MPO", save_all=True)[:700], jpeg_cut),
        "png, cut in its header": (whole_png[:20], "the PNG file is damaged: it is cut off"),
        "png, cut in its pixels": (whole_png[: len(whole_png) * 2 // 3], "the PNG file is damaged: it is cut off"),
        "png, cut behind its pixels": (whole_png[:-12], "the PNG file is damaged: it is cut off"),
        "png, checksum of its header": (whole_png[:29] + b"\0\0\0\0" + whole_png[33:], png_header),
        "png, checksum of its pixels": (
            whole_png[: pixels + 60] + bytes([whole_png[pixels + 60] ^ 1]) + whole_png[pixels + 61 :],
            "the PNG file is damaged: a checksum is wrong, copy it again",
        ),
        "png, no pixels": (
            b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">2I5B", 4, 4, 8, 0, 0, 0, 0)) + chunk(b"IEND", b""),
            "the PNG file is damaged",
        ),
        "png, not deflated": (
            png((4, 4), 8, 0, bytes(20)).replace(rows, b"\xff" * len(rows)),
            "the PNG file is damaged",
        ),
        "png, no columns": (png((0, 4), 8, 0, bytes(4)), png_header),
        "png, of 5 bits": (png((4, 4), 5, 0, bytes(20)), png_header),
        "png, profile that swells": (swollen(b"iCCP", b"name\0\0"), swells),
        "png, text that swells": (swollen(b"zTXt", b"name\0\0"), swells),
        "png, international text that swells": (swollen(b"iTXt", b"name\0\1\0\0\0"), swells),
        "gif, cut in its pixels": (whole_gif[:-50], gif_cut),
        "gif, no picture": (whole_gif[:13] + b";", "the GIF file is damaged"),
        "gif, code of 200 bits": (gif((4, 4), (4, 4), b"\xc8\x02L\x01\0;"), "the GIF file is damaged"),
        "webp, cut": (whole_webp[: len(whole_webp) // 2], "the WEBP file is damaged: its pixels can't be read"),
        "webp, pixels of rubbish": (webp((b"VP8L", b"\x2f\x03\xc0\0\0" + b"\xff" * 20)), "the WEBP file is damaged"),
        "bmp, cut": (whole_bmp[: len(whole_bmp) // 2], bmp_cut),
        "bmp, packed and cut": (bmp(32, 24, 8, 1, bytes(1024) + b"\x20\x01"), "the BMP file is damaged"),
        "bmp, holds a jpeg": (bmp(32, 24, 0, 4, jpeg), "the BMP file is damaged: its pixels can't be read"),
        "twenty-one times as wide as high": (
            saved(gradient(2, 42), "PNG"),
            "42 x 2 pixels, one side more than 20 times",
        ),
        "one column": (saved(gradient(500, 1), "PNG"), "1 x 500 pixels, one side more than 20 times"),
    }
    many = "the picture has more than 1,000,000 pixels"
    return cases | {f"bomb: {name}": (content, many) for name, content in bombs().items()}


def samples() -> dict[str, bytes]:
    """A small whole file of each kind, to damage at random."""
    return {name: case.content for name, case in readable().items() if len(case.content) < 10_000}


def damaged(content: bytes, seed: int) -> bytes:
    """``content`` cut off, with some bytes gone, or with some changed: half of them in the first 200, where headers are."""
    random = np.random.default_rng(seed)
    result = bytearray(content)
    match random.integers(4):
        case 0:
            return content[: random.integers(len(content))]
        case 1:
            at = random.integers(len(content))
            del result[at : at + random.integers(1, 20)]
        case _:
            end = len(content) if random.random() < 0.5 else min(len(content), 200)
            for at in random.integers(end, size=random.integers(1, 6)):
                result[at] = random.choice([0, 1, 127, 128, 255, int(random.integers(256))])
    return bytes(result)


def deadly(path: Path) -> str:
    """A decoder with a defect: it takes its process down at a certain file. (Processes import this module fast.)"""
    if path.name == "deadly.jpg":
        os.kill(os.getpid(), signal.SIGKILL)
    return path.name
