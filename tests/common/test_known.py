"""What tells pictures of the classes from others: scores, the choice among them, the threshold, and the made pictures."""

import hashlib
from pathlib import Path

import numpy as np
import pytest

from stages.common import files
from stages.common.vision import known, outliers, recognition

RANDOM = np.random.default_rng(0)


def around(count: int, spread: float = 0.1) -> known.Floats:
    """Unit features (count, 40) around two directions."""
    centres = np.eye(40)[RANDOM.integers(0, 2, count)]
    values = centres + RANDOM.normal(0, spread, (count, 40))
    features: known.Floats = (values / np.linalg.norm(values, axis=1, keepdims=True)).astype(np.float32)
    return features


def far(count: int) -> known.Floats:
    return np.roll(around(count), 20, axis=1)


CALM, SURE = np.zeros((50, 3), np.float32), np.full((50, 3), [9, 0, 0], np.float32)


@pytest.mark.parametrize("method", known.METHODS)
def test_pictures_that_resemble_the_training_pictures_score_higher(method: str) -> None:
    arrays = known.fit(around(200))
    familiar, strange = known.score(method, arrays, around(50), SURE), known.score(method, arrays, far(50), CALM)
    assert known.auroc(familiar, strange) == 1.0
    assert known.auroc(strange, familiar) == 0.0
    assert known.auroc(np.array([1.0, 2.0]), np.array([1.0, 0.0])) == 0.875  # ties count as half


def test_the_best_method_is_the_one_that_finds_the_made_pictures() -> None:
    arrays = known.fit(around(200))
    valid, strange = known.scores(arrays, around(50), CALM), known.scores(arrays, far(50), SURE)  # energy is misled
    found = known.choose(arrays, valid, strange, "best", 0.99)
    assert known.method(found) != "energy"
    assert known.method(known.choose(arrays, valid, strange, "energy", 0.99)) == "energy"
    flat = known.scores(arrays, around(50), CALM)
    assert known.method(known.choose(arrays, np.c_[flat[:, :2] * 0, SURE[:, 0]], flat * 0, "best", 0.99)) == "energy"


@pytest.mark.parametrize(("count", "accepted"), [(30, 0.99), (2000, 0.99), (1, 0.9)])
def test_the_threshold_accepts_nearly_all_pictures_of_the_same_kind(count: int, accepted: float) -> None:
    scores = RANDOM.normal(5, 2, count)
    limit = known.threshold(scores, accepted)
    assert (scores >= limit).mean() >= accepted
    if count > 1:
        assert 1 - (RANDOM.normal(5, 2, 10_000) >= limit).mean() < 0.03


@pytest.mark.parametrize("method", known.METHODS)
def test_an_export_has_what_its_method_needs_and_gives_the_same_scores(tmp_path: Path, method: str) -> None:
    arrays, features = known.fit(around(200)), np.concatenate([around(20), far(20)])
    logits = RANDOM.normal(0, 3, (40, 3)).astype(np.float32)
    scores = known.scores(arrays, features, logits)
    found = known.choose(arrays, scores[:20], scores[20:], method, 0.9)
    files.write_arrays(tmp_path / "known.npz", **known.chosen(found))
    read = known.read(tmp_path / "known.npz")
    assert read.keys() == {"method", "threshold", *known.NEEDS[method]}
    expected = scores[:, known.METHODS.index(method)] - found["threshold"]
    assert np.array_equal(known.familiarity(read, features, logits), expected)


def test_few_training_pictures_are_enough() -> None:
    for count in (1, 2, 3):
        arrays = known.fit(around(count))
        assert np.isfinite(known.scores(arrays, around(4), CALM[:4])).all()


def test_the_kept_training_pictures_are_the_same_each_time_and_limited() -> None:
    chosen = known.sampled(5000).tolist()
    assert len(chosen) == len(set(chosen)) == known.BANK
    assert chosen == known.sampled(5000).tolist()
    assert known.sampled(4).tolist() == [0, 1, 2, 3]


def test_generated_outliers_are_reproducible_and_choosing_and_measuring_use_different_kinds() -> None:
    assert not outliers.CHOOSING.keys() & outliers.MEASURING.keys()
    for kinds, digest in (
        (outliers.CHOOSING, "5b89ab5ef27745f5db7f5dd0220991e7"),
        (outliers.MEASURING, "4032e1da4c17523490b9a477c8fddb03"),
    ):
        pictures = outliers.made(kinds, 32, 3)
        assert pictures.shape == (12, 32, 32, 3)
        assert (pictures.std((1, 2, 3)) > 3).all()
        assert hashlib.md5(pictures.tobytes(), usedforsecurity=False).hexdigest() == digest


def test_strangers_are_digits_photographs_and_textures() -> None:
    pictures = recognition.pictures(40)
    assert {kind: len(found) for kind, found in pictures.items()} == {"digits": 60, "photographs": 60, "textures": 80}
    assert {found.shape[1:] for found in pictures.values()} == {(40, 40, 3)}
    corners = pictures["digits"][:, 0, 0, 0]
    assert (corners[:30] > 200).all()  # dark ink on a light ground, and light on dark
    assert (corners[30:] < 50).all()
