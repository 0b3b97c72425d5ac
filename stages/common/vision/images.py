"""The bytes of a photograph to its pixels, and one sentence where that can't be done.

Exported models carry this file with them, so it imports numpy and Pillow and nothing else.
"""

import io
import re
import threading
import warnings

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

Pixels = NDArray[np.uint8]

SIGNATURES = {  # Not TIFF: what its decoders do for hostile files isn't bounded by the number of pixels.
    "JPEG": re.compile(rb"\xff\xd8\xff"),  # MPO, too: several JPEGs one after the other, of which the first is taken
    "PNG": re.compile(rb"\x89PNG\r\n\x1a\n"),
    "WEBP": re.compile(rb"RIFF.{4}WEBP", re.DOTALL),
    "GIF": re.compile(rb"GIF8[79]a"),
    "BMP": re.compile(rb"BM"),
}
"""How a file of each format begins. Its name says nothing."""

MAX_ASPECT = 20
"""Longer side to shorter. The widest panoramas have about 10; a strip would be huge once its shorter side is enlarged."""

SCAN = re.compile(rb"\xff\xda\x00[\x08\x0a\x0c\x0e][\x01-\x04]")
MAX_SCANS = 100
"""Of a JPEG. Progressive ones have about 10; each costs a pass over all pixels, and a few bytes are enough for one."""

UPRIGHT = {  # by EXIF's orientation: what turns the stored picture into the one that was seen
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}

_one_at_a_time = threading.Lock()
"""Pillow's limit and Python's warning filters belong to the whole process. It also bounds a server's memory."""


class ImageError(ValueError):
    """Bytes that are no picture, a damaged one, or one that is refused: the message names the cause in one sentence."""


def decode(content: bytes, max_pixels: int) -> Pixels:
    """The picture in ``content`` as RGB, uint8 (H, W, 3), the right way up, on white where it is transparent.

    JPEG, MPO, PNG, WEBP, GIF and BMP are read, of several pictures the first. 16 bits are scaled to 8; colour profiles
    are ignored. A picture of more than ``max_pixels`` is refused by its header, before memory for its pixels is filled.
    Raises ImageError, and no other exception, for whatever the bytes are.
    """
    picture_format = _format(content)
    with _one_at_a_time, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        usual, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, max_pixels
        try:
            return _read(content, picture_format)
        except ImageError:
            raise
        except (Image.DecompressionBombError, Image.DecompressionBombWarning):
            raise ImageError(f"the picture has more than {max_pixels:,} pixels") from None
        except UnidentifiedImageError:
            raise ImageError(f"the {picture_format} file is damaged: its header can't be read") from None
        except Exception as error:
            # Broad on purpose: damaged files make Pillow's decoders raise OSError, SyntaxError, ValueError, EOFError,
            # IndexError, KeyError, TypeError, struct.error, zlib.error, MemoryError, and with each release others.
            cause = " ".join(str(error).split()) or type(error).__name__
            raise ImageError(f"the {picture_format} file is damaged: {cause}") from None
        finally:
            Image.MAX_IMAGE_PIXELS = usual


def _format(content: bytes) -> str:
    if not content:
        raise ImageError("the file is empty")
    for name, signature in SIGNATURES.items():
        if signature.match(content):
            return name
    *names, last = SIGNATURES
    raise ImageError(f"it is not a {', '.join(names)} or {last} file: it begins with {content[:16]!r}")


def _read(content: bytes, picture_format: str) -> Pixels:
    with Image.open(io.BytesIO(content), formats=[picture_format]) as image:
        width, height = image.size
        if max(width, height) > MAX_ASPECT * min(width, height):
            raise ImageError(
                f"the picture has {width} x {height} pixels, one side more than {MAX_ASPECT} times the other"
            )
        if picture_format == "JPEG" and sum(1 for _ in SCAN.finditer(content)) > MAX_SCANS:
            raise ImageError(f"the JPEG file has more than {MAX_SCANS} scans")
        image.verify()  # PNG's checksums, which reading pixels skips; the image is of no use after it
    with Image.open(io.BytesIO(content), formats=[picture_format]) as image:
        image.load()
        picture, turn = _on_white(image), _turn(image)
        return np.array(picture if turn is None else picture.transpose(turn))


def _on_white(image: Image.Image) -> Image.Image:
    """``image`` in RGB; what shows through its transparent parts is white."""
    if image.mode == "I;16":  # grey of 16 bits, which Pillow would clip instead of scaling it
        grey = np.asarray(image)
        bright = ((grey.astype(np.uint32) * 255 + 32767) // 65535).astype(np.uint8)
        bright[grey == image.info.get("transparency", -1)] = 255
        return Image.fromarray(bright).convert("RGB")
    if image.has_transparency_data:
        picture = image.convert("RGBA")
        white = Image.new("RGB", image.size, "white")
        white.paste(picture, mask=picture)
        return white
    return image if image.mode == "RGB" else image.convert("RGB")


def _turn(image: Image.Image) -> Image.Transpose | None:
    """What EXIF's orientation asks for; nothing where there is none, or the EXIF part can't be read: the pixels still can."""
    try:
        return UPRIGHT.get(image.getexif().get(0x0112, 1))
    except Exception:  # as broad as above, and for the same reason
        return None
