"""The closed loop: what is proposed, what is refused, what a person decides, and one play from the shift to a better model."""

import hashlib
import io
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import boto3
import numpy as np
import pytest
from checkouts import Checkout, set_parameters
from conftest import ROOT, Change
from PIL import Image
from vehicles import record, settings

from stages.common import config
from stages.common.errors import InputError
from stages.common.sources import label_table
from stages.common.vision import images
from stages.engine.aws.clients import DeclinedError
from stages.loop import judging, promotion, retraining, stream, watch
from stages.loop.__main__ import main
from stages.loop.judging import Difference, Verdict
from stages.loop.watch import Seen
from stages.scones import layout
from stages.scones.aws import deployment
from stages.scones.aws.functions import drift
from stages.scones.aws.functions import watch as scheduled
from stages.scones.config import Film, Loop
from stages.scones.endpoint import picture
from stages.scones.feedback import labelled, monitor
from stages.scones.feedback.captures import Captured
from stages.scones.feedback.collect import collect
from stages.scones.layout import Entry

LIMITS = config.load("loop.scones", Loop, config.read(ROOT / "params.yaml"))
CLASSES = ["bicycle", "motorcycle"]
GAIN = Difference(0.6, 0.9, 0.2, 0.4, 50)
CHANCE = Difference(0.9, 0.9, -0.1, 0.1, 50)


@pytest.mark.parametrize(
    ("seen", "exceeded"),
    [
        (Seen(50, 0.3, 0.3, 0.9), []),
        (Seen(50, 0.31, 0.3, 0.9), ["drift"]),
        (Seen(50, 0.0, 0.31, 0.9), ["low_confidence"]),
        (Seen(50, 0.0, 0.0, 0.89), ["accuracy"]),
        (Seen(50, 1.0, 1.0, 0.5), ["drift", "low_confidence", "accuracy"]),
        (Seen(49, 1.0, 1.0, 0.5), []),
    ],
)
def test_a_retraining_is_proposed_beyond_each_limit_if_there_are_enough_requests(
    seen: Seen, exceeded: list[str]
) -> None:
    sentences = seen.beyond(LIMITS)
    assert len(sentences) == len(exceeded)
    assert all(f"loop.scones.{name} = " in sentence for name, sentence in zip(exceeded, sentences, strict=True))


@pytest.mark.parametrize(
    ("test", "gained", "guards", "failures"),
    [
        (CHANCE, GAIN, [], []),
        (GAIN, GAIN, [], []),
        (CHANCE, CHANCE, [], ["it is not shown to be better on the stream"]),
        (Difference(0.9, 0.8, -0.15, -0.01, 200), GAIN, [], ["it is worse on the test pictures"]),
        (CHANCE, GAIN, ["scones accuracy fell"], ["scones accuracy fell"]),
    ],
)
def test_a_candidate_passes_by_guards_and_intervals(
    test: Difference, gained: Difference, guards: list[str], failures: list[str]
) -> None:
    found = judging.verdict(test, gained, guards).failures
    assert len(found) == len(failures)
    assert all(sentence.startswith(start) for sentence, start in zip(found, failures, strict=True))


def test_the_interval_is_of_paired_answers_and_always_the_same() -> None:
    served, candidate = np.arange(100) < 60, np.arange(100) < 80
    found = judging.difference(served, candidate)
    assert found == judging.difference(served, candidate)
    assert (found.served, found.candidate, found.of) == (0.6, 0.8, 100)
    assert 0.10 < found.low < 0.15 < 0.25 < found.high < 0.30  # of a binomial share of 20 %: 12.7 % to 29.2 %
    same = judging.difference(served, served)
    assert (same.low, same.high) == (0, 0)


def served(number: int, confidence: float) -> tuple[Captured, Any]:
    pixels = np.random.default_rng(number).integers(0, 256, (32, 32, 3), np.uint8)
    pixels[0, 0] = number
    time, answered = datetime(2026, 1, 1, tzinfo=UTC), (confidence, 1 - confidence)
    return Captured(str(number), time, layout.png(pixels), "image/png", answered, True), pixels


def fill_in(table: Path, **changes: str) -> None:
    header, rows = label_table.read(table)
    text = [",".join({**row, **changes}[name] for name in header) for _, row in rows]
    table.write_text("\n".join([",".join(header), *text]) + "\n")


def test_held_out_pictures_are_a_sample_of_all_and_never_trained_on(tmp_path: Path) -> None:
    pictures = [served(number, 0.99 if number % 2 else 0.6) for number in range(200)]
    new = collect(pictures, 0.94, CLASSES, tmp_path, 0.25)
    fill_in(tmp_path / label_table.TABLE, label="bicycle")
    rows = [row for _, row in label_table.read(tmp_path / label_table.TABLE)[1]]
    sure = [float(row["confidence"]) > 0.94 for row in rows]
    held_out = [row["held_out"] == "yes" for row in rows]
    assert 30 <= sum(held_out) <= 70
    assert all(out for out, is_sure in zip(held_out, sure, strict=True) if is_sure)  # unsure ones may be either
    assert any(out for out, is_sure in zip(held_out, sure, strict=True) if not is_sure)
    judged, trained = (labelled.read_list(tmp_path, CLASSES, 0, held_out=held) for held in (True, False))
    assert len(judged) == sum(held_out)
    assert len(judged) + len(trained) == new == len(rows)
    assert not {entry.name for entry in judged} & {entry.name for entry in trained}
    assert [entry.row for entry in trained] == list(range(len(trained)))
    fill_in(tmp_path / label_table.TABLE, held_out="no")
    with pytest.raises(InputError, match=r"line 2, column held_out: found 'no', expected yes, or nothing"):
        labelled.read_list(tmp_path, CLASSES, 0)


def test_a_day_is_drawn_the_same_again_and_is_dark_from_nightfall_on() -> None:
    film = Film(days=4, nightfall=2, pictures=10, seed=0)
    days, again = stream.drawn(film, CLASSES), stream.drawn(film, CLASSES)[3]
    assert all(np.array_equal(one, other) for one, other in zip(days[3].images, again.images, strict=True))
    light = [float(np.mean(day.images)) for day in days]
    assert min(light[:2]) > 100 > 40 > max(light[2:])
    assert all(sorted(day.labels) == [0] * 5 + [1] * 5 for day in days)


def test_real_pictures_of_the_stream_are_neither_trained_on_nor_test_pictures(tmp_path: Path) -> None:
    raw = tmp_path / "raw"
    raw.mkdir()
    for part, count in (("train", 60), ("test", 10)):
        made = ((Entry(n, n % 2, f"{part}{n}.png"), served(n + 100 * (part == "test"), 1)[1]) for n in range(count))
        layout.write(raw, part, made)
    days = stream.taken(raw, tmp_path / "left", Film(days=5, nightfall=3, pictures=10, seed=0), CLASSES)
    streamed = [int(image[0, 0, 0]) for day in days[:3] for image in day.images]
    left = {entry.name for entry in layout.read_list(tmp_path / "left", "train", CLASSES)}
    assert [len(day.images) for day in days] == [6] * 5
    assert len(set(streamed)) == 18
    assert max(streamed) < 60
    assert len(left) == 30
    assert not {f"train{number}.png" for number in streamed} & left
    assert len(layout.read_list(tmp_path / "left", "test", CLASSES)) == 10
    assert all(image.mean() < 60 for day in days[3:] for image in day.images)


@pytest.mark.parametrize(
    ("action", "settings", "words"),
    [
        ("play", {"loop.scones.drift": 0.0}, "loop.scones.drift = 0.0 is not allowed: expected greater than 0"),
        ("watch", {"loop.scones.promote": "never"}, "loop.scones.promote = 'never' is not allowed"),
        ("play", {"loop.scones.film.days": 5, "loop.scones.film.nightfall": 4}, "nightfall at most 3"),
        ("retrain", {"loop.scones.promote": "automatic"}, "deploy.target = local: there is no deployment to update"),
        ("play", {}, "no terminal to ask about the candidate: run `python -m stages.loop play --yes`"),
    ],
)
def test_an_impossible_film_is_refused_before_any_work(
    change: Change, action: str, settings: dict[str, Any], words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    change(settings)
    monkeypatch.setattr("sys.stdin", io.StringIO())
    with pytest.raises(InputError) as error:
        main(action)
    assert words in str(error.value)


def captured(time: datetime, answer: str, image: bytes = b"") -> str:
    event, stamp = hashlib.md5(image).hexdigest(), time.isoformat().replace("+00:00", "Z")
    return record(image, answer, about_eventId=event, about_inferenceTime=stamp)


def test_only_an_alarm_that_is_on_keeps_a_candidate_from_going_into_service(s3: Any) -> None:
    del s3  # AWS is moto's
    session, here = boto3.Session(region_name="us-east-1"), settings()
    cloudwatch = session.client("cloudwatch")
    alarm = {"EvaluationPeriods": 1, "ComparisonOperator": "GreaterThanThreshold", "Threshold": 0.1}
    metric = {"Namespace": "n", "MetricName": "m", "Period": 60, "Statistic": "Average"}
    for what in ("errors", "confidence"):
        cloudwatch.put_metric_alarm(AlarmName=f"{here.stack}-endpoint-{what}", **alarm, **metric)
    promotion.unalarmed(session, here)
    cloudwatch.set_alarm_state(AlarmName=f"{here.stack}-endpoint-confidence", StateValue="ALARM", StateReason="-")
    with pytest.raises(InputError, match="the alarm scones-endpoint-confidence is on"):
        promotion.unalarmed(session, here)


def test_the_scheduled_function_measures_the_last_hours(s3: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    now, old = datetime.now(UTC), datetime(2020, 1, 1, tzinfo=UTC)
    environment = {"BUCKET": "bucket", "ENDPOINT": "e", "HOURS": "2", "THRESHOLD": "0.9", "CLASSES": "2"}
    environment["TRAINING"] = "bucket/"
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    verbose = '{"classes": ["a", "b"], "probabilities": [[0.97, 0.03]], "known": [false]}'
    lines = [captured(now, "[0.95, 0.05]"), captured(now, "[0.3, 0.7]"), captured(now, verbose), captured(now, "x")]
    for time, text in ((now, "".join([*lines, "{}\n", captured(old, "[1, 0]")])), (old, captured(old, "[1, 0]"))):
        s3.put_object(Bucket="bucket", Key=f"data_capture/e/model/{time:%Y/%m/%d/%H}/1.jsonl", Body=text.encode())
    expected = {"Watched": 3, "LowConfidenceShare": 2 / 3, "EstimatedAccuracy": 0.873333}
    assert scheduled.handler({}, None) == pytest.approx(expected)


@pytest.mark.parametrize("night", [False, True])
def test_the_function_finds_the_drift_that_the_monitor_finds(night: bool) -> None:
    days = stream.drawn(Film(days=4, nightfall=2, pictures=80, seed=0), CLASSES)
    training, new = np.stack(days[0].images), np.stack(days[3 if night else 1].images)
    reference = json.loads(deployment.compared_with(training, []))
    measured = [drift.measured(drift.decode(layout.png(image), reference["side"])) for image in new]
    moved = [one["statistic"] for one in monitor.drift(new, training).values() if one["drifted"]]
    assert drift.drift(measured, reference["training"]) == pytest.approx(max(moved, default=0.0), abs=1e-3)
    assert bool(moved) is night


@pytest.mark.parametrize("mode", ["1", "L", "P", "LA", "RGB", "RGBA"])
@pytest.mark.parametrize("size", [(32, 32), (64, 50), (45, 97)])
def test_the_function_sees_png_files_as_the_endpoint_does(mode: str, size: tuple[int, int]) -> None:
    buffer = io.BytesIO()
    noise = np.random.default_rng(0).integers(0, 256, (*size, 4), np.uint8)
    Image.fromarray(noise).convert(mode).save(buffer, "PNG")
    read = np.frombuffer(drift.decode(buffer.getvalue(), 32), np.uint8).reshape(32, 32, 3)
    seen = picture.squared(images.decode(buffer.getvalue(), 10_000), 32)
    assert np.abs(read.astype(int) - seen).max() <= 1
    wrong = (np.zeros((height, 40, 3), np.uint8) for height in (16, 300))
    for broken in (buffer.getvalue()[:50], b"", b"\xff\xd8\xff", *map(layout.png, wrong)):
        with pytest.raises(ValueError, match="picture"):
            drift.decode(broken, 32)


def test_refused_held_out_pictures_are_not_used_to_judge(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    collect([served(number, 0.6) for number in range(60)], 0.94, CLASSES, tmp_path, 0.3)
    fill_in(tmp_path / label_table.TABLE, label="bicycle", held_out="yes")
    first, second, *_ = sorted(tmp_path.glob("*.png"))
    first.write_bytes(layout.png(np.full((32, 32, 3), 90, np.uint8)))
    second.write_bytes(layout.png(np.zeros((16, 16, 3), np.uint8)))
    pictures, labels = judging.held_out(CLASSES, tmp_path)
    assert pictures.shape == (58, 32, 32, 3)
    assert labels.tolist() == [0] * 58
    said = capsys.readouterr().out
    assert f"{first.name} is not used to judge: the picture has a single colour" in said
    assert f"{second.name} is not used to judge: the picture has 16 x 16 pixels, expected at least 32" in said


def test_watch_measures_new_pictures_without_test_pictures_and_collects_beyond_a_limit(
    s3: Any, change: Change, monkeypatch: pytest.MonkeyPatch
) -> None:
    change({"loop.scones.records": 20})
    limits = config.load("loop.scones", Loop)
    days = stream.drawn(Film(days=4, nightfall=2, pictures=40, seed=0), CLASSES)
    monitor.FEATURES.mkdir(parents=True)
    np.savez(monitor.FEATURES / "train.npz", images=np.stack(days[0].images))
    np.savez(monitor.FEATURES / "test.npz", images=np.stack(days[3].images))
    monkeypatch.setattr(watch, "deployed", lambda *_: {"Bucket": "bucket", "Endpoint": "e"})
    session, now = boto3.Session(), datetime.now(UTC)

    def look(number: int, confidence: float) -> Seen:
        time, answer = now + timedelta(seconds=number), f"[{confidence}, {1 - confidence}]"
        lines = [captured(time, answer, layout.png(image)) for image in [*days[number].images, *days[3].images]]
        key = f"data_capture/e/model/{now:%Y/%m/%d/%H}/{number}.jsonl"
        s3.put_object(Bucket="bucket", Key=key, Body="".join(lines).encode())
        return watch.look(session, settings(), limits, time)

    by_day = look(1, 0.97)
    assert (by_day.records, by_day.drift, by_day.low_confidence, by_day.accuracy) == (40, 0.0, 0.0, 0.97)
    assert not labelled.FOLDER.exists()
    by_night = look(2, 0.6)
    assert (by_night.records, by_night.low_confidence, by_night.accuracy) == (40, 1.0, 0.6)
    assert by_night.drift > 0.9
    assert len(label_table.read(labelled.FOLDER / label_table.TABLE)[1]) == 40
    cloudwatch = boto3.client("cloudwatch")
    found = {
        (one["MetricName"], *(dimension["Value"] for dimension in one["Dimensions"]))
        for one in cloudwatch.list_metrics(Namespace="Scones")["Metrics"]
    }
    assert found == {(name, "e") for name in ("Watched", "Drift", "LowConfidenceShare", "EstimatedAccuracy")}
    with pytest.raises(InputError, match="found no captured picture since .* besides 0 test pictures"):
        watch.look(session, settings(), limits, now + timedelta(seconds=3))


SHORT = {"loop.scones.film": {"days": 4, "nightfall": 1, "pictures": 200, "seed": 0}}


@pytest.fixture
def project(results: Checkout, tmp_path: Path) -> Checkout:
    copy = results.copy(tmp_path / "checkout")
    set_parameters(copy.root / "params.yaml", SHORT)
    copy.run("git", "commit", "--quiet", "--all", "--message", "a short film")
    return copy


def state(project: Checkout) -> str:
    return project.run("git status --porcelain; git for-each-ref; git stash list; git rev-parse HEAD")


@pytest.mark.slow
def test_a_refused_or_declined_candidate_changes_nothing(
    project: Checkout, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project.dvc("remote", "modify", "storage", "url", str(tmp_path / "dvc-storage"))
    pictures = [served(number, 0.6) for number in range(100)]
    collect(pictures, 0.94, CLASSES, project.root / labelled.FOLDER, 0.3)
    table = project.root / labelled.FOLDER / label_table.TABLE
    monkeypatch.chdir(project.root)
    with pytest.raises(InputError, match=r"\.dvc/config, data/scones/labelled/labels.csv are not committed"):
        retraining.retrain(LIMITS, yes=True)
    project.run("git add --all && git commit --quiet --message unlabelled")
    with pytest.raises(InputError, match="found 0 new labelled pictures to train with, none of bicycle"):
        retraining.retrain(LIMITS, yes=True)
    fill_in(table, label="bicycle")
    text = table.read_text().split("\n")
    text[1::2] = [line.replace("bicycle", "motorcycle", 1) for line in text[1::2]]
    table.write_text("\n".join(text))
    project.run("git commit --quiet --all --message labelled")
    before = state(project)
    limits = LIMITS.model_copy(update={"labelled": 20, "judged": 10})

    # The served model again: it is no better.
    copied = "stages.experiments.running.clones.record"
    monkeypatch.setattr(copied, lambda *_: project.copy(tmp_path / "candidate").root)
    promote = Mock()
    monkeypatch.setattr("stages.loop.promotion.promote", promote)
    verdict, version = retraining.retrain(limits, yes=True)
    assert (len(verdict.failures), version) == (1, "")
    assert state(project) == before
    monkeypatch.setattr(retraining, "judge", lambda *_: Verdict(CHANCE, GAIN, ()))
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    monkeypatch.setattr("builtins.input", lambda _: "n")
    with pytest.raises(DeclinedError):
        retraining.retrain(limits, yes=False)
    assert not promote.called
    assert state(project) == before


@pytest.mark.slow
@pytest.mark.long
def test_from_a_shifted_stream_to_the_better_model_in_service(project: Checkout) -> None:
    before = state(project)
    shown = project.run("python", "-m", "stages.loop", "play", "--yes", "--into", "story")
    story = project.json("story/loop.json")
    by_day, last = story["days"][0], story["days"][-1]
    assert "a retraining is proposed" in shown
    assert not by_day["beyond"]
    assert story["days"][1]["beyond"]
    (promoted,) = [one for one in story["candidates"] if one["version"]] or pytest.fail(shown)
    assert promoted["stream"]["low"] > 0
    assert last["version"] == promoted["version"] != by_day["version"]
    assert last["accuracy"]["value"] > story["days"][1]["accuracy"]["value"]
    assert {path.name for path in (project.root / "story").iterdir()} == {"loop.json", "loop.png", "loop-dark.png"}
    assert state(project).replace("?? story/\n", "") == before
