"""Write the benchmarks' result files, benchmarks/results/, as the documents' tables in Markdown."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from stages.common import files

RESULTS = Path("benchmarks/results")


def markdown(titles: Sequence[str], rows: Iterable[Sequence[object]], *about: str) -> str:
    """Return a Markdown table, and the paragraphs ``about`` it."""
    head, *lines = [f"| {' | '.join(map(str, row))} |" for row in (titles, *rows)]
    table = "\n".join([head, "|---" * len(titles) + "|", *lines])
    return "\n\n".join([table, *about])


def read(benchmark: str) -> Any:
    return files.read_json(RESULTS / f"{benchmark}.json")


def where(measured: Mapping[str, Any]) -> str:
    return f"{measured['hardware']}, {measured['date']}."


def percent(row: Mapping[str, float], names: Iterable[str]) -> list[str]:
    return [f"{row[name]:.1%}" for name in names]


def speed_table() -> str:
    """Return the seconds that DVC, an experiment and a full run take, as Markdown, from the benchmarks' result files."""
    overhead, side, first = read("overhead"), read("side_by_side"), read("first_experiment")["seconds"]
    named = {
        "`dvc repro` with nothing to do": "dvc repro",
        "`dvc status`": "dvc status",
        "`dvc metrics diff`": "dvc metrics diff",
        "`dvc exp run -S mnist.optimizer=sgd`": "dvc exp run",
        "its stages by themselves": "its stages",
        "DVC around them": "DVC around them",
    }
    seconds = {title: overhead[name]["median"] for title, name in named.items()} | {
        "the whole pipeline, one project after the other": side["seconds_one_after_the_other"],
        f"the same, {side['jobs']} projects side by side": side["seconds_side_by_side"],
        f"clone to compared experiment: {', '.join(f'`{name}`' for name in first)}": sum(first.values()),
    }
    ratios = (
        f"An experiment takes {overhead['dvc exp run']['median'] / overhead['its stages']['median']:.2f} times as long as its stages run by hand. Side by side is "
        f"{side['ratio']:.2f} times as fast, at most {side['jobs']} are possible; of {side['outputs_compared']} outputs without clock readings {len(side['outputs_differing'])} differ."
    )
    rows = [(what, f"{value:.1f}") for what, value in seconds.items()]
    return markdown(["what", "seconds"], rows, ratios, f"Measured on {where(side)}")


def ray_table() -> str:
    """Return the measured speed of one and of two workers of a Ray cluster, as a Markdown table."""
    packed, trained = read("ray_featurize"), read("ray_training")
    runs = [
        ("featurize", packed["photographs"], int(workers), took["stage"], took["stage"] - took["work"])
        for workers, took in packed["seconds"].items()
    ]
    runs += [
        ("train", row["images"], row["workers"], row["seconds"], row["start_seconds"])
        for row in trained["throughput"]["rows"]
    ]
    rows = [
        (stage, f"{images:,}", workers, f"{seconds:.0f}", f"{start:.0f}", f"{images / (seconds - start):,.0f}")
        for stage, images, workers, seconds, start in runs
    ]
    titles = ["stage", "photographs", "workers", "seconds", "of these start", "photographs a second, then"]
    return markdown(titles, rows, f"Measured on landmarks, on {where(packed)}")


def settings_table() -> str:
    """Return how much faster or slower each network trains with another setting, as a Markdown table."""
    measured = read("settings")
    networks = measured["networks"]
    _, *changes = next(iter(networks.values()))
    rows = []
    for name, row in networks.items():
        speed, *ratios = row.values()
        rows.append((name, f"{speed:,.0f}", *(f"{ratio:.2f}" for ratio in ratios)))
    return markdown(["network", "images per second", *changes], rows, f"Measured on {where(measured)}")


def trained_table() -> str:
    """Return how fast landmarks trains, how near to the limit, and beside plain PyTorch and Lightning, as a Markdown table."""
    rows, names = [], ["landmarks_training", "landmarks_training-avx512"]
    for measured in map(read, names):
        for network, found in measured["networks"].items():
            kinds, ratios = found["contestants"], found["ratios"]
            fractions = " / ".join(f"{kind['fraction_of_limit']:.0%}" for kind in kinds.values())
            speed = f"{kinds['ours']['images_per_second']:,.0f}"
            others = (f"{ratios[name]:.2f}" for name in ratios if name != "ours")
            rows.append((network, measured["instructions"], speed, *others, fractions))
    titles = ["network", "instructions", "images per second", "times as fast as a plain loop", "as Lightning"]
    return markdown([*titles, "of the limit: ours, loop, Lightning"], rows, f"Measured on {where(read(names[0]))}")


def automatic_table() -> str:
    """Return the errors of bikes' models and of AutoGluon's own defaults on held-out days, as a Markdown table."""
    measured, ratios = read("bikes_training"), read("bikes_training")["rmsle_ratios"]
    rows = [
        (name, f"{row['rmsle']:.3f}", f"{ratios[name]:.2f}", f"{row['seconds_a_window']:.0f}")
        for name, row in measured["contestants"].items()
    ]
    about = (
        f"Over {measured['windows']} of {measured['of']} windows. The boosters have to read {measured['gigabytes_read_a_window']:.1f} GB in each, "
        f"which takes {measured['fraction_of_limit']:.1%} of the seconds at {measured['gigabytes_per_second']} GB/s. Measured on {where(measured)}"
    )
    return markdown(["models", "RMSLE", "times ours", "seconds a window"], rows, about)


def served_table() -> str:
    """Return the requests a second and the response times of this server and others, as a Markdown table."""
    measured, rows = read("serving"), []
    for title in ("mnist CNN", "mnist default"):
        for name, row in measured[title]["measured"].items():
            times = (f"{row[part]:.1f}" for part in ("p50_ms", "p95_ms", "p99_ms"))
            limit = f"{row['per_second'] / measured[title]['limit_per_second']:.0%}"
            rows.append((title, name, f"{row['per_second']:,.0f}", *times, limit))
    titles = ["network", "server", "requests a second", "median, ms", "95 %, ms", "99 %, ms", "of the limit"]
    http = ", ".join(
        f"{measured[title]['ratios']['http_ms']:.1f} ms ({title})" for title in ("mnist CNN", "mnist default")
    )
    about = f"HTTP adds {http} to a call, median. {measured['clients']} clients but in the last two rows of each network, on the cores {measured['cores']}"
    return markdown(
        titles,
        rows,
        f"{about}, beside other work (load average {measured['load_before']}). Measured on {where(measured)}",
    )


def reach_table() -> str:
    """Return which versions of torch load the exports, as a Markdown table."""
    measured, rows = read("reach"), []
    forms = ["model.pt", "model.pt2", "model.tar.gz"]
    for version, projects in measured["versions"].items():
        cells = []
        for form in forms:
            found = [project[form] for project in projects.values()]
            refused = any("error" in one for one in found)
            worst = 0.0 if refused else max(one["difference"] for one in found)
            cells.append("does not load" if refused else f"within {worst:.0e}" if worst else "the same")
        rows.append([f"{version} (SageMaker's image)" if version == measured["sagemaker"] else version, *cells])
    titles = ["torch", *(f"`{form}`" for form in forms)]
    return markdown(titles, rows, f"Written by torch {measured['torch']}; measured on {where(measured)}")


def int8_table() -> str:
    """Return what 8-bit integers save and cost, as a Markdown table."""
    measured, rows = read("int8"), []
    for project, row in measured["projects"].items():
        size = " to ".join(f"{row['bytes'][form] / 1e6:.2f}" for form in ("exact", "int8"))
        faster = " and ".join(f"{ratio:.2f}" for ratio in row["faster"].values())
        valid, test = (f"{row[part]['exact']:.2%} to {row[part]['int8']:.2%}" for part in ("valid", "test"))
        changed = f"{row['changed']} of {row['pictures']['valid']}: at most {row['changed_at_most']:.1%}"
        rows.append((project, size, faster, valid, changed, test, "yes" if row["accepted"] else "no"))
    titles = ["project", "MB", "times as fast, 1 and 32 pictures", "validation accuracy"]
    titles += ["validation pictures with another class", "test accuracy", "accepted"]
    return markdown(titles, rows, f"onnxruntime {measured['onnxruntime']}, one thread; measured on {where(measured)}")


def digits_table() -> str:
    """Return how mnist's exported model reads pictures of each kind, as a Markdown table."""
    measured = read("digits")
    kinds = measured["kinds"]
    names = ["right", "refused", "wrong", "wrong_above_0.8"]
    whole = {name: sum(row[name] for row in kinds.values()) / len(kinds) for name in names}
    rows = [(kind, *percent(row, names)) for kind, row in [*kinds.items(), ("**all**", whole)]]
    of_none = [(kind, *percent(row, names[1:])) for kind, row in measured["none"].items()]
    about = (
        f"{measured['pictures_of_each_kind']} pictures of each kind, from MNIST's test digits, seed {measured['seed']}. The network's accuracy on "
        f"MNIST's own test images is {measured['accuracy']:.2%}. Measured on {where(measured)}"
    )
    none = markdown(["picture of no digit", "refused", "read as a digit", "as one, above 0.8"], of_none)
    return markdown(["picture", "right", "refused", "wrong", "wrong, above 0.8"], rows, none, about)


def torture_table() -> str:
    """Return what `make torture` tried and found, as a Markdown table."""
    kept = read("torture")
    rows = [
        (what, *(f"{row[name]:,}" for name in ("tried", "held", "lost")), "; ".join([*row["found"], *row["losses"]]))
        for what, row in kept.items()
    ]
    places = {
        f"{row['hardware']}, {row['date']}, seed {row['seed']}, beside other work (load average {row['others']})"
        for row in kept.values()
    }
    return markdown(["attack", "tried", "held", "lost", "found"], rows, f"Measured on {'; '.join(sorted(places))}.")
