"""Small bodies cost little: the metadata of pictures, which `make torture` measures in full with all other bodies."""

import tracemalloc

import bodies
import pytest
from bodies import Body

from stages.common.vision import images


@pytest.fixture(scope="module")
def pictures() -> list[Body]:
    images._register_heif()
    return list(bodies.metadata())


@pytest.mark.long
def test_no_metadata_of_a_small_picture_takes_much_memory(pictures: list[Body]) -> None:
    for body in pictures:
        tracemalloc.start()
        try:
            pixels = images.decode(body.content, 1_000_000)
        except images.ImageError:
            pass
        else:
            assert pixels.shape == (32, 32, 3), body.name
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert peak < 100_000_000, body.name
