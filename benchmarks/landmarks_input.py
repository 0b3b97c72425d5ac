"""Compare how fast batches are cropped, mirrored and normalised: from the store, or by a DataLoader over files.

    python -m benchmarks.landmarks_input --source ../shared/data [--photographs 1500] [--rounds 5] [--threads 2]

Both make the batches that the published networks take, from the same photographs, and discard them: 32 random crops of
224 x 224 pixels from photographs with a shorter side of 256, half of them mirrored. Ours are made as train makes them
for recipe landmarks-scratch-published. The other is torchvision's `ImageFolder` with the published transforms and a
DataLoader with two processes. They take turns, and the medians over the rounds are compared. Writing the store, which
happens once, is timed separately. The two processes start in the warm-up round, which is not counted.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader
from torchvision import transforms
from torchvision.datasets import ImageFolder

from stages.common import files
from stages.common.training import loop, torch_setup
from stages.common.vision import backbones, images, pixels
from stages.experiments.records import circumstances
from stages.landmarks import store
from stages.landmarks.config import Train
from stages.landmarks.learning.views import Views
from stages.landmarks.model import Member
from stages.landmarks.store import Pixels, Shard, Store

RESULT = Path("benchmarks/results/landmarks_input.json")
SHORTER, SIDE = 256, 224
WORKERS = 2
SHARD = 128  # photographs
MEAN, STD = backbones.IMAGENET_MEAN, backbones.IMAGENET_STD


def link_some(source: Path, count: int, folder: Path) -> None:
    """Fill ``folder`` with links to ``count`` photographs of ``source``, spread evenly over the classes."""
    found = sorted(path for path in source.glob("*/*") if not path.name.startswith("."))
    if not found:
        raise SystemExit(f"{source}: found no photographs, expected <class>/<name>")
    count = min(count, len(found))
    for path in (found[index * len(found) // count] for index in range(count)):
        (folder / path.parent.name).mkdir(parents=True, exist_ok=True)
        (folder / path.parent.name / path.name).symlink_to(path.resolve())


def resized(paths: Iterable[Path]) -> Iterator[Pixels]:
    """Yield the photographs as featurize stores them: uint8 (H, W, 3), the shorter side 256 pixels."""
    for path in paths:
        image = torch.from_numpy(images.decode(path.read_bytes(), 100_000_000))
        yield pixels.resize_shorter(image.permute(2, 0, 1)[None], SHORTER)[0].permute(1, 2, 0).numpy()


def from_store(packed: Store, settings: Train) -> Callable[[int], loop.Epoch]:
    """Return a function that starts the epoch with a given number over the stored photographs."""
    member = Member(nn.Identity(), MEAN, STD, SIDE, SIDE, flip=False)
    eyes = Views(member, SHORTER, settings.crop, settings.augmentation.model_dump(), packed, packed)
    everyone = torch.arange(len(packed))

    def begin(epoch: int) -> loop.Epoch:
        generator = torch.Generator().manual_seed(epoch)
        return loop.shuffled(everyone, packed.labels, settings.batch_size, eyes.training, generator, 1)

    return begin


def through_loader(folder: Path, batch_size: int) -> DataLoader[tuple[Tensor, Tensor]]:
    transform = transforms.Compose(
        [
            transforms.Resize(SHORTER),
            transforms.RandomCrop(SIDE),
            transforms.RandomHorizontalFlip(),
            transforms.ToTensor(),
            transforms.Normalize(MEAN, STD),
        ]
    )
    return DataLoader(
        ImageFolder(str(folder), transform), batch_size, shuffle=True, num_workers=WORKERS, persistent_workers=True
    )


def rate(batches: Iterable[tuple[Tensor, Tensor]]) -> float:
    """Return images per second over one epoch, including its start."""
    begin = time.perf_counter()
    count = 0
    for inputs, labels in batches:
        assert inputs.shape == (len(labels), 3, SIDE, SIDE)
        assert inputs.dtype == torch.float32
        count += len(labels)
    return count / (time.perf_counter() - begin)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--source", type=Path, required=True, help="a folder with landmarks/train/<class>/*")
    parser.add_argument("--photographs", type=int, default=1500)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2, help="torch's threads")
    parser.add_argument("--output", type=Path, default=RESULT, help="%(default)s")
    arguments = parser.parse_args()
    settings = circumstances.landmarks_settings("landmarks-scratch-published")
    torch_setup.deterministic(settings.seed, arguments.threads)

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        link_some(arguments.source / "landmarks" / "train", arguments.photographs, folder / "files")
        loader = through_loader(folder / "files", settings.batch_size)
        samples = loader.dataset.samples  # type: ignore[attr-defined]  # an ImageFolder's
        begin = time.perf_counter()
        labels = [label for _, label in samples]
        shards: list[Shard] = []
        for first in range(0, len(samples), SHARD):
            some = slice(first, first + SHARD)
            pictures = resized(Path(path) for path, _ in samples[some])
            path = folder / store.shard_name("train", len(shards))
            shards.append(store.write_shard(path, first, pictures, labels[some]))
        store.write_index(folder, "train", shards, labels)
        written = time.perf_counter() - begin
        ours = from_store(Store(folder, "train"), settings)
        rates: dict[str, list[float]] = {"store": [], "DataLoader": []}
        for turn in range(arguments.rounds + 1):
            both = {"store": rate(ours(turn)), "DataLoader": rate(loader)}
            if turn:  # the first turn warms up
                for contestant, found in both.items():
                    rates[contestant].append(found)

    medians = {contestant: statistics.median(found) for contestant, found in rates.items()}
    ratio = medians["store"] / medians["DataLoader"]
    for contestant, median in medians.items():
        print(f"{contestant:12}{median:>8.0f} images/s")
    print(f"ratio {ratio:.1f} (expected at least 8); the store was written in {written:.1f} s")
    figures = {
        "circumstances": circumstances.now(torch.get_num_threads()),
        "photographs": len(samples),
        "batch_size": settings.batch_size,
        "workers": WORKERS,
        "store_written_seconds": written,
        "images_per_second": rates,
        "medians": medians,
        "ratio": ratio,
    }
    files.write_json(arguments.output, figures)


if __name__ == "__main__":
    main()
