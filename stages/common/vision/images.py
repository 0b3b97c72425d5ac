"""Decode the bytes of an image to pixels, or raise an error that explains in one sentence why not.

Exported models include this file, so it needs only numpy and Pillow. For HEIC it also needs pillow-heif: where that is
missing, as in SageMaker's image, HEIC files are refused.
"""

import importlib
import io
import re
import threading
import warnings
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

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

MAX_ASPECT = 20
"""Limit of longer / shorter side: enlarging a strip's short side makes it huge. The widest panoramas have about 10."""

DENSEST = {"JPEG": (25_000_000, 10)}
USUAL = 12_500_000, 3
"""Limits of a small file's pixels, and of pixels a byte: a few kilobytes can unpack to gigabytes. JPEG needs less memory."""

SCAN = re.compile(rb"\xff\xda\x00[\x08\x0a\x0c\x0e][\x01-\x04]")
MAX_SCANS = 100
"""Limit for a JPEG. Progressive ones have about 10. A scan can have few bytes but costs a pass over all pixels."""

UPRIGHT = {  # EXIF's orientation to the operation that turns the stored image upright
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}

MAX_PASSES = 200_000_000
"""Limit of a JPEG's scans times its pixels, unless it has a byte for each hundred of them: each scan costs a pass."""

_one_at_a_time = threading.Lock()
"""Pillow's limit and Python's warning filters are global to the process. The lock also bounds a server's memory."""


class ImageError(ValueError):
    """The bytes are not an image, are damaged, or are refused. The message gives the cause in one sentence."""


def is_picture(content_type: str) -> bool:
    """Return whether a request of this type has a picture, whatever the type's parameters."""
    kind = content_type.partition(";")[0].strip().lower()
    return kind in CONTENT_TYPES or kind.startswith("image/")


def decode(content: bytes, max_pixels: int) -> Pixels:
    """Return the image in ``content`` as RGB, uint8 (H, W, 3), upright, on white where it is transparent.

    Reads JPEG, MPO, PNG, WEBP, GIF, BMP, AVIF and HEIC. If a file has several images, the first is used. 16 bits are scaled
    to 8, unless all values fit into 8. Colour profiles are ignored. An image of more than ``max_pixels`` is refused by its
    header, before its pixels fill memory. Whatever the bytes are, raises no exception but ImageError.
    """
    return _guarded(content, max_pixels, _on_white)


def reduced(content: bytes, max_pixels: int, side: int) -> Pixels:
    """Return the image in ``content`` as RGBA, uint8 (H, W, 4), its longer side at most ``side`` pixels, otherwise as `decode`.

    Takes less time and memory than `decode`: a large JPEG is not decoded at its full size.
    """

    def shrunk(image: Image.Image) -> Image.Image:
        picture = image if image.mode in ("RGB", "L") else _eight_bits(image).convert("RGBA")
        picture.thumbnail((side, side), Image.Resampling.BILINEAR)
        return picture.convert("RGBA")

    return _guarded(content, max_pixels, shrunk)


def _guarded(content: bytes, max_pixels: int, convert: Callable[[Image.Image], Image.Image]) -> Pixels:
    picture_format = _format(content)
    with _one_at_a_time, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        usual, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, max_pixels
        try:
            return _read(content, picture_format, convert)
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


def _read(content: bytes, picture_format: str, convert: Callable[[Image.Image], Image.Image]) -> Pixels:
    if picture_format == "HEIF":
        _register_heif()
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
        turn = _turn(image)
        picture = convert(image)
        return np.array(picture if turn is None else picture.transpose(turn))


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


def _on_white(image: Image.Image) -> Image.Image:
    """Return ``image`` in RGB, with white behind its transparent parts."""
    image = _eight_bits(image)
    if image.has_transparency_data:
        picture = image.convert("RGBA")
        white = Image.new("RGB", image.size, "white")
        white.paste(picture, mask=picture)
        return white
    return image if image.mode == "RGB" else image.convert("RGB")


def _turn(image: Image.Image) -> Image.Transpose | None:
    """Return the operation for EXIF's orientation. None if it is missing or unreadable: the pixels are still valid."""
    try:
        return UPRIGHT.get(image.getexif().get(0x0112, 1))
    except Exception:  # broad for the same reason as in `decode`
        return None
