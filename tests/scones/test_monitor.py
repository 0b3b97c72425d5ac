"""Captured data read, drawn, compared with the training set, and collected for labelling."""

import base64
import csv
import json
import re
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import Change, Run
from matplotlib.colors import same_color
from matplotlib.patches import Rectangle
from PIL import Image
from vehicles import picture, record

from stages.common import files
from stages.common.errors import InputError
from stages.common.sources import label_table
from stages.scones import inference, layout, prepare
from stages.scones.endpoint import answer
from stages.scones.endpoint import picture as endpoint_picture
from stages.scones.feedback import captures, labelled, monitor
from stages.scones.sources import sample

THRESHOLD = 0.94
VEHICLES = ["bicycle", "motorcycle"]


TABLE = labelled.FOLDER / label_table.TABLE


def line(event: int, red: int = 100, confidence: float = 0.97, **changes: Any) -> str:
    """A captured record of a picture of one colour."""
    about = {"about_eventId": str(event), "about_inferenceTime": f"2024-10-16T09:{event:02d}:00Z"}
    return record(picture(red), json.dumps([confidence, 1 - confidence]), **{**about, **changes})


def monitored(source: Path) -> dict[str, Any]:
    """The report on captured files."""
    monitor.main(str(source))
    report: dict[str, Any] = files.read_json(monitor.MONITOR / "monitor.json")
    return report


def collected() -> list[dict[str, str]]:
    """The rows of the table of pictures to label."""
    with TABLE.open() as file:
        return list(csv.DictReader(file))


def train_on(red: int) -> None:
    """Makes a training set of pictures of that colour."""
    monitor.FEATURES.mkdir(parents=True)
    np.savez(monitor.FEATURES / "train.npz", images=np.full((200, 32, 32, 3), red, np.uint8))


@pytest.fixture
def place(workspace: Path) -> Path:
    """A folder with two files of captured records, 3 and 1."""
    folder = workspace / "captured" / "endpoint" / "model"
    folder.mkdir(parents=True)
    (folder / "1.jsonl").write_text("".join(line(event, event, 0.9 + event / 50) for event in (1, 2, 3)))
    (folder / "2.jsonl").write_text(line(4, red=4, confidence=0.55))
    return workspace / "captured"


def test_all_records_of_a_file_are_read_in_the_order_of_time_each_once() -> None:
    read = captures.read([("a", line(3) + line(1)), ("b", line(2) + line(1))])
    assert [record.event for record in read.records] == ["1", "2", "3"]
    assert read.records[0].image == picture(100)
    assert read.records[0].probabilities == (0.97, 1 - 0.97)
    assert read.problems == []


@pytest.mark.parametrize("length", [1, 40, -1])
def test_a_last_line_that_is_cut_off_is_left_out_and_reported(length: int) -> None:
    read = captures.read([("a.jsonl", line(1) + line(2).strip()[:length])])
    assert [record.event for record in read.records] == ["1"]
    assert read.problems == ["a.jsonl: line 2: cut off, left out"]


def named(classes: list[str]) -> str:
    return json.dumps({"classes": classes, "probabilities": [[0.1, 0.9]]})


@pytest.mark.parametrize(
    ("bad", "words"),
    [
        ("{}", "found no captured record"),
        ("[1, 2]", "found no captured record"),
        (line(2)[:-5], "found no JSON, expected an object with captureData"),
        (line(2).replace("endpointOutput", "nothing"), "found no captured record: it lacks endpointOutput"),
        (line(2, request_observedContentType="text/csv"), "a request of type text/csv, expected a picture"),
        (line(2, answer_data="[91.0, 9.0]"), r"found 91.0 in \[91.0, 9.0\], expected probabilities from 0 to 1"),
        (line(2, answer_data="[0.9, 0.9]"), "with a sum of 1.8, expected a sum of 1"),
        (line(2, answer_data='["0.9", "0.1"]'), "expected numbers"),
        (line(2, answer_data="[0.2, 0.5, 0.3]"), "expected a list of probabilities, 2 of them"),
        (line(2, answer_data="[[0.9, 0.1], [0.2, 0.8]]"), "found 2 answers to one picture, expected one"),
        (line(2, answer_data="0.9,0.1"), "found the answer .*0.9,0.1.* as application/json, expected probabilities"),
        (
            line(2, answer_data="0.9,x", answer_encoding="CSV"),
            "found the answer .* as text/csv, expected probabilities",
        ),
        (line(2, answer_data=None), "expected a list of probabilities"),
        (line(2, request_data="*"), "found data that is not base64"),
        (line(2, answer_data='{"error": 1}'), "expected a list of probabilities"),
        (line(2, answer_data="[]"), "expected a list of probabilities"),
        (line(2, answer_data='{"probabilities": [[0.9, 0.1]], "known": []}'), "expected true or false"),
        (line(2, answer_data='{"probabilities": [[0.9, 0.1]], "known": [1]}'), "expected true or false"),
        (line(2, answer_data="[NaN, 1]"), "found nan in .*, expected probabilities from 0 to 1"),
        (line(2, about_inferenceTime="yesterday"), "found the time 'yesterday', expected one such as"),
        (line(2, about_inferenceTime=1772000000), "found the time '1772000000', expected one such as"),
        (
            line(2, about_inferenceTime="0001-01-01T00:00:00+05:00"),
            "found the time '0001-01-01T00:00:00\\+05:00', expected",
        ),
        (line(2, answer_data=named(["motorcycle", "bicycle"])), r"found the classes \['mot"),
        (line(2, answer_data=named(["cat", "dog"])), r"expected \['bicycle', 'motorcycle'\]"),
    ],
)
@pytest.mark.parametrize("end", ["\n", ""])
def test_any_other_line_that_is_no_record_is_left_out_and_reported_with_its_reason(
    bad: str, words: str, end: str
) -> None:
    read = captures.read([("a.jsonl", line(1) + line(3) + bad.strip() + end)], VEHICLES)
    assert [record.event for record in read.records] == ["1", "3"]
    (problem,) = read.problems
    assert read.found == 3
    if end or bad != line(2)[:-5]:
        assert re.search(rf"a.jsonl: line 3: .*{words}.*, left out", problem)


PNG, TWO = base64.b64encode(picture(100)).decode(), [0.9, 0.1]
VERBOSE = json.dumps({"classes": VEHICLES, "probabilities": [TWO], "known": [True], "familiarity": [0.2]})


@pytest.mark.parametrize(
    "changes",
    [
        {"request_observedContentType": "application/octet-stream"},
        {"request_observedContentType": "application/x-image"},
        {"request_observedContentType": ""},  # the endpoint takes this for application/octet-stream
        {"request_encoding": "base64", "request_observedContentType": 'IMAGE/PNG; name="a b"'},
        {"answer_data": "9e-1,1e-1", "answer_encoding": "csv", "answer_observedContentType": "TEXT/CSV; header=absent"},
        {"request_data": "\n".join(PNG[begin : begin + 76] for begin in range(0, len(PNG), 76))},
        {"answer_data": VERBOSE, "answer_observedContentType": "application/json; verbose=true"},
        {"answer_data": json.loads(VERBOSE)},
        {"answer_data": json.dumps({"probabilities": TWO})},
        {"answer_data": "[[0.9, 0.1]]"},
        {"answer_data": "[[[0.9, 0.1]]]"},
        {"answer_data": " [0.9, 0.1]\n"},
        {"answer_data": "\ufeff[0.9, 0.1]"},
        {"answer_data": '"[0.9, 0.1]"'},
        {"answer_data": "0.9,0.1", "answer_encoding": "CSV", "answer_observedContentType": "text/csv; charset=utf-8"},
        {"answer_data": "0.9, 0.1\r\n", "answer_encoding": "CSV", "answer_observedContentType": ""},
        {"answer_data": base64.b64encode(b"0.9,0.1\n").decode(), "answer_encoding": "BASE64", "answer_observedContentType": "text/csv"},
        {"answer_data": base64.b64encode(VERBOSE.encode()).decode(), "answer_encoding": "BASE64"},
        {"answer_data": base64.b64encode(b"[0.9, 0.1]").decode(), "answer_encoding": "BASE64", "answer_observedContentType": "application/json; charset=utf-8"},
        {"request_observedContentType": "Image/PNG; q=1", "answer_observedContentType": "application/json; charset=utf-8"},
        {"about_inferenceTime": "2024-10-16T14:31:00.123456+05:30"},
        {"about_inferenceTime": "2024-10-16T09:01:00"},  # without a zone it is of UTC
    ],
)  # fmt: skip
def test_a_record_of_any_request_and_answer_of_the_endpoint_is_read(changes: dict[str, Any]) -> None:
    read = captures.read([("a.jsonl", line(1, confidence=0.9, **changes))], VEHICLES)
    assert read.problems == []
    (found,) = read.records
    assert found.probabilities == pytest.approx((0.9, 0.1))
    assert endpoint_picture.read(found.image, found.content_type).shape == (32, 32, 3)
    assert found.time.utcoffset() == timedelta(0)
    assert found.time.replace(microsecond=0).isoformat() == "2024-10-16T09:01:00+00:00"


@pytest.mark.parametrize("accept", ["application/json", "application/json; verbose=true", "*/*"])
def test_records_of_the_endpoint_are_readable(accept: str) -> None:
    prediction = (["bicycle", "motorcycle"], torch.tensor([[0.75, 0.25]]), torch.tensor([-0.1]))
    written = inference.output_fn(prediction, accept)
    known = False if "verbose" in accept else None
    assert answer.read(written.encode(), accept, VEHICLES) == ((0.75, 0.25), known)


@pytest.mark.parametrize("kind", ["image/png", "IMAGE/PNG; q=1", "application/x-image", "application/octet-stream"])
def test_requests_that_the_endpoint_accepts_are_readable(kind: str) -> None:
    vehicle = layout.png(np.arange(32 * 32 * 3, dtype=np.uint8).reshape(32, 32, 3))
    ours, theirs = endpoint_picture.read(vehicle, kind), inference.input_fn(vehicle, kind)
    assert np.array_equal(ours, theirs[0].numpy())


@pytest.mark.parametrize("kind", ["text/csv", "application/json", "imagepng", "application/x-images"])
@pytest.mark.parametrize("read", [endpoint_picture.read, inference.input_fn])
def test_requests_that_the_endpoint_refuses_are_unreadable(read: Callable[[bytes, str], Any], kind: str) -> None:
    with pytest.raises(ValueError, match="is not known: expected image/"):
        read(b"", kind)


FORMS: dict[str, Callable[[list[str]], bytes]] = {
    "lines": lambda lines: "".join(f"{one}\n" for one in lines).encode(),
    "with a BOM": lambda lines: "\n".join(lines).encode("utf-8-sig"),
    "two with a BOM, joined": lambda lines: b"\n".join(one.encode("utf-8-sig") for one in lines),
    "UTF-16": lambda lines: "\r\n".join(lines).encode("utf-16"),
    "CRLF, empty lines": lambda lines: "\r\n\r\n".join(["", *lines, ""]).encode(),
    "on one line": lambda lines: " ".join(lines).encode(),
    "a list": lambda lines: f"[{','.join(lines)}]".encode(),
    "a list on many lines": lambda lines: json.dumps([json.loads(one) for one in lines], indent=1).encode(),
}


@pytest.mark.parametrize("form", FORMS)
def test_records_are_read_in_any_form_and_the_counts_add_up(
    form: str, workspace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = [line(1), line(2, answer_data="[0.9, 0.9]"), line(3, confidence=0.6), line(1), "7"]
    lines += [line(4, about_eventId=""), line(4, about_eventId=""), line(3, confidence=0.7)]
    lines = [one.strip() for one in lines]
    (workspace / "captured").mkdir()
    (workspace / "captured" / "a.jsonl").write_bytes(FORMS[form](lines))
    (workspace / "captured" / "b.jsonl.gz").write_bytes(b"")
    report = monitored(workspace / "captured")
    counts = {"found": 8, "records": 5, "refused": 2, "repeated": 1, "below_threshold": 2}
    assert {name: report[name] for name in counts} == counts
    printed = capsys.readouterr().out
    assert "8 captured records: 5 read, 2 refused, 1 repeated" in printed
    assert re.search("warning: 1 other files are not read, first .*b.jsonl.gz: expected .jsonl files", printed)


UNKNOWN = json.dumps({"classes": VEHICLES, "probabilities": [[0.97, 0.03]], "known": [False], "familiarity": [-1]})


def test_an_answer_may_mark_the_picture_as_unknown(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (read,) = captures.read([("a", line(1, answer_data=UNKNOWN))]).records
    assert (read.probabilities, read.known, read.passes(0.94)) == ((0.97, 0.03), False, False)
    (place / "3.jsonl").write_text(line(5, red=50, answer_data=UNKNOWN))
    report = monitored(place)
    assert "2 of 5 answers are below the threshold 0.94, 1 pictures are unknown" in capsys.readouterr().out
    assert (report["unknown"], report["unknown_share"]) == (1, 0.2)
    assert [row["known"] for row in collected()] == ["", "", "no"]


def test_pictures_that_others_sent_are_taken_or_reported(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    unsure = "[0.6, 0.4]"
    jpeg = record(
        picture(200, size=(90, 60), kind="JPEG"), unsure, about_eventId="5", request_observedContentType="image/jpeg"
    )
    small = record(picture(200, size=(40, 30)), unsure, about_eventId="6")
    damaged = record(picture(1)[:60], unsure, about_eventId="7")
    csv_record = line(8, request_observedContentType="text/csv", request_data="1,2", request_encoding="CSV")
    (place / "3.jsonl").write_text(jpeg + small + damaged + csv_record)
    train_on(200)
    report = monitored(place)
    assert report["records"] == 7
    no_picture, too_small, truncated = report["problems"]
    assert "3.jsonl: line 4: found a request of type text/csv, expected a picture, left out" in no_picture
    assert (
        too_small
        == "the picture of event 6 is not used: the picture has 40 x 30 pixels, expected at least 32 on each side"
    )
    assert (report["found"], report["refused"], report["unusable_pictures"]) == (8, 1, 2)
    assert "event 7 is not used: the PNG file is damaged" in truncated
    assert "warning: the picture of event 6" in capsys.readouterr().out
    names = [row["file"] for row in collected()]
    assert len(names) == 3
    with Image.open(labelled.FOLDER / names[2]) as image:
        assert (image.format, image.size) == ("PNG", (32, 32))


def test_an_invalid_table_is_reported_in_one_line_and_nothing_is_written(place: Path) -> None:
    labelled.FOLDER.mkdir(parents=True)
    TABLE.write_text("file;label\na.png;bicycle\n")
    words = "labels.csv: header: found 'file;label', expected the columns file and label"
    with pytest.raises(InputError, match=words):
        monitor.main(str(place))
    assert [path.name for path in labelled.FOLDER.iterdir()] == [label_table.TABLE]
    assert TABLE.read_text() == "file;label\na.png;bicycle\n"


def test_captured_and_labelled_pictures_are_trained_on(workspace: Path, change: Change) -> None:
    def motorcycle(number: int) -> layout.Bytes:
        return sample.picture("motorcycle", np.random.default_rng([7, number]))

    source = workspace / "given" / "scones"
    source.mkdir(parents=True)
    for number, part in enumerate(layout.PARTS):
        entries = [layout.Entry(row, row % 2, f"vehicle_{row}.png") for row in range(4)]
        layout.write(source, part, [(one, motorcycle(10 * number + one.row)) for one in entries])
    change({"data.source": "given"})
    drawn = [layout.png(motorcycle(number)) for number in (90, 91)]
    unsure = [record(image, "[0.6, 0.4]", about_eventId=str(number)) for number, image in enumerate(drawn)]
    (workspace / "captured.jsonl").write_text("".join(unsure))

    monitor.main(str(workspace))
    TABLE.write_text(TABLE.read_text().replace(".png,,", ".png,motorcycle,", 1))  # one of them
    prepare.main()

    rows = [row.split("\t") for row in (prepare.RAW / "train.lst").read_text().splitlines()]
    assert rows[4:] == [["4", "1", f"labelled_{collected()[0]['file']}"]]
    assert (prepare.RAW / "train" / rows[4][2]).read_bytes() == drawn[0]


def test_answers_below_the_threshold_are_red_and_the_others_blue() -> None:
    records = captures.read([("a", line(1, confidence=0.94) + line(2, confidence=0.93) + line(3))]).records
    axis = monitor.over_time(records, THRESHOLD).axes[0]
    drawn = {
        str(one.get_color()): np.asarray(one.get_ydata()).tolist() for one in axis.lines if one.get_marker() == "o"
    }
    assert drawn == {"tab:blue": [0.94, 0.97], "tab:red": [0.93]}
    (dashed,) = (one for one in axis.lines if one.get_linestyle() == "--")
    assert np.asarray(dashed.get_ydata()).tolist() == [THRESHOLD, THRESHOLD]


def test_the_histogram_counts_every_answer_and_marks_the_threshold() -> None:
    confidences = [0.5, 0.7, 0.93, 0.94, 0.97, 1.0]
    text = "".join(line(event, confidence=confidence) for event, confidence in enumerate(confidences))
    axis = monitor.histogram(captures.read([("a", text)]).records, THRESHOLD).axes[0]
    heights = {"tab:red": 0.0, "tab:blue": 0.0}
    for bar in axis.patches:
        assert isinstance(bar, Rectangle)
        for colour in heights:
            heights[colour] += bar.get_height() * same_color(bar.get_facecolor(), colour)
    assert heights == {"tab:red": 3, "tab:blue": 3}
    assert [np.asarray(one.get_xdata()).tolist() for one in axis.lines] == [[THRESHOLD, THRESHOLD]]


def test_pictures_like_the_training_set_are_no_drift_and_darker_ones_are() -> None:
    generator = np.random.default_rng(0)
    training = generator.integers(0, 256, (300, 8, 8, 3), np.uint8)
    same, darker = training[:60], training[:60] // 2
    assert not any(test["drifted"] for test in monitor.drift(same, training).values())
    found = monitor.drift(darker, training)
    assert set(found) == {"red", "green", "blue", "contrast"}
    assert all(test["drifted"] and test["statistic"] == 1.0 for test in found.values())


def test_the_program_reports_and_collects_unsure_pictures(place: Path, python: Run) -> None:
    done = python("-m", "stages.scones.feedback.monitor", str(place))
    assert done.returncode == 0, done.stderr
    words = "2 of 4 answers are below the threshold 0.94, 0 pictures are unknown; estimated accuracy 84.2%"
    assert words in done.stdout
    assert "drift is unknown" in done.stdout
    report = files.read_json(monitor.MONITOR / "monitor.json")
    assert report["records"] == 4
    assert report["estimated_accuracy"] == round((0.92 + 0.94 + 0.96 + 0.55) / 4, 6)
    assert report["estimated_accuracy_above"] == 0.95
    names = sorted(path.name for path in monitor.MONITOR.iterdir())
    assert names == ["confidence_histogram.png", "confidence_over_time.png", "monitor.json"]
    rows = collected()
    assert [(row["label"], row["predicted"]) for row in rows] == [("", "bicycle")] * 2
    assert [row["confidence"] for row in rows] == ["0.920000", "0.550000"]
    assert [(labelled.FOLDER / row["file"]).read_bytes() for row in rows] == [picture(1), picture(4)]


def test_existing_labels_are_kept_and_each_picture_is_collected_once(place: Path) -> None:
    monitor.main(str(place))
    TABLE.write_text(TABLE.read_text().replace(".png,,", ".png,motorcycle,"))
    before = TABLE.read_bytes()
    monitor.main(str(place))
    assert TABLE.read_bytes() == before
    (place / "3.jsonl").write_text(line(5, red=50, confidence=0.6) + line(6, red=50, confidence=0.6))
    monitor.main(str(place))
    assert [row["label"] for row in collected()] == ["motorcycle", "motorcycle", ""]
    assert len(labelled.read_list(labelled.FOLDER, ["bicycle", "motorcycle"], 0)) == 2


def test_drift_is_reported_where_there_is_a_training_set(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    train_on(200)
    assert monitored(place)["drift"]["red"]["statistic"] == 1.0
    assert "the input has drifted in red, green, blue" in capsys.readouterr().out


def test_captured_data_is_read_from_s3(place: Path, s3: Any) -> None:
    for path in place.rglob("*.jsonl"):
        s3.put_object(Bucket="bucket", Key=f"data_capture/{path.name}", Body=path.read_bytes())
    monitor.main("s3://bucket/data_capture")
    assert files.read_json(monitor.MONITOR / "monitor.json")["records"] == 4


@pytest.mark.parametrize(("where", "words"), [("nowhere", "nowhere"), ("empty", "found no .jsonl files")])
def test_a_source_without_captured_data_is_reported_in_one_line(
    workspace: Path, python: Run, where: str, words: str
) -> None:
    (workspace / "empty").mkdir()
    done = python("-m", "stages.scones.feedback.monitor", where)
    assert done.returncode == 1
    assert words in done.stderr
    assert done.stderr.count("\n") == 1


def test_the_real_files_have_22_records(workspace: Path, real_data: Path) -> None:
    report = monitored(real_data / "scones" / "captured_data")
    assert (report["records"], report["below_threshold"], report["problems"]) == (22, 10, [])
    assert (report["from"], report["to"]) == ("2024-10-15T14:05:12+00:00", "2024-10-16T09:37:02+00:00")
    assert len(collected()) == 9  # one picture was asked about twice


def test_variants_are_compared_with_intervals_and_labels(workspace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for variant, confidences in (("model", [0.97] * 40), ("challenger", [0.6] * 30 + [0.97] * 10)):
        folder = workspace / "captured" / "endpoint" / variant / "2026" / "01" / "01" / "00"
        folder.mkdir(parents=True)
        lines = [line(number, red=number + 1, confidence=one) for number, one in enumerate(confidences)]
        (folder / "a.jsonl").write_text("".join(lines))
    found = monitored(workspace / "captured")["variants"]
    wilson = {"value": 0.0, "low": 0.0, "high": 0.0876, "of": 40}  # by hand
    assert found["each"]["model"]["below_threshold"] == pytest.approx(wilson, abs=1e-3)
    pair = found["differences"]["challenger - model"]
    assert pair["below_threshold"]["differ"]
    assert pair["below_threshold"]["low"] < 0.75 < pair["below_threshold"]["high"]
    assert pair["mean_confidence"]["differ"]
    assert pair["mean_confidence"]["high"] < 0
    assert not pair["unknown"]["differ"]
    assert pair["accuracy_labelled"] is None  # nothing is labelled yet
    assert "challenger - model: differ in below threshold, mean confidence" in capsys.readouterr().out

    TABLE.write_text(TABLE.read_text().replace(".png,,", ".png,motorcycle,"))  # the model says bicycle of all of them
    found = monitored(workspace / "captured")["variants"]
    assert found["each"]["challenger"]["accuracy_labelled"]["value"] == 0.0
    assert found["each"]["challenger"]["accuracy_labelled"]["of"] == 30
