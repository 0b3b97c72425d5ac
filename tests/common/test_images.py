"""Photographs as people have them are read as they were meant; for all else there is one sentence, and nothing breaks."""

import re
import sys
import warnings
import zlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pictures
import pytest
from conftest import ROOT, Run
from pictures import LIMIT
from PIL import Image, ImageFile

from stages.common.vision import bare
from stages.common.vision.images import ImageError, decode, reduced

READABLE = pictures.readable()
REFUSED = pictures.refused()


@pytest.fixture(autouse=True)
def no_traces(recwarn: pytest.WarningsRecorder) -> Iterator[None]:
    """No warning comes out of a decoding, and what belongs to the whole process is as it was."""
    before = (Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES, list(warnings.filters))
    yield
    assert (Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES, list(warnings.filters)) == before
    messages = [str(warning.message) for warning in recwarn]
    # The garbage collector may find a socket of an earlier test here.
    assert [message for message in messages if not message.startswith("unclosed <socket")] == []


@pytest.mark.parametrize("name", READABLE)
def test_pictures_of_all_formats_are_decoded_correctly(name: str) -> None:
    case = READABLE[name]
    pixels = decode(case.content, LIMIT)
    assert pixels.dtype == np.uint8
    assert pixels.flags.writeable
    assert pixels.flags.c_contiguous
    assert pixels.shape == case.pixels.shape
    assert np.abs(pixels.astype(int) - case.pixels).max() <= case.tolerance


@pytest.mark.parametrize("name", REFUSED)
def test_invalid_pictures_are_refused_with_the_cause(name: str) -> None:
    content, words = REFUSED[name]
    with pytest.raises(ImageError) as refused:
        decode(content, LIMIT)
    assert words in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("name", pictures.samples())
def test_random_damage_gives_a_picture_or_an_image_error(name: str) -> None:
    reasons = []
    for seed in range(40):
        try:
            assert decode(pictures.damaged(READABLE[name].content, seed), LIMIT).shape[2:] == (3,)
        except ImageError as error:
            reasons.append(str(error))
    assert reasons
    assert not any(re.search("0x[0-9a-f]{6}", reason) for reason in reasons), "addresses differ in each process"


def test_decompression_bombs_are_refused_before_memory_is_filled(python: Run) -> None:
    code = """if True:
        import contextlib, resource
        import pictures
        from stages.common.vision.images import ImageError, decode
        decode(pictures.readable()["webp"].content, pictures.LIMIT)
        bombs = pictures.bombs()
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        for content in bombs.values():
            with contextlib.suppress(ImageError):
                decode(content, pictures.LIMIT)
        print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
    """
    done = python("-c", f"import sys; sys.path.insert(0, {str(ROOT / 'tests')!r}); exec({code!r})")
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) < 20_000  # KiB; the smallest bomb of those that are no real pictures has 144 million pixels


def test_the_number_of_pixels_is_limited_by_the_file_size() -> None:
    """4 MB of any format cost at most 300 MB and 2 s: the pixels, and the passes over a JPEG's pixels, are limited."""
    flat = Image.new("L", (4000, 4000))
    with pytest.raises(ImageError, match="4000 x 4000 pixels in [0-9,]* bytes: expected at most 12,500,000"):
        decode(pictures.saved(flat, "PNG"), 100_000_000)
    many_scans = pictures.scanned(pictures.saved(Image.new("RGB", (2500, 2500)), "JPEG", progressive=True), 90)
    with pytest.raises(ImageError, match="scans of 2500 x 2500 pixels"):
        decode(many_scans, 100_000_000)


@pytest.mark.parametrize("name", ["jpeg", "heic, exif turned", "png, transparent", "png, 16 bits that hold 8"])
def test_a_reduced_picture_has_the_same_content(name: str) -> None:
    case = READABLE[name]
    pixels = reduced(case.content, LIMIT, 16)
    assert pixels.dtype == np.uint8
    assert max(pixels.shape[:2]) == 16
    assert pixels.shape[2] == 4
    seen = pixels[..., :3] * (pixels[..., 3:] / 255) + 255.0 - pixels[..., 3:]
    assert np.abs(seen.mean((0, 1)) - case.pixels.mean((0, 1))).max() < 12


def test_without_pillow_heif_a_heic_file_is_refused_with_a_message(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    with pytest.raises(ImageError, match="it is a HEIC file, which this server can't read: send JPEG or PNG"):
        decode(READABLE["heic"].content, LIMIT)


def test_threads_with_greater_and_smaller_limits_than_pillow_s_don_t_disturb_each_other(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)

    def shape_or_reason(limit: int) -> tuple[int, ...] | str:
        try:
            return decode(READABLE["mpo, index damaged"].content, limit).shape
        except ImageError as error:
            return str(error)

    with ThreadPoolExecutor(8) as threads:
        found = list(threads.map(shape_or_reason, [50, LIMIT] * 50))
    assert found == ["the picture has more than 50 pixels", (24, 32, 3)] * 50


def test_a_png_with_a_thousand_colour_profiles_costs_no_more_than_one_with_one() -> None:
    """Pillow would unpack a megabyte for each, twice."""
    profile = pictures.chunk(b"iCCP", b"name\0\0" + zlib.compress(bytes(100_000)))
    usual = pictures.png((4, 4), 8, 0, bytes(20), before=[profile])
    many = pictures.png((4, 4), 8, 0, bytes(20), before=1000 * [profile])
    assert bare.BARE["PNG"](usual) == bare.BARE["PNG"](many) == (usual, b"")
    behind = usual[:-12] + 1000 * profile + usual[-12:]
    assert bare.BARE["PNG"](behind) == (usual, b"")
