"""Copies and near copies of pictures: which of them stay, and what counts as one."""

import io
from collections.abc import Callable

import numpy as np
import pictures
import pytest
from PIL import Image, ImageEnhance, ImageOps

from stages.common.errors import InputError
from stages.common.sources import copies
from stages.landmarks.sources import sample

NAMES = sorted(sample.LANDMARKS)
TURNS = (Image.Transpose.ROTATE_90, Image.Transpose.ROTATE_180, Image.Transpose.TRANSVERSE)


def drawn(number: int) -> Image.Image:
    return sample.picture(NAMES[number % len(NAMES)], np.random.default_rng([99, number]))


def look(picture: Image.Image) -> bytes:
    return copies.look(np.asarray(picture.convert("RGB")))


def resaved(picture: Image.Image) -> Image.Image:
    return Image.open(io.BytesIO(pictures.saved(picture, "JPEG", quality=50)))


CHANGES: dict[str, Callable[[Image.Image], Image.Image]] = {
    "quality": resaved,
    "smaller": lambda picture: ImageOps.scale(picture, 0.5),
    "larger": lambda picture: ImageOps.scale(picture, 1.7),
    "grey": lambda picture: picture.convert("L"),
    "darker": lambda picture: ImageEnhance.Brightness(picture).enhance(0.5),
}


@pytest.mark.parametrize(
    ("listed", "left_out"),
    [
        ("train a 0 1, train b 0 2", {}),
        ("train a 0 1, train b 0 1, train c 0 1", {"b": "same picture as a", "c": "same picture as a"}),
        ("train a 0 1, test b 0 1", {"a": "same picture as b"}),
        ("train a 0 1, valid b 0 1, test c 0 1", {"a": "same picture as c", "b": "same picture as c"}),
        ("train a 0 1, valid b 0 1, valid c 0 1", {"a": "same picture as b", "c": "same picture as b"}),
        ("train a 0 1, train b 1 1", {"a": "same picture as b, which has another class", "b": "same picture as a, which has another class"}),
        ("train a 0 1, valid b 1 1", {"a": "same picture as b, which has another class", "b": "same picture as a, which has another class"}),
        ("train a 1 1, test b 0 1", {"a": "same picture as b"}),
        ("test a 0 1, test b 1 1", {}),
    ],
)  # fmt: skip
def test_a_picture_is_used_once_and_the_test_set_is_not_changed(listed: str, left_out: dict[str, str]) -> None:
    rows = map(str.split, listed.split(", "))
    known = [copies.LabelledPicture(file, part, int(label), key) for part, file, label, key in rows]
    assert {known[index].file: reason for index, reason in copies.excess(known).items()} == left_out
    assert copies.repeated(known) == (listed.count("test") == 2)


def test_resaved_resized_darker_and_grey_pictures_are_near_copies_but_other_drawings_are_not() -> None:
    originals = [drawn(number) for number in range(36)]
    looks = [look(one) for one in originals]
    assert copies.nearest(looks[:18], looks[18:]) == {}
    for name, change in CHANGES.items():
        again = copies.nearest([look(change(picture)) for picture in originals], looks)
        assert {mine: other for mine, (other, _) in again.items()} == dict(enumerate(range(36))), name


def test_plain_surfaces_differ_by_their_colour() -> None:
    red, blue, dark = (look(Image.new("RGB", (30, 20), colour)) for colour in ("#c81414", "#1414c8", "#b41414"))
    assert copies.nearest([red], [blue]) == {}
    assert copies.nearest([red], [blue, dark]) == {0: (1, 0)}


def test_near_copies_of_earlier_parts_are_counted_and_limited(capsys: pytest.CaptureFixture[str]) -> None:
    a, b, c = (look(drawn(number)) for number in range(3))
    looks = {
        "train": {"train/a": a, "train/a2": a},
        "valid": {"val/a": a, "val/b": b},
        "test": {
            "test/b": b,
            "test/c": c,
            "test/mirrored": look(ImageOps.mirror(drawn(0))),
            **{f"test/{how.name}": look(drawn(0).transpose(how)) for how in TURNS},
        },
    }
    found = copies.near_copies(looks)
    expected = {"val/a": "train/a", "test/b": "val/b", "test/mirrored": "train/a"}
    expected |= {f"test/{how.name}": "train/a" for how in TURNS}
    assert {one.file: one.near for one in found} == expected
    assert max(one.difference for one in found) < 0.001
    note = copies.check_near(found, looks, "here", "data.x", 0.75)
    assert note is not None
    assert note.startswith("6 of 8 pictures for test and validation (75.0%) are near copies")
    with pytest.raises(InputError, match="here: found near copies in different parts: 6 of 8 .*data.x = 0.4"):
        copies.check_near(found, looks, "here", "data.x", 0.4)
    assert "test/b is like val/b (difference 0.0)" in capsys.readouterr().err
    assert copies.check_near([], looks, "here", "data.x", 0) is None
