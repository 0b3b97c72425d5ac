"""Training: the optimizer and schedule that were asked for, the weights that are kept, golden losses, the same bytes."""

from collections.abc import Callable
from pathlib import Path
from shutil import copytree, ignore_patterns
from typing import Any

import pytest
import torch
from conftest import ROOT, Run
from torch import Tensor, nn

from stages.common import config
from stages.common.errors import InputError
from stages.common.training import checkpoints, loop, saving, torch_setup
from stages.common.training_settings import TrainingSettings

SETTINGS = {
    "seed": 0,
    "epochs": 3,
    "batch_size": 16,
    "optimizer": "adam",
    "adam": {"learning_rate": 0.01, "weight_decay": 0.0},
    "adamw": {"learning_rate": 0.02, "weight_decay": 0.1},
    "sgd": {"learning_rate": 0.1, "momentum": 0.9, "nesterov": True, "weight_decay": 0.01},
    "schedule": "constant",
    "plateau": {"factor": 0.5, "patience": 0},
    "one_cycle": {"warmup": 0.3},
    "label_smoothing": 0.0,
    "ema_decay": 0.0,
    "keep": "last",
    "min_improvement": 0.0,
    "patience": None,
    "log_every": 4,
    "live": False,
    "precision": "float32",
    "device": "cpu",
    "threads": 1,
}

Score = Callable[[nn.Module], loop.Scores]


def settings(**changes: object) -> TrainingSettings:
    return config.check("mnist", TrainingSettings, SETTINGS | changes)


def problem() -> tuple[Tensor, Tensor]:
    """Points in the plane, in two classes that a line nearly separates."""
    points = torch.randn(100, 2, generator=torch.Generator().manual_seed(0))
    return points, (points.sum(1) > 0.1).long()


def scored(network: nn.Module) -> loop.Scores:
    assert not network.training
    points, labels = problem()
    return loop.scores(network(points), labels)


def train(folder: Path, score: Score = scored, **changes: object) -> loop.Trained:
    """A run of a small network with dropout, from the checkpoint in ``folder`` if there is one."""
    points, labels = problem()
    chosen = settings(**changes)
    torch_setup.deterministic(chosen.seed, chosen.threads)
    # Without a bias, whose gradient below batch norm is rounding alone: Adam would follow it, on each processor elsewhere.
    layers = [nn.Linear(2, 8, bias=False), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.1), nn.Linear(8, 2)]
    network = nn.Sequential(*layers)

    def batches(generator: torch.Generator) -> loop.Epoch:
        return loop.shuffled(points, labels, chosen.batch_size, lambda inputs, _: inputs, generator)

    steps = loop.steps_per_epoch(len(points), chosen.batch_size, "mnist")
    return loop.fit(network, batches, steps, score, chosen, folder / "checkpoint.pt", "test")


def scripted(*losses: float) -> Score:
    """Validation losses as told, one an epoch."""
    remaining = iter(losses)
    return lambda network: loop.Scores(next(remaining), 0.5)


GOLDEN_STEPS = [0.69389, 0.6776, 0.56939, 0.52031, 0.50937, 0.50662]
GOLDEN_VALID = [0.6175, 0.54441, 0.52576]


def test_layers_can_have_learning_rates_of_their_own_and_frozen_ones_are_left_alone() -> None:
    network = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2), nn.Linear(2, 2).requires_grad_(False))
    groups = torch_setup.build_optimizer(network, settings(optimizer="sgd"), {"0.": 0.1}).param_groups
    rates = {id(parameter): group["lr"] for group in groups for parameter in group["params"]}
    learning = network[:2].parameters()
    assert [rates.pop(id(parameter)) for parameter in learning] == pytest.approx([0.01, 0.01, 0.1, 0.1])
    assert not rates
    assert groups[0]["lr"] == 0.1  # the one that the history tells of


def test_golden_losses_every_few_steps_and_at_each_epoch_s_end(tmp_path: Path) -> None:
    trained = train(tmp_path, schedule="one_cycle")
    assert [row["loss"] for row in trained.steps] == pytest.approx(GOLDEN_STEPS, abs=2e-5)
    assert [row["valid_loss"] for row in trained.epochs] == pytest.approx(GOLDEN_VALID, abs=2e-5)
    expected = {4: 1, 6: 1, 10: 2, 12: 2, 16: 3, 18: 3}
    assert [(row["step"], row["epoch"]) for row in trained.steps] == list(expected.items())
    first, second = trained.steps[:2]
    assert trained.epochs[0]["train_loss"] == pytest.approx((4 * first["loss"] + 2 * second["loss"]) / 6)
    assert 0 <= trained.epochs[0]["train_accuracy"] <= 1


def test_live_curves_have_each_epoch_also_after_a_resume_and_change_no_loss(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for _ in range(2):  # the second time from the checkpoint of the last epoch
        train(tmp_path, schedule="one_cycle", live=True)
        rows = (tmp_path / "reports/live/test/plots/metrics/valid_loss.tsv").read_text().splitlines()
        assert rows[0].split() == ["step", "valid_loss"]
        assert [row.split()[0] for row in rows[1:]] == ["1", "2", "3"]
        assert [float(row.split()[1]) for row in rows[1:]] == pytest.approx(GOLDEN_VALID, abs=2e-5)
    assert "plots/metrics" in (tmp_path / "reports/live/test/dvc.yaml").read_text()


@pytest.mark.parametrize(
    ("name", "kind", "rate"),
    [("adam", torch.optim.Adam, 0.01), ("adamw", torch.optim.AdamW, 0.02), ("sgd", torch.optim.SGD, 0.1)],
)
def test_learning_rate_and_momentum_follow_the_optimizer(name: str, kind: type, rate: float) -> None:
    network = nn.Linear(2, 2)
    optimizer = torch_setup.build_optimizer(network, settings(optimizer=name))
    assert type(optimizer) is kind
    assert {group["lr"] for group in optimizer.param_groups} == {rate}
    if name == "sgd":
        decays = {group["weight_decay"]: group["params"] for group in optimizer.param_groups}
        assert [len(decays[0.01]), len(decays[0.0])] == [1, 1]
        assert decays[0.0][0] is network.bias
        assert {group["momentum"] for group in optimizer.param_groups} == {0.9}


def test_one_cycle_rises_and_ends_near_zero(tmp_path: Path) -> None:
    rates = [row["learning_rate"] for row in train(tmp_path, schedule="one_cycle", log_every=1).steps]
    assert rates[0] == pytest.approx(0.01 / 25)
    assert max(rates) > 0.0099
    assert rates.index(max(rates)) in (4, 5)
    assert rates[-1] < 1e-6


def test_plateau_lowers_the_rate_when_validation_stalls(tmp_path: Path) -> None:
    trained = train(tmp_path, scripted(1.0, 1.0, 1.0, 0.1), schedule="plateau", epochs=4)
    assert [row["learning_rate"] for row in trained.epochs] == pytest.approx([0.01, 0.01, 0.005, 0.0025])


def test_the_best_weights_are_those_that_improve_by_enough(tmp_path: Path) -> None:
    for name, enough, best in (("a", 0.0, 3), ("b", 0.01, 2)):
        losses = scripted(1.0, 0.5, 0.4975, 0.6)
        assert train(tmp_path / name, losses, keep="best", epochs=4, min_improvement=enough).best_epoch == best


def test_training_ends_when_validation_has_not_improved_for_long_enough(tmp_path: Path) -> None:
    losses = (1.0, 0.5, 0.6, 0.55, 0.4)
    trained = train(tmp_path / "a", scripted(*losses), epochs=5, patience=2)
    assert len(trained.epochs) == 4
    assert len(train(tmp_path / "b", scripted(*losses), epochs=5, patience=3).epochs) == 5
    again = train(tmp_path / "a", scripted(), epochs=5, patience=2)  # from its checkpoint: it has ended already
    assert again.epochs == trained.epochs


def test_kept_weights_are_not_moved_by_later_epochs(tmp_path: Path) -> None:
    best = train(tmp_path / "a", scripted(0.1, 1.0, 1.0), keep="best").weights
    one = train(tmp_path / "b", scripted(0.1), epochs=1).weights
    assert all(torch.equal(best[name], one[name]) for name in one)


def test_the_moving_average_of_the_weights_is_what_is_scored_and_kept(tmp_path: Path) -> None:
    seen: list[loop.Weights] = []

    def score(network: nn.Module) -> loop.Scores:
        seen.append({name: value.clone() for name, value in network.state_dict().items()})
        return loop.Scores(1.0, 0.5)

    plain = train(tmp_path / "plain", score, epochs=2, batch_size=100)
    averaged = train(tmp_path / "averaged", score, epochs=2, batch_size=100, ema_decay=0.15)
    assert averaged.steps == plain.steps  # what is learnt from is the same
    first, second, once, end = seen  # one step an epoch: after step 1 the average moves by 10/11, after step 2 by 0.85
    for name, value in plain.weights.items():
        if value.is_floating_point():
            assert torch.allclose(averaged.weights[name], 0.15 * once[name] + 0.85 * value, atol=1e-6), name
    assert torch.equal(averaged.weights["0.weight"], end["0.weight"])
    assert not torch.equal(end["0.weight"], second["0.weight"])
    assert not torch.equal(once["0.weight"], first["0.weight"])


SGD, CYCLE, PLATEAU = {"optimizer": "sgd"}, {"schedule": "one_cycle"}, {"schedule": "plateau", "keep": "best"}


@pytest.mark.parametrize("changes", [{}, SGD, CYCLE, PLATEAU, {"ema_decay": 0.9}])
def test_a_resumed_run_ends_like_an_uninterrupted_one(
    tmp_path: Path, changes: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    whole = train(tmp_path / "whole", epochs=5, **changes)
    epochs = iter([scored, scored])
    with pytest.raises(StopIteration):  # in the third epoch
        train(tmp_path / "stopped", lambda network: next(epochs)(network), epochs=5, **changes)
    assert capsys.readouterr().out == ""
    resumed = train(tmp_path / "stopped", epochs=5, **changes)
    assert capsys.readouterr().out.endswith(": resumed after epoch 2 of 5\n")
    assert resumed.steps == whole.steps
    assert resumed.epochs == whole.epochs
    assert all(torch.equal(resumed.weights[name], whole.weights[name]) for name in whole.weights)


def test_the_same_seed_gives_the_same_bytes_and_another_seed_others(tmp_path: Path) -> None:
    contents = []
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        saving.save_weights(tmp_path / "weights.pt", train(tmp_path / name, seed=seed).weights)
        contents.append((tmp_path / "weights.pt").read_bytes())
    assert contents[0] == contents[1] != contents[2]


def test_a_loss_of_nan_and_a_batch_larger_than_the_data_stop_with_the_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    points, labels = problem()
    monkeypatch.setitem(globals(), "problem", lambda: (points * torch.nan, labels))
    with pytest.raises(InputError, match=r"epoch 1, step 4: found a loss of nan .* lower sgd.learning_rate"):
        train(tmp_path, optimizer="sgd")
    with pytest.raises(InputError, match="mnist.batch_size = 101 is not allowed: expected at most the 100"):
        train(tmp_path, batch_size=101)


def test_bfloat16_trains_too(tmp_path: Path) -> None:
    trained = train(tmp_path, precision="bfloat16")
    assert trained.epochs[-1]["train_loss"] < trained.epochs[0]["train_loss"]
    assert {value.dtype for value in trained.weights.values()} == {torch.float32, torch.int64}


def test_an_epoch_takes_each_image_at_most_once_in_full_batches() -> None:
    inputs, labels = torch.arange(103), torch.arange(103)
    seen = []
    for batch, truth in loop.shuffled(inputs, labels, 10, lambda chosen, _: chosen * 2, torch.Generator(), 3):
        assert len(batch) == 10
        assert torch.equal(batch, truth * 2)
        seen += truth.tolist()
    assert len(seen) == len(set(seen)) == 100


def test_a_gpu_or_a_compiler_that_is_not_there_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    assert torch_setup.pick_device("auto").type == ("cuda" if torch.cuda.is_available() else "cpu")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(InputError, match="no GPU"):
        torch_setup.pick_device("cuda")
    monkeypatch.setenv("CXX", "no-such-compiler")
    with pytest.raises(InputError, match="no-such-compiler"):
        torch_setup.compile_in_place(nn.Linear(2, 2))


def test_a_checkpoint_belongs_to_its_settings_and_inputs(tmp_path: Path) -> None:
    (tmp_path / "train.npz").write_bytes(b"one")

    def key(**changes: object) -> str:
        return checkpoints.key(settings(**changes).model_dump_json(), [tmp_path / "train.npz"])

    first = key()
    assert key() == first != key(epochs=9)
    (tmp_path / "train.npz").write_bytes(b"two")
    assert key() != first


def test_a_checkpoint_belongs_to_the_code_that_the_program_has_loaded(workspace: Path, python: Run) -> None:
    """Also to a module two imports away, which the training itself does not name."""
    copytree(ROOT / "stages", workspace / "stages", ignore=ignore_patterns("__pycache__"))
    script = "import stages.landmarks.train; from stages.common.training import checkpoints as c; print(c.key('', []))"
    first = python("-c", script).stdout
    assert len(first.strip()) == 16
    module = workspace / "stages/common/vision/augmentation.py"
    module.write_text(module.read_text() + "\n# edited\n")
    assert python("-c", script).stdout not in ("", first)


def test_a_history_is_a_readable_table(tmp_path: Path) -> None:
    saving.write_history(tmp_path / "steps.csv", [{"step": 250, "loss": 0.123456789, "learning_rate": 1.2e-8}])
    assert (tmp_path / "steps.csv").read_text() == "step,loss,learning_rate\n250,0.123457,1.2e-08\n"
