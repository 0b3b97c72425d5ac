"""Compare two ways to train a head on a frozen backbone: from stored features, or with a backbone pass in every epoch.

    python -m benchmarks.landmarks_frozen --source ../shared/data --weights ../shared/data/weights/mobilenet_v2-imagenet.pth

Uses recipe landmarks-frozen with the published 50 epochs. Ours is all of `train.learn`: it computes the features of one
or two views per photograph once, and trains on them. The other way trains the same head, but every photograph goes
through the backbone in each epoch. Its time is computed from some batches of an epoch, with the batch size that ours
uses for the backbone and the same precision. Both ways score the validation photographs after each epoch.
"""

import argparse
import contextlib
import tempfile
from pathlib import Path
from typing import Any

import torch
from torch.nn import functional as F

from benchmarks import workspace
from stages.common import files
from stages.common.training import loop, torch_setup
from stages.common.vision import classifiers
from stages.experiments.records import circumstances
from stages.landmarks import train
from stages.landmarks.config import Train
from stages.landmarks.learning.frozen import BATCH, answer
from stages.landmarks.learning.views import Views
from stages.landmarks.model import Member
from stages.landmarks.store import Store

RESULT = Path("benchmarks/results/landmarks_frozen.json")
EPOCHS = 50
DEMAND = 1 / 20


def kept_features(settings: Train, views: int, about: dict[str, Any]) -> dict[str, float]:
    """Return the seconds for the features of ``views`` views, for the head's training on them, and for both."""
    transfer = settings.transfer.model_copy(update={"views": views})
    changed = settings.model_copy(update={"transfer": transfer})
    learnt = train.learn(changed, about, Path(f"{views}.pt"), f"head, views {views}")
    seconds = {"features": learnt.features_seconds, "training": learnt.history.seconds}
    return seconds | {"total": sum(seconds.values())}


def every_photograph(settings: Train, about: dict[str, Any], batches: int) -> dict[str, float]:
    """Return the seconds of an epoch with every photograph through the backbone, computed from ``batches`` batches."""
    photographs, valid = Store(train.FEATURES, "train"), Store(train.FEATURES, "valid")
    table = settings.transfer.model_dump()
    built = classifiers.build("transfer", table, len(about["classes"]), table.pop("weights"))
    network = built.network.to(memory_format=torch.channels_last)
    assert built.mean is not None
    assert built.std is not None
    side = round(settings.crop * about["size"])
    member = Member(network, built.mean, built.std, side, settings.image_size, flip=False)
    eyes = Views(member, about["size"], settings.crop, settings.augmentation.model_dump(), photographs, valid)
    part = min(batches * BATCH / len(photographs), 1.0)
    some = torch.randperm(len(photographs))[: round(part * len(photographs))]
    scored = torch.arange(max(1, round(part * len(valid))))

    def begin(generator: torch.Generator) -> loop.Epoch:
        return loop.shuffled(some, photographs.labels[some], BATCH, eyes.training, generator, 1)

    def score(network: torch.nn.Module) -> loop.Scores:
        logits = torch.cat(
            [answer(network, eyes.validation(chosen), settings.precision) for chosen in scored.split(BATCH)]
        )
        return loop.Scores(F.cross_entropy(logits, valid.labels[scored]).item(), 0.0)

    timed = settings.model_copy(update={"epochs": 1, "batch_size": BATCH, "schedule": "constant"})
    for turn in ("warming up", "every photograph"):
        checkpoint = Path(f"{turn}.pt")
        seconds = loop.fit(network, begin, len(some) // BATCH, score, timed, checkpoint, turn).seconds
    seen = len(some) // BATCH * BATCH + len(scored)
    epoch = seconds * (len(photographs) + len(valid)) / seen
    return {"timed_photographs": seen, "timed_seconds": seconds, "epoch": epoch, "total": EPOCHS * epoch}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--source", required=True, help="a folder with landmarks/, or sample")
    parser.add_argument("--weights", type=Path, required=True, help="MobileNetV2's state_dict")
    parser.add_argument("--batches", type=int, default=12, help=f"batches of {BATCH} photographs to time")
    parser.add_argument("--threads", type=int, default=2, help="torch's threads")
    parser.add_argument("--output", type=Path, default=RESULT, help="%(default)s")
    arguments = parser.parse_args()
    recipe = circumstances.landmarks_settings("landmarks-frozen")
    transfer = recipe.transfer.model_copy(update={"weights": str(arguments.weights.resolve())})
    settings = recipe.model_copy(update={"transfer": transfer, "epochs": EPOCHS, "threads": arguments.threads})
    output = arguments.output.resolve()
    changes = {"data": {"source": workspace.place(arguments.source)}}
    with tempfile.TemporaryDirectory() as name, contextlib.chdir(name):  # stages use relative paths
        workspace.create(Path(name), changes)
        for verb in ("prepare", "featurize"):
            workspace.run(verb, Path(name))
        about = files.read_json(train.FEATURES / "about.json")
        counts = {part: len(Store(train.FEATURES, part)) for part in ("train", "valid")}
        torch_setup.deterministic(settings.seed, settings.threads)
        naive = every_photograph(settings, about, arguments.batches)
        ours = {f"views {views}": kept_features(settings, views, about) for views in (1, 2)}

    shares = {views: seconds["total"] / naive["total"] for views, seconds in ours.items()}
    print(f"every photograph in each of {EPOCHS} epochs: {naive['total']:.0f} s (computed)")
    for views, share in shares.items():
        print(f"{views}: {ours[views]['total']:.1f} s, 1/{1 / share:.1f} of it (expected at most 1/{1 / DEMAND:.0f})")
    figures = {
        "circumstances": circumstances.now(torch.get_num_threads()),
        "photographs": counts,
        "epochs": EPOCHS,
        "image_size": settings.image_size,
        "precision": settings.precision,
        "batch_size": {"backbone": BATCH, "head": settings.batch_size},
        "every_photograph_seconds": naive,
        "kept_features_seconds": ours,
        "shares": shares,
    }
    files.write_json(output, figures)


if __name__ == "__main__":
    main()
