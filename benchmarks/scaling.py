"""Time and cost of 10 million photographs and 1,000 trials, from measured rates: the tables and the picture of docs/cost.md.

    python -m benchmarks.scaling        prints the tables; `make readme-table` renews the document and its picture

`scaling.yaml` is what is asked for and the prices; `scaling_model` has the formulas, `scaling_simulation` plays the same runs.
"""

import statistics
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import yaml

from benchmarks import scaling_model as model
from benchmarks import scaling_simulation as simulation
from benchmarks.scaling_model import HOUR, Rate, Row, Storage, Training
from stages.common import files, reporting  # noqa: F401  (reporting sets the style)
from stages.common.program import InputError
from stages.experiments import published

RESULTS = Path("benchmarks/results")
ASKED = Path("benchmarks/scaling.yaml")
PICTURE = Path("docs/cost.svg")
SEEDS = range(10)
PHOTOGRAPH = 128  # pixels of a side, of the measured ones


@cache
def asked() -> dict[str, Any]:
    content: dict[str, Any] = yaml.safe_load(ASKED.read_text(encoding="utf-8"))
    return content


def measured(name: str) -> dict[str, Any]:
    """A benchmark's results. Raises InputError where they aren't there."""
    path = RESULTS / f"{name}.json"
    if not path.exists():
        raise InputError(f"{path} is missing: python -m benchmarks.{name} makes it")
    content: dict[str, Any] = files.read_json(path)
    return content


def featurize_rows() -> list[Row]:
    found = measured("ray_featurize")
    runs = [(found["photographs"], int(workers), seconds) for workers, seconds in found["seconds"].items()]
    runs.append((found["memory"]["photographs"], 2, found["memory"]["seconds"]))
    return [Row(images, workers, took["stage"], took["stage"] - took["work"]) for images, workers, took in runs]


def training_rows() -> list[Row]:
    found = measured("ray_training")
    if "throughput" not in found:
        raise InputError(
            f"{RESULTS}/ray_training.json: throughput is missing: python -m benchmarks.ray_training makes it"
        )
    rows = found["throughput"]["rows"]
    return [Row(*(row[name] for name in ("images", "workers", "seconds", "start_seconds"))) for row in rows]


KINDS: dict[str, Callable[[], list[Row]]] = {"featurize": featurize_rows, "training": training_rows}


def rates_table() -> str:
    lines = ["| | images a second, one core | efficiency of two | start |", "|---|---|---|---|"]
    for kind, rows in KINDS.items():
        rate, _ = model.calibrated(rows())
        lines.append(f"| {kind} | {rate.images_per_second:.0f} | {rate.efficiency:.2f} | {rate.start:.0f} s |")
    return "\n".join(lines)


def check_table() -> str:
    """Each measured run beside what the formula and the simulation say."""
    lines = ["| | images | workers | measured | formula | | simulation | |", "|---|---|---|---|---|---|---|---|"]
    piece = {"featurize": images_a_shard(), "training": int(asked()["training"]["batch"])}
    for kind, rows in KINDS.items():
        rate, used = model.calibrated(rows())
        for row in sorted(rows(), key=lambda row: (row.images, row.workers)):
            says = model.run_seconds(row.images, rate, row.workers)
            plays = simulated(row, rate, piece[kind])
            lines.append(
                f"| {kind}{', calibrates' if row in used else ''} | {row.images:,} | {row.workers} | {row.seconds:.1f} s "
                f"| {says:.1f} s | {error(says, row)} | {plays:.1f} s | {error(plays, row)} |"
            )
    return "\n".join(lines)


def error(predicted: float, row: Row) -> str:
    return f"{100 * (predicted / row.seconds - 1):+.1f} %"


def simulated(row: Row, rate: Rate, piece: int) -> float:
    """The mean of a few plays, in which ``piece`` images are worked on at a time."""
    spread = asked()["assumed"]["spread"]
    return statistics.fmean(
        simulation.run_seconds(row.images, rate, row.workers, piece, spread, seed) for seed in SEEDS
    )


def images_a_shard() -> int:
    return int(asked()["shard_bytes"]) // model.shard_bytes(PHOTOGRAPH, PHOTOGRAPH)


def node() -> dict[str, Any]:
    found: dict[str, Any] = asked()["nodes"][asked()["node"]]
    return found


def featurize_seconds(nodes: int) -> float:
    rate, _ = model.calibrated(featurize_rows())
    return model.run_seconds(asked()["images"], rate, nodes * node()["vcpus"])


def training(images: int, epochs: int) -> Training:
    """On the nodes that are asked for, at the rate of the published recipe by thread."""
    about, assumed = asked()["training"], asked()["assumed"]
    result = published.read(about["recipe"])
    if result is None:
        raise InputError(f"{ASKED}: training.recipe = {about['recipe']} has no published results")
    clocks = [run.training for run in result.runs]
    by_thread = statistics.fmean(clock["images_per_second"] / clock["threads"] for clock in clocks)
    return Training(
        images=images,
        epochs=epochs,
        batch=about["batch"],
        rate=by_thread * node()["vcpus"],
        gradients=4 * int(result.runs[0].metrics["parameters_trained"]),
        bandwidth=node()["gigabits"] * 1e9 / 8,
        start=model.calibrated(training_rows())[0].start,
        **{name: assumed[name] for name in ("latency", "checkpoint", "restart", "interruptions")},
    )


def size_table() -> str:
    of_each = model.shard_bytes(PHOTOGRAPH, PHOTOGRAPH)
    size = of_each * asked()["images"]
    objects = -(-size // asked()["shard_bytes"])
    epochs, s3 = asked()["training"]["epochs"], Storage(**asked()["s3"])
    kept = s3.cost(size, objects, asked()["months"], epochs)
    return "\n".join(
        [
            "| what | |",
            "|---|---|",
            f"| a photograph of {PHOTOGRAPH} x {PHOTOGRAPH} pixels in a shard | {of_each:,} bytes |",
            f"| {asked()['images']:,} of them | {size / 1e9:,.0f} GB in {objects:,} shards |",
            f"| the originals read from S3, a file each | {asked()['images'] / 1000 * s3.get_1000:,.2f} USD |",
            f"| the shards in S3 for {asked()['months']} month, written once, read {epochs} times | {kept:,.2f} USD |",
        ]
    )


def featurize_table() -> str:
    lines = ["| nodes | hours | on demand | spot |", "|---|---|---|---|"]
    for nodes in asked()["workers"]:
        seconds = featurize_seconds(nodes)
        prices = " | ".join(f"{model.cost(seconds, nodes, node()[kind]):.2f} USD" for kind in ("on_demand", "spot"))
        lines.append(f"| {nodes} | {seconds / HOUR:.2f} | {prices} |")
    return "\n".join(lines)


def training_table() -> str:
    run = training(asked()["images"], asked()["training"]["epochs"])
    spread = asked()["assumed"]["spread"]
    lines = [
        "| nodes | all-reduce | on demand | | simulated | spot | | simulated |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for nodes in asked()["workers"]:
        share = 1 - run.batch / run.rate / run.step_seconds(nodes)
        cells = [f"{nodes}", f"{100 * share:.0f} %"]
        for spot, price in ((False, node()["on_demand"]), (True, node()["spot"])):
            seconds = run.seconds(nodes, spot)
            plays = statistics.fmean(simulation.training_seconds(run, nodes, spread, spot, seed) for seed in SEEDS)
            cells += [
                f"{seconds / HOUR:,.1f} h",
                f"{model.cost(seconds, nodes, price):,.0f} USD",
                f"{plays / HOUR:,.1f} h",
            ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def sweep_table() -> str:
    search = dict(asked()["sweep"])
    images, nodes = search.pop("images"), search.pop("nodes")
    formula = model.searched_epochs(**search)
    played = [simulation.searched(**search, slots=nodes, seed=seed) for seed in SEEDS]
    epochs, waited = (statistics.fmean(column) for column in zip(*played, strict=True))
    everything = search["trials"] * search["last"]
    run = training(images, 1)
    each = run.epoch_seconds(1)
    lines = [f"| {search['trials']:,} trials | epochs | hours | on demand | spot |", "|---|---|---|---|---|"]
    for what, count, hours in (
        ("each to the end", everything, everything * each / nodes / HOUR),
        ("by the sum over the rungs", formula, formula * each / nodes / HOUR),
        ("simulated", epochs, waited * each / HOUR),
    ):
        prices = " | ".join(f"{hours * nodes * node()[kind]:,.0f} USD" for kind in ("on_demand", "spot"))
        lines.append(f"| {what} | {count:,.0f} | {hours:,.1f} | {prices} |")
    return "\n".join(lines)


def prices_table() -> str:
    lines = [
        "| node | vCPUs | on demand, an hour | spot, an hour | network |",
        "|---|---|---|---|---|",
        *(
            f"| {name} | {about['vcpus']} | {about['on_demand']} USD | {about['spot']} USD | {about['gigabits']} Gbit/s |"
            for name, about in asked()["nodes"].items()
        ),
    ]
    s3 = asked()["s3"]
    lines += [
        "",
        f"S3: {s3['gb_month']} USD for a GB and month, {s3['put_1000']} USD for 1,000 PUTs, {s3['get_1000']} USD for 1,000 GETs. "
        f"Typed in on {asked()['date']}.",
    ]
    return "\n".join(lines)


TABLES: dict[str, Callable[[], str]] = {
    "rates": rates_table,
    "check": check_table,
    "size": size_table,
    "featurize": featurize_table,
    "training": training_table,
    "sweep": sweep_table,
    "prices": prices_table,
}


def draw(path: Path = PICTURE) -> None:
    """Time and cost over the number of nodes: featurize and training, on demand and spot; the same bytes each time."""
    nodes = asked()["workers"]
    run = training(asked()["images"], asked()["training"]["epochs"])
    curves = {
        "featurize, on demand": ([featurize_seconds(count) for count in nodes], "on_demand", "C0", "-"),
        "training, on demand": ([run.seconds(count) for count in nodes], "on_demand", "C1", "-"),
        "training, spot": ([run.seconds(count, spot=True) for count in nodes], "spot", "C1", "--"),
    }
    whole, (time, money) = plt.subplots(1, 2, figsize=(9, 3.6))
    for label, (seconds, price, colour, line) in curves.items():
        prices = [model.cost(took, count, node()[price]) for count, took in zip(nodes, seconds, strict=True)]
        time.plot(nodes, [took / HOUR for took in seconds], line, color=colour, marker="o", markersize=3, label=label)
        money.plot(nodes, prices, line, color=colour, marker="o", markersize=3)
    for axes, title in ((time, "time [h]"), (money, "cost [USD]")):
        axes.set(xscale="log", yscale="log", xlabel=f"nodes of type {asked()['node']}", title=title)
        axes.set_xticks(nodes, [str(count) for count in nodes])
        axes.minorticks_off()
    time.legend()
    with files.new_file(path) as partial, plt.rc_context({"svg.hashsalt": "cost"}):
        whole.savefig(partial, format="svg", facecolor="white", metadata={"Date": None, "Creator": None})
    plt.close(whole)


def main() -> None:
    for name, table in TABLES.items():
        print(f"{name}\n\n{table()}\n")


if __name__ == "__main__":
    main()
