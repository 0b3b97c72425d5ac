"""The embedded sample of landmarks and the table of places."""

import hashlib
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from conftest import Run
from PIL import Image, ImageOps
from small_photographs import rows

from stages.landmarks.sources import sample
from stages.landmarks.sources.intake import coordinates
from stages.landmarks.sources.sample import LANDMARKS, TEST, TRAIN


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sample")
    sample.write(folder)
    return folder


def pictures(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def digests(folder: Path) -> dict[str, str]:
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in pictures(folder)}


def test_every_class_has_its_pictures_in_train_and_test_and_none_is_there_twice(drawn: Path) -> None:
    found = digests(drawn)
    expected = {(part, name): count for part, count in (("train", TRAIN), ("test", TEST)) for name in LANDMARKS}
    assert Counter(Path(path).parts[:2] for path in found) == expected
    assert len(LANDMARKS) == 12
    assert len(set(found.values())) == len(found)


def test_another_process_draws_the_same_bytes(drawn: Path, workspace: Path, python: Run) -> None:
    program = """if True:
        from pathlib import Path
        from stages.landmarks.sources import sample
        sample.TRAIN, sample.TEST = 20, 0
        sample.write(Path("again"))
    """
    (workspace / "again").mkdir()
    assert python("-c", program).returncode == 0
    again = digests(workspace / "again")
    assert len(again) == 12 * 20
    assert again.items() <= digests(drawn).items()


def test_the_forms_and_sizes_that_collected_photographs_come_in_are_among_them(drawn: Path) -> None:
    forms: Counter[str] = Counter()
    sizes = set()
    for path in pictures(drawn):
        with Image.open(path) as image:
            turned = " turned" if image.getexif().get(0x0112, 1) != 1 else ""
            forms[f"{path.suffix} {image.format} {image.mode}{turned}"] += 1
            sizes.add(ImageOps.exif_transpose(image).size)
            assert np.asarray(image.convert("L"), float).std() > 3, "it shows something"
    assert sizes == set(sample.SIZES)
    unusual = {3: ".png PNG RGB", 7: ".webp WEBP RGB", 11: ".jpg JPEG L", 13: ".jpg JPEG RGB turned", 17: ".png PNG P"}
    expected = Counter(unusual.get(index % 20, ".jpg JPEG RGB") for index in range(TRAIN + TEST))
    assert forms == {form: 12 * count for form, count in expected.items()}


def test_turned_pictures_are_upright_once_their_exif_is_heeded(drawn: Path) -> None:
    for label, name in enumerate(LANDMARKS):
        upright = sample.picture(name, np.random.default_rng([sample.SEED, label, 13]))
        with Image.open(drawn / "train" / name / "13.jpg") as image:
            stored = ImageOps.exif_transpose(image)
        assert stored.size == upright.size != image.size or upright.width == upright.height
        assert np.abs(np.asarray(stored, float) - np.asarray(upright, float)).mean() < 10


def test_classes_are_not_told_apart_by_colour(drawn: Path) -> None:
    """The nearest class by mean colour is right hardly more often than chance (1 in 12): it takes the shape."""

    def colours(part: str) -> tuple[np.ndarray, np.ndarray]:
        found = []
        for label, name in enumerate(LANDMARKS):
            for path in pictures(drawn / part / name):
                with Image.open(path) as image:
                    found.append((label, *np.asarray(image.convert("RGB"), float).mean((0, 1))))
        table = np.array(found)
        return table[:, 0], table[:, 1:]

    train_labels, train = colours("train")
    labels, test = colours("test")
    means = np.array([train[train_labels == label].mean(0) for label in range(len(LANDMARKS))])
    nearest = ((test[:, None] - means) ** 2).sum(2).argmin(1)
    assert (nearest == labels).mean() < 0.25


def test_places_are_on_earth_each_once_with_its_source() -> None:
    known = rows(coordinates.KNOWN)
    names = [row["class"] for row in known]
    assert len(names) == len({name.casefold() for name in names}) == 59  # 50 and 10 classes, one of them in both
    for row in known:
        assert -90 <= float(row["latitude"]) <= 90
        assert -180 <= float(row["longitude"]) <= 180
        assert [len(row[axis].partition(".")[2]) for axis in ("latitude", "longitude")] == [4, 4]
        assert row["source"] == "general knowledge"


# South, north, west and east of a box around each country, and the places in it.
COUNTRIES = {
    (24, 50, -125, -66): ["Grand_Canyon", "Golden_Gate_Bridge", "Brooklyn_Bridge", "Delicate_Arch", "Terminal_Tower"],
    (18, 23, -161, -154): ["Haleakala_National_Park"],
    (42, 84, -141, -52): ["Banff_National_Park", "Niagara_Falls"],
    (-44, -10, 112, 154): ["Sydney_Opera_House", "Sydney_Harbour_Bridge", "Great_Barrier_Reef"],
    (18, 54, 73, 135): ["Great_Wall_of_China", "Temple_of_Heaven", "Hanging_Temple"],
    (41, 52, -6, 10): ["Eiffel_Tower", "Pont_du_Gard"],
    (49, 61, -9, 2): ["Stonehenge", "Whitby_Abbey", "Forth_Bridge", "London_Olympic_Stadium"],
    (46, 49, 9, 18): ["Vienna_City_Hall", "hofburg_imperial_palace", "st_stephen_cathedral_vienna"],
    (36, 48, 6, 19): ["Trevi_Fountain", "colosseum", "pantheon", "rialto_bridge", "Matterhorn"],
    (36, 44, -10, 5): ["gaudi_casa_batllo_barcelona", "museu_nacional_dart_de_catalunya"],
    (-19, 0, -82, -68): ["Machu_Picchu"],
    (8, 36, 68, 98): ["Taj_Mahal", "Gateway_of_India"],
    (63, 67, -25, -13): ["Gullfoss_Falls"],
    (0, 8, 99, 120): ["Petronas_Towers"],
}


@pytest.mark.parametrize(("box", "names"), COUNTRIES.items())
def test_places_are_in_their_countries(box: tuple[float, float, float, float], names: list[str]) -> None:
    south, north, west, east = box
    for name in names:
        place = coordinates.lookup(name)
        assert place is not None, name
        assert south < place[0] < north, name
        assert west < place[1] < east, name


GATE = (37.8199, -122.4783, "general knowledge")


@pytest.mark.parametrize(
    ("names", "place"),
    [
        ("Golden_Gate_Bridge|09.Golden_Gate_Bridge|golden gate bridge|09_golden-gate-bridge|GoldenGateBridge", GATE),
        ("lattice_tower|09||Golden", None),
    ],
)
def test_a_place_is_found_whatever_the_folder_makes_of_its_name(
    names: str, place: coordinates.Coordinates | None
) -> None:
    assert {coordinates.lookup(name) for name in names.split("|")} == {place}


def test_every_class_of_the_photographs_at_hand_has_a_place(real_data: Path) -> None:
    names = sorted(path.name for path in (real_data / "landmarks" / "train").iterdir())
    assert [name for name in names if coordinates.lookup(name) is None] == []
