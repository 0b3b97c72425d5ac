"""Decode the bytes of an image to pixels, or raise an error that explains in one sentence why not.

Exported models include this file, so it needs only numpy and Pillow. For HEIC it also needs pillow-heif: where that is
missing, as in SageMaker's image, HEIC files are refused.
"""

import importlib
import io
import re
import struct
import threading
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

try:
    import bare  # type: ignore[import-not-found]
except ImportError:  # in the project, not in the export
    from stages.common.vision import bare

ImageError = bare.ImageError
Pixels = NDArray[np.uint8]

SIGNATURES = {  # Not TIFF: the work of its decoders on hostile files is not bounded by the number of pixels.
    "JPEG": re.compile(rb"\xff\xd8\xff"),  # also MPO: several JPEGs in a row; the first is used
    "PNG": re.compile(rb"\x89PNG\r\n\x1a\n"),
    "WEBP": re.compile(rb"RIFF.{4}WEBP", re.DOTALL),
    "GIF": re.compile(rb"GIF8[79]a"),
    "BMP": re.compile(rb"BM"),
    "AVIF": re.compile(rb".{4}ftyp(avif|avis)", re.DOTALL),
    "HEIF": re.compile(rb".{4}ftyp(hei[cxms]|hev[cx]|mif1|msf1)", re.DOTALL),  # also called HEIC
}
"""The first bytes of each format. The file's name is not used."""

TIFF = b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"

CONTENT_TYPES = ("image/*", "application/x-image", "application/octet-stream")
"""Content types of requests with a picture. The second is what SageMaker's own image classification takes."""

TURNED = re.compile(rb"irot|imir")
"""The boxes of a HEIC file that turn or mirror its pixels, which libheif does. Its EXIF counts only if it has none."""

MAX_ASPECT = 20
"""Limit of longer / shorter side: enlarging a strip's short side makes it huge. The widest panoramas have about 10."""

MAX_BYTES = 512 * 2**20
"""Largest accepted file, larger than any photograph. Larger files, such as films, are not read into memory."""

DENSEST = {"JPEG": (24_000_000, 6)}
USUAL = 12_500_000, 3
"""Limits of a small file's pixels, and of pixels a byte: a few kilobytes can unpack to gigabytes. JPEG needs less memory."""

SCAN = re.compile(rb"\xff\xda\x00[\x08\x0a\x0c\x0e][\x01-\x04]")
MAX_SCANS = 100
"""Limit for a JPEG. Progressive ones have about 10. A scan can have few bytes but costs a pass over all pixels."""

UPRIGHT: dict[int, Callable[[Pixels], Pixels]] = {
    2: lambda pixels: pixels[:, ::-1],
    3: lambda pixels: pixels[::-1, ::-1],
    4: lambda pixels: pixels[::-1],
    5: lambda pixels: pixels.swapaxes(0, 1),
    6: lambda pixels: np.rot90(pixels, -1),
    7: lambda pixels: np.rot90(pixels, 2).swapaxes(0, 1),
    8: lambda pixels: np.rot90(pixels),
}
"""EXIF's orientation to the operation that turns the stored pixels (H, W, ...) upright."""

BAND = 256
"""Rows that are converted at once, so that a picture is in memory once as it was decoded and once as it is returned."""

MAX_PASSES = 200_000_000
"""Limit of a JPEG's scans times its pixels, unless it has a byte for each hundred of them: each scan costs a pass."""

_one_at_a_time = threading.Lock()  # Pillow's limit and warning filters are global; it also bounds a server's memory


def is_picture(content_type: str) -> bool:
    """Return whether a request of this type has a picture, whatever the type's parameters."""
    kind = content_type.partition(";")[0].strip().lower()
    return kind in CONTENT_TYPES or kind.startswith("image/")


def read(file: Path, max_pixels: int) -> Pixels:
    """Return the image in ``file``, see `decode`. Raises ImageError, also if the file is too large or can't be read."""
    try:
        if file.stat().st_size > MAX_BYTES:
            raise ImageError(f"the file has more than {MAX_BYTES >> 20} MiB")
        content = file.read_bytes()
    except OSError as error:
        raise ImageError(f"cannot read the file: {error.strerror}") from None
    return decode(content, max_pixels)


def decode(content: bytes, max_pixels: int) -> Pixels:
    """Return the image in ``content`` as RGB, uint8 (H, W, 3), upright by EXIF, on white where it is transparent.

    Reads JPEG, MPO, PNG, WEBP, GIF, BMP, AVIF and HEIC. If a file has several images, the first is used. 16 bits are scaled
    to 8, unless all values fit into 8. Colour profiles are ignored. An image of more than ``max_pixels`` is refused by its
    header, before its pixels fill memory. Whatever the bytes are, raises no exception but ImageError.
    """
    return _guarded(content, max_pixels, _rgb)


def reduced(content: bytes, max_pixels: int, side: int) -> Pixels:
    """Return the image in ``content`` as RGBA, uint8 (H, W, 4), its longer side at most ``side`` pixels, otherwise as `decode`.

    Takes less time and memory than `decode`: a large JPEG is not decoded at its full size.
    """

    def shrunk(image: Image.Image) -> Pixels:
        picture = image if image.mode in ("RGB", "L") else _eight_bits(image).convert("RGBA")
        picture.thumbnail((side, side), Image.Resampling.BILINEAR)
        return np.array(picture.convert("RGBA"))

    return _guarded(content, max_pixels, shrunk)


def _guarded(content: bytes, max_pixels: int, convert: Callable[[Image.Image], Pixels]) -> Pixels:
    picture_format = _format(content)
    with _one_at_a_time, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        usual, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, max_pixels
        try:
            pixels, orientation = _read(content, picture_format, convert)
            return np.ascontiguousarray(UPRIGHT[orientation](pixels)) if orientation in UPRIGHT else pixels
        except ImageError:
            raise
        except (Image.DecompressionBombError, Image.DecompressionBombWarning):
            raise ImageError(f"the picture has more than {max_pixels:,} pixels") from None
        except UnidentifiedImageError:
            raise ImageError(f"the {picture_format} file is damaged: its header can't be read") from None
        except Exception as error:
            # Broad on purpose: for damaged files Pillow's decoders raise OSError, SyntaxError, ValueError, EOFError,
            # IndexError, KeyError, TypeError, struct.error, zlib.error, MemoryError, and others with each release.
            raise ImageError(f"the {picture_format} file is damaged: {_cause(error)}") from None
        finally:
            Image.MAX_IMAGE_PIXELS = usual


CAUSES = {
    "truncated": "it is cut off, send the whole file",
    "checksum": "a checksum is wrong, copy it again",
    "too large": "a text in it unpacks to too many bytes, save it without texts",
}
"""What is wrong and what to do, by a word of Pillow's message."""


def _cause(error: Exception) -> str:
    found = str(error).lower()
    causes = [words for word, words in CAUSES.items() if word in found]
    return causes[0] if causes else "its pixels can't be read, save it again as PNG or JPEG"


def from_npy(body: bytes) -> Pixels:
    """Return the uint8 array, of any shape, that numpy.save wrote. Raise ValueError for anything else."""
    try:
        pixels = np.load(io.BytesIO(body), allow_pickle=False)
    except Exception:
        # For forged headers numpy raises ValueError, EOFError, OSError, IndexError, SyntaxError, TokenError, OverflowError,
        # MemoryError or BadZipFile.
        raise ValueError("the body is not a .npy file of numbers, as numpy.save writes it") from None
    if not isinstance(pixels, np.ndarray) or pixels.dtype != np.uint8:
        raise ValueError(f"values of type {getattr(pixels, 'dtype', 'npz')}: expected one array of uint8")
    return pixels


def is_plain(pixels: Pixels) -> bool:
    """Return whether a picture, uint8 (H, W, ...), shows nothing: it has a single colour, or no value above 1."""
    first = pixels[:1, :1]
    single = bool((pixels[:1] == first).all() and (pixels == first).all())  # the first row tells most from the others
    return single or int(pixels.max()) < 2


def _format(content: bytes) -> str:
    if not content:
        raise ImageError("the file is empty")
    for name, signature in SIGNATURES.items():
        if signature.match(content):
            return name
    if content[:4] in TIFF:
        raise ImageError("it is a TIFF file, which is not read: save it as PNG or JPEG")
    *names, last = SIGNATURES
    raise ImageError(f"it is not a {', '.join(names)} or {last} file: it begins with {content[:16]!r}")


def _read(content: bytes, picture_format: str, convert: Callable[[Image.Image], Pixels]) -> tuple[Pixels, int]:
    """Return the pixels as they are stored, and EXIF's orientation."""
    if picture_format == "HEIF":
        _register_heif()
    content, exif = bare.BARE[picture_format](content) if picture_format in bare.BARE else (content, b"")
    with Image.open(io.BytesIO(content), formats=[picture_format]) as image:
        width, height = image.size
        if max(width, height) > MAX_ASPECT * min(width, height):
            raise ImageError(
                f"the picture has {width} x {height} pixels, one side more than {MAX_ASPECT} times the other"
            )
        least, per_byte = DENSEST.get(picture_format, USUAL)
        if width * height > max(least, per_byte * len(content)):
            raise ImageError(
                f"the picture has {width} x {height} pixels in {len(content):,} bytes: expected at most {least:,}, or "
                f"{per_byte} for each byte"
            )
        if picture_format == "JPEG":
            scans = sum(1 for _ in SCAN.finditer(content))
            if scans > MAX_SCANS:
                raise ImageError(f"the JPEG file has more than {MAX_SCANS} scans")
            if scans > 1 and scans * width * height > max(MAX_PASSES, 100 * len(content)):
                raise ImageError(f"the JPEG file has {scans} scans of {width} x {height} pixels: save it with fewer")
        image.verify()  # checks PNG's checksums, which reading pixels skips; the image can't be used afterwards
    with Image.open(io.BytesIO(content), formats=[picture_format]) as image:
        pixels = convert(image)
        if picture_format == "HEIF":  # pillow-heif sets the orientation in `exif` to 1
            return pixels, 1 if TURNED.search(content) else image.info["original_orientation"] or 1
        return pixels, _orientation(exif or image.info.get("exif") or b"")


def _orientation(exif: bytes) -> int:
    """Return EXIF's orientation, 1 to 8. It is 1 if it is missing or unreadable: the pixels are still valid."""
    data = exif.removeprefix(b"Exif\0\0")
    order = {b"II": "<", b"MM": ">"}.get(data[:2])
    if order is None:
        return 1
    try:
        (start,) = struct.unpack_from(f"{order}L", data, 4)
        (count,) = struct.unpack_from(f"{order}H", data, start)
        entries = (struct.unpack_from(f"{order}HHLH", data, start + 2 + 12 * number) for number in range(count))
        return next((value for tag, _, _, value in entries if tag == 0x0112), 1)
    except struct.error:
        return 1


def _register_heif() -> None:
    try:
        heif = importlib.import_module("pillow_heif")
    except ImportError:
        raise ImageError("it is a HEIC file, which this server can't read: send JPEG or PNG") from None
    heif.options.DECODE_THREADS = 1
    heif.register_heif_opener(thumbnails=False)


def _eight_bits(image: Image.Image) -> Image.Image:
    """Return ``image``, with 8 bits where it has 16-bit grey, which Pillow would clip. Transparent grey becomes white."""
    if image.mode != "I;16":
        return image
    grey = np.asarray(image)
    if grey.max() > 255:  # else the file has values of 8 bits
        bright = ((grey.astype(np.uint32) * 255 + 32767) // 65535).astype(np.uint8)
    else:
        bright = grey.astype(np.uint8)
    bright[grey == image.info.get("transparency", -1)] = 255
    return Image.fromarray(bright)


def _rgb(image: Image.Image) -> Pixels:
    """Return ``image`` as uint8 (H, W, 3), with white behind its transparent parts."""
    image = _eight_bits(image)
    width, height = image.size
    pixels = np.empty((height, width, 3), np.uint8)
    for top in range(0, height, BAND):
        rows = image.crop((0, top, width, min(top + BAND, height)))
        pixels[top : top + BAND] = np.asarray(_on_white(rows))
    return pixels


def _on_white(image: Image.Image) -> Image.Image:
    if image.has_transparency_data:
        picture = image.convert("RGBA")
        white = Image.new("RGB", image.size, "white")
        white.paste(picture, mask=picture)
        return white
    return image if image.mode == "RGB" else image.convert("RGB")
