"""The pictures of landmarks: what they show, and where the evidence for a class is found."""

from itertools import combinations, pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torchvision
from conftest import Run
from matplotlib import pyplot as plt
from matplotlib.figure import Figure, SubFigure
from matplotlib.patches import Rectangle
from numpy.typing import NDArray
from PIL import Image
from torch import nn

from stages.common import config, files
from stages.common.errors import InputError
from stages.common.results import classification, figures, reporting
from stages.common.training import saving
from stages.common.vision import classifiers
from stages.common.vision.networks import AttentionPool
from stages.landmarks import evaluate, model, plot, store, train
from stages.landmarks.config import Train
from stages.landmarks.learning.views import Views
from stages.landmarks.pictures import sheets
from stages.landmarks.pictures.saliency import saliency
from stages.landmarks.store import Store

FEATURES, TRAINED = Path("data/landmarks/features"), Path("models/landmarks/trained")
NAMES = ["a_tower", "two$signs$in_one", "the_palace_with_the_longest_name_that_anyone_has_ever_heard_of"]
SIZE = 32
UNCHANGED = {"least": 1.0, "flip": False, "brightness": 0.0, "contrast": 0.0, "saturation": 0.0, "erase": 0.0}
CHANGED = {"least": 0.5, "flip": True, "brightness": 0.2, "contrast": 0.2, "saturation": 0.2, "erase": 0.3}
TRANSFER = {"backbone": "mobilenet_v2", "layers": [], "fine_tune": "none", "views": 3, "hidden": None}
NETWORKS: dict[str, tuple[str, dict[str, Any]]] = {
    "residual": ("residual", {"width": 4, "depth": 1}),
    "scratch": ("scratch", {"width": 0.02}),
    "transfer": ("transfer", TRANSFER),
    "transfer, more layers": ("transfer", TRANSFER | {"layers": ["features.3", "features.7"]}),
    "transfer, timm's": (
        "transfer",
        TRANSFER | {"backbone": "tf_efficientnet_lite0", "layers": ["blocks.2", "blocks.6"]},
    ),
    "attention": ("attention", TRANSFER | {"layers": ["features.3", "features.7"], "heads": 2}),
    "transfer, trained": ("transfer", TRANSFER | {"backbone": "resnet18", "fine_tune": "all"}),
}
COUNTS = {"parameters": 1000, "parameters_trained": 10}
PICTURES = ["classes", "confusion_matrix", "confusions", "evidence", "history_1", "photographs", "reliability"]


def write_photographs(folder: Path) -> None:
    """Eight of each class in each part, of several sizes, in the colour of the class."""
    random = np.random.default_rng(0)
    labels = list(range(len(NAMES))) * 8
    for part in ("train", "valid", "test"):
        images = []
        for label in labels:
            height, width = random.permutation([SIZE, int(random.integers(SIZE, 2 * SIZE))])
            images.append(random.integers(0, 100, (height, width, 3)).astype(np.uint8))
            images[-1][:, :, label] += 100
        shard = store.write_shard(folder / store.shard_name(part, 0), 0, images, labels)
        store.write_index(folder, part, [shard], labels)


def write_trained(*networks: str) -> None:
    """Networks as train stores them, which have learnt nothing."""
    members = []
    for index, (name, settings) in enumerate(NETWORKS[network] for network in networks):
        torch.manual_seed(index)
        settings = settings | {"image_size": SIZE, "dropout": 0.0}
        network = classifiers.build(name, settings, len(NAMES)).network
        seen = {"mean": [0.4, 0.5, 0.6], "std": [0.2, 0.3, 0.4], "side": SIZE, "image_size": SIZE, "flip": False}
        computing = {"precision": "float32", "threads": 1, "portable": True}
        views = {"crop": 1.0, "limits": CHANGED, "side": SIZE}
        about = {"network": name, "settings": settings, "computing": computing, "input": seen, "views": views}
        members.append(dict[str, Any](about) | COUNTS | {"kept_epoch": 1})
        folder = TRAINED / str(index)
        folder.mkdir(parents=True)
        saving.save_weights(folder / "weights.pt", network.state_dict())
        write_history(folder, 2)
    classes = [{"name": name, "latitude": None, "longitude": None} for name in NAMES]
    whole = {"classes": classes, "size": SIZE, "temperature": 1.0, "valid_accuracy": 0.5, "members": members}
    files.write_json(TRAINED / "network.json", whole)
    predictor = model.load(measured=True)
    with torch.no_grad():
        features = [predictor.inspect(batch)[1] for batch in model.batches(predictor, Store(FEATURES, "train"))]
    recognition, _ = train.recognition(TRAINED, torch.cat(features).numpy(), config.load("landmarks", Train))
    files.write_arrays(TRAINED / model.KNOWN, **recognition)


def write_history(folder: Path, epochs: int) -> None:
    """A step and an epoch of each number."""
    scores = {"train_loss": 2.0, "train_accuracy": 0.5, "valid_accuracy": 0.6, "learning_rate": 0.01}
    numbers = range(1, epochs + 1)
    steps = [{"step": number * 5, "epoch": number, "loss": 2 / number, "learning_rate": 0.01} for number in numbers]
    saving.write_history(folder / "steps.csv", steps)
    rows = [{"epoch": number, "valid_loss": 1 + number / 10, **scores} for number in numbers]
    saving.write_history(folder / "epochs.csv", rows)


@pytest.fixture
def photographs(workspace: Path) -> Path:
    FEATURES.mkdir(parents=True)
    write_photographs(FEATURES)
    files.write_json(FEATURES / "about.json", {"source": "sample"})
    return FEATURES


def panels(figure: Figure | SubFigure) -> list[tuple[str, NDArray[Any]]]:
    """What stands above each photograph of a sheet, and its pixels."""
    axes = [axis for axis in figure.axes if axis.images]
    return [(axis.get_title().replace("\n", " "), np.asarray(axis.images[0].get_array())) for axis in axes]


def pictures() -> dict[str, bytes]:
    return {path.stem: path.read_bytes() for path in sorted(plot.PLOTS.iterdir())}


def answers(*predicted: int, confidence: float = 0.8) -> NDArray[np.float32]:
    """Probabilities of three classes with those answers, each as sure."""
    others = (1 - confidence) / 2
    return np.where(np.eye(3)[list(predicted)] == 1, confidence, others).astype(np.float32)


@pytest.mark.parametrize("network", ["scratch", "transfer, more layers", "transfer, timm's", "transfer, trained"])
def test_every_kind_of_network_has_its_pictures(photographs: Path, network: str) -> None:
    write_trained(network)
    evaluate.main()
    plot.main()
    assert list(pictures()) == PICTURES
    for name in PICTURES:
        image = np.asarray(Image.open(plot.PLOTS / f"{name}.png").convert("L"))
        assert min(image.shape) > 200
        assert image.std() > 5


@pytest.mark.long
def test_the_pictures_are_the_same_bytes_in_another_process(photographs: Path, workspace: Path, python: Run) -> None:
    write_trained("residual")
    evaluate.main()
    plot.main()
    first = pictures()
    done = python("-m", "stages.landmarks.plot", cwd=workspace)
    assert done.returncode == 0, done.stderr
    assert pictures() == first


def test_what_is_not_trained_yet_is_said(workspace: Path) -> None:
    with pytest.raises(InputError, match="dvc repro train@landmarks"):
        plot.main()


def test_nothing_is_cut_off_and_no_title_covers_another(photographs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    margins, covered = {}, []

    def measure(figure: Figure, path: Path) -> None:
        figure.draw_without_rendering()
        box, (width, height) = figure.get_tightbbox(), figure.get_size_inches()
        margins[path.stem] = min(box.x0, box.y0, width - box.x1, height - box.y1)  # inches
        texts = [axis.title for axis in figure.axes]
        texts += [text for part in (figure, *figure.subfigs) for text in part.texts]
        boxes = [(text.get_text(), text.get_window_extent()) for text in texts if text.get_text()]
        covered.extend([(path.stem, one, two) for (one, a), (two, b) in combinations(boxes, 2) if a.overlaps(b)])
        plt.close(figure)

    monkeypatch.setattr(reporting, "save", measure)
    write_trained("residual", "transfer")
    evaluate.main()
    plot.main()
    assert sorted(margins) == sorted([*PICTURES, "history_2"])
    assert min(margins.values()) > -0.01, margins
    assert covered == []


def eyes(limits: dict[str, Any], photographs: Store) -> Views:
    """The views of a network that leaves its inputs as they are."""
    member = classifiers.Member(nn.Identity(), [0.4, 0.5, 0.6], [0.2, 0.3, 0.4], SIZE, SIZE, False)
    return Views(member, SIZE, 1.0, limits, SIZE, photographs, photographs)


def test_photographs_are_shown_as_they_were_before_normalisation(photographs: Path) -> None:
    train = Store(FEATURES, "train")
    middles = train.crops(np.arange(len(train)), SIZE).permute(0, 2, 3, 1).numpy() / 255
    shown = panels(sheets.photographs("residual", eyes(UNCHANGED, train), {"fine_tune": "none", "views": 1}, NAMES))
    assert len(shown) == sheets.PHOTOGRAPHS
    for title, image in shown:
        difference = np.abs(middles - image).max((1, 2, 3))
        assert difference.min() < 1e-5
        assert title == figures.readable(NAMES[train.labels[int(difference.argmin())]])
    # A frozen network saw the middle as its first view, also mirrored as its second, and augmented ones later.
    whole = []
    for views in (1, 2, 100):
        figure = sheets.photographs("transfer", eyes(CHANGED, train), {"fine_tune": "none", "views": views}, NAMES)
        either = [np.stack([image, image[:, ::-1]]) for _, image in panels(figure)]
        nearest = [np.abs(middles[:, None] - pair).max((2, 3, 4)).min() for pair in either]
        whole.append(sum(distance < 1e-5 for distance in nearest))
    assert whole[:2] == [sheets.PHOTOGRAPHS] * 2
    assert whole[2] < 5


def test_the_epoch_whose_weights_were_kept_is_marked(tmp_path: Path) -> None:
    for epochs, counts, words in (
        (2, COUNTS, "1,000 parameters, 10 of them trained"),
        (1, {"parameters": 10, "parameters_trained": 10}, "10 parameters, all of them trained"),
    ):
        write_history(tmp_path, epochs)
        tables = (figures.table(tmp_path / f"{name}.csv") for name in ("steps", "epochs"))
        figure = figures.history("residual", counts | {"kept_epoch": epochs}, *tables)
        marks = [line for axis in figure.axes for line in axis.lines if line.get_label() == "weights kept"]
        at = [np.asarray(line.get_xydata()).tolist() for line in marks]
        assert at == [[[epochs, 1 + epochs / 10]], [[epochs, 60]]]
        assert words in figure.get_suptitle()


def test_the_most_frequent_confusions_come_first_and_in_them_the_surest(photographs: Path) -> None:
    test = Store(FEATURES, "test")
    predicted = test.labels.numpy().copy()
    once, twice = np.flatnonzero(predicted == 0)[:1], np.flatnonzero(predicted == 1)[:2]
    predicted[once], predicted[twice] = 1, 0
    probabilities = answers(*predicted)
    probabilities[twice[1]] = [0.9, 0.04, 0.06]
    figure = sheets.confusions(probabilities, NAMES, test)
    assert "3 of 3 mistakes in 24 test photographs" in figure.get_suptitle()
    tower, signs = figures.readable(NAMES[0]), figures.readable(NAMES[1])
    assert [row.get_suptitle() for row in figure.subfigs] == [
        f"{signs} predicted as {tower}: 2 of 8 photographs",
        f"{tower} predicted as {signs}: 1 of 8 photographs",
    ]
    (first, image), (second, other) = panels(figure.subfigs[0])
    assert (first, second) == ("predicted 90.0% actual 4.0%", "predicted 80.0% actual 10.0%")
    assert np.array_equal(image, test.image(int(twice[1])))
    assert np.array_equal(other, test.image(int(twice[0])))


def test_a_predictor_without_mistakes_has_a_sheet_that_says_so(photographs: Path) -> None:
    write_trained("residual")
    plot.EVALUATION.mkdir(parents=True)
    np.save(plot.EVALUATION / "probabilities.npy", answers(*Store(FEATURES, "test").labels.tolist(), confidence=1.0))
    plot.main()
    figure = sheets.confusions(np.load(plot.EVALUATION / "probabilities.npy"), NAMES, Store(FEATURES, "test"))
    assert [text.get_text() for text in figure.texts][-1] == "There are none: every prediction is correct."
    assert list(pictures()) == PICTURES


def test_a_class_that_nothing_was_taken_for_has_no_precision() -> None:
    counts = classification.confusion_matrix(np.array([0, 1, 2, 2]), np.array([0, 0, 2, 2]), 3)
    figure = plot.classes(counts, ["first", "second", "third"])
    texts = [text.get_text() for text in figure.axes[0].texts]
    assert texts == ["0%", "100%", "100%", "never predicted", "50%", "100%"]
    labels = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert labels == ["second (1)", "first (1)", "third (2)"]


@pytest.mark.parametrize("classes", [2, 10, 50])
def test_the_confusion_matrix_names_all_classes_and_no_name_covers_another(classes: int) -> None:
    counts = np.full((classes, classes), 7) + 100 * np.eye(classes, dtype=int)
    names = [f"some_landmark_or_other_{number}" for number in range(classes)]
    figure = figures.confusion("landmarks", "photographs", counts, names)
    figure.draw_without_rendering()
    labels = figure.axes[0].get_yticklabels()
    assert [label.get_text() for label in labels] == [name.replace("_", " ") for name in names]
    boxes = [label.get_window_extent() for label in labels]
    assert all(lower.y1 <= upper.y0 + 0.5 for upper, lower in pairwise(boxes))
    assert [text.get_text() for text in figure.axes[0].texts].count("107") == classes
    assert max(figure.get_size_inches()) < 20


def test_numbers_that_do_not_fit_are_left_out_of_the_confusion_matrix() -> None:
    figure = figures.confusion("landmarks", "photographs", np.diag([1_000_000] * 49 + [5]), list(map(str, range(50))))
    assert [text.get_text() for text in figure.axes[0].texts] == ["5"]


def test_the_reliability_picture_tells_the_calibration_error() -> None:
    probabilities = answers(0, 0, 0, 0)
    figure = figures.reliability("landmarks", "photographs", probabilities, np.array([0, 0, 1, 2]))
    assert "4 test photographs, expected calibration error 30.0%" in figure.axes[0].get_title()
    bars = [bar.get_height() for axis in figure.axes for bar in axis.patches if isinstance(bar, Rectangle)]
    assert bars == [50, 4]  # per cent, photographs


def test_the_evidence_is_shown_in_the_surest_right_photograph_of_each_class(photographs: Path) -> None:
    test = Store(FEATURES, "test")
    labels = test.labels.numpy()
    probabilities = answers(*labels, confidence=0.6)
    surest = np.flatnonzero(labels == 0)[3]
    probabilities[surest] = [0.7, 0.1, 0.2]
    probabilities[labels == 1] = [0.5, 0.4, 0.1]  # none of them is right
    write_trained("residual")
    looking = eyes(UNCHANGED, test)
    looking.member.network = model.load().members[0].network  # type: ignore[assignment]
    figure = sheets.evidence("residual", looking, probabilities, NAMES, test)
    assert [title for title, _ in panels(figure)] == [
        "a tower 70.0%",
        rf"{figures.readable(NAMES[1])} 40.0%, predicted as a tower",
        f"{figures.readable(NAMES[2])} 60.0%",
    ]
    middle = test.crops(np.array([surest]), SIZE)[0].permute(1, 2, 0).numpy()
    assert np.array_equal(panels(figure)[0][1], middle)
    assert "HiResCAM of residual" in figure.get_suptitle()


def colours() -> nn.Sequential:
    """A network whose first class is red and whose second is green; nothing speaks for the third."""
    layer, last = nn.Conv2d(3, 2, 1, bias=False), nn.Linear(2, 3, bias=False)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([[1.0, -1, 0], [-1, 1, 0]]).view(2, 3, 1, 1))
        last.weight.copy_(torch.tensor([[1.0, 0], [0, 1], [-1, -1]]))
    return nn.Sequential(layer, nn.ReLU(inplace=True), nn.AdaptiveAvgPool2d(1), nn.Flatten(), last).eval()


def test_saliency_is_highest_where_the_evidence_is() -> None:
    photograph = torch.zeros(1, 3, 16, 16)
    photograph[0, 0, :4, :4] = 1  # red above on the left
    photograph[0, 1, 10:, 12:] = 1  # green below on the right
    method, (red, green, none) = saliency(colours(), photograph.repeat(3, 1, 1, 1), torch.arange(3))
    assert method == "HiResCAM"
    assert red.argwhere().amax(0).tolist() == [3, 3]
    assert green.argwhere().amin(0).tolist() == [10, 12]
    assert (red.max(), green.max(), none.max()) == (1, 1, 0)


def test_saliency_is_the_same_in_batches_and_alone_and_with_frozen_layers() -> None:
    torch.manual_seed(0)
    photographs, classes = torch.rand(11, 3, 16, 16), torch.arange(11) % 3
    _, together = saliency(colours(), photographs, classes)
    frozen = colours().requires_grad_(False)
    for photograph, number, strength in zip(photographs, classes, together, strict=True):
        _, alone = saliency(frozen, photograph[None], number[None])
        assert torch.allclose(alone[0], strength, atol=1e-5)


def test_attention_is_its_own_evidence() -> None:
    """Two parts of a photograph look the same to the head's values, but its keys tell them apart."""
    pool, last = AttentionPool(3, 1), nn.Linear(3, 2, bias=False)
    nn.init.ones_(last.weight)
    with torch.no_grad():
        pool.keys[1].weight[0, 2] = 20.0  # type: ignore[operator]  # attends to blue
    photograph = torch.zeros(1, 3, 16, 16)
    photograph[0, 0, :4, :4] = photograph[0, :, 10:, 12:] = 1
    last.weight.data[:, 2] = 0  # blue itself speaks for no class
    _, (strength,) = saliency(nn.Sequential(pool, last).eval(), photograph, torch.tensor([0]))
    assert strength[10:, 12:].min() > 0.99
    assert strength[:4, :4].max() < 1e-6


@pytest.mark.parametrize("place", [(32, 32), (96, 32), (32, 96), (64, 64)])
def test_evidence_stays_in_its_place_through_strides(place: tuple[int, int]) -> None:
    layers = [nn.Conv2d(channels, 1, 3, 2, 1, bias=False) for channels in (3, 1, 1, 1, 1)]
    for layer in layers:
        nn.init.constant_(layer.weight, 1.0)
    network = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten()).eval()
    photograph = torch.zeros(1, 3, 128, 128)
    down, right = place
    photograph[:, :, down - 4 : down + 4, right - 4 : right + 4] = 1
    _, (strength,) = saliency(network, photograph, torch.zeros(1, dtype=torch.int64))
    line = torch.arange(128) + 0.5
    centre = [float((strength.sum(1 - axis) * line).sum() / strength.sum()) for axis in (0, 1)]
    assert centre == pytest.approx(place, abs=5)  # a cell of the last map is 32 pixels wide


def test_a_network_without_maps_is_explained_by_the_gradient_of_its_pixels() -> None:
    torch.manual_seed(0)
    settings = {"image_size": 32, "patch_size": 8, "num_layers": 1, "num_heads": 2, "hidden_dim": 16, "mlp_dim": 16}
    network = torchvision.models.VisionTransformer(**settings, num_classes=3).eval().requires_grad_(False)
    nn.init.normal_(network.heads.head.weight)
    method, strength = saliency(network, torch.rand(2, 3, 32, 32), torch.tensor([0, 2]))
    assert method == "gradient of the pixels"
    assert strength.shape == (2, 32, 32)
    assert strength.amax((1, 2)).tolist() == [1, 1]

    class Corner(nn.Module):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            corner = images[:, :, :4, :4].sum((1, 2, 3))
            return torch.stack([corner, -corner], 1)

    _, (strength,) = saliency(Corner(), torch.rand(1, 3, 16, 16), torch.tensor([1]))
    assert strength.argwhere().amax(0).tolist() == [3, 3]
