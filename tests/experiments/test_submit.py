"""Forecasts sent to a stand-in for Kaggle, by Kaggle's own client."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from file_servers import Handler, serving

from stages.common.errors import InputError
from stages.experiments import submit

CSV = b"datetime,count\n2011-01-20 00:00:00,11.5\n"


class Kaggle(Handler):
    """What Kaggle answers: it takes a file, and has scored it when it is asked a second time."""

    state: dict[str, Any]

    def respond(self) -> None:
        sent, kind = self.content(), self.path.rpartition("/")[2]
        assert kind == "blob" or self.headers["Authorization"].startswith("Basic ")
        if kind == "blob":
            self.state["file"] = sent
        elif kind == "CreateSubmission":
            self.state["asked"] = json.loads(sent)
        answers = {
            "blob": {},
            "StartSubmissionUpload": {"token": "t0", "createUrl": f"http://{self.headers['Host']}/blob"},
            "CreateSubmission": {"message": "Successfully submitted to Bike Sharing Demand", "ref": 7},
            "ListSubmissions": {"submissions": [{"ref": 6, "publicScore": "1.8"}, *self.state["records"][:1]]},
        }
        if kind == "ListSubmissions" and len(self.state["records"]) > 1:
            del self.state["records"][0]
        body = json.dumps(self.state.get("refusal") or answers[kind]).encode()
        self.answer(body, 403 if "refusal" in self.state else 200, Content_Type="application/json")

    do_PUT = Handler.do_GET  # noqa: N815 (a name of http.server)


@pytest.fixture
def kaggle(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, Any]]:
    from kagglesdk import kaggle_env as env

    state: dict[str, Any] = {"records": [{"ref": 7, "status": "PENDING"}]}
    monkeypatch.setenv("HOME", str(workspace))
    monkeypatch.setattr(submit, "PAUSE", 0.01)
    with serving(type("Handler", (Kaggle,), {"state": state})) as url:
        monkeypatch.setitem(env._env_to_endpoint, env.KaggleEnv.PROD, url)
        yield state


@pytest.fixture
def credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KAGGLE_USERNAME", "me")
    monkeypatch.setenv("KAGGLE_KEY", "secret")


@pytest.fixture(autouse=True)
def forecasts(workspace: Path) -> Path:
    path = workspace / submit.SUBMISSION
    path.parent.mkdir(parents=True)
    path.write_bytes(CSV)
    metrics = path.with_name("metrics.json")
    metrics.write_text('{"data": "official"}')
    return metrics


@pytest.mark.usefixtures("credentials")
def test_a_submission_is_sent_and_its_score_printed(kaggle: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    kaggle["records"].append({"ref": 7, "status": "COMPLETE", "publicScore": "0.36", "privateScore": "0.37"})
    submit.main(None)
    assert kaggle["file"] == CSV
    assert kaggle["asked"]["competitionName"] == "bike-sharing-demand"
    assert capsys.readouterr().out.splitlines()[-1] == "public score 0.36, private score 0.37"


@pytest.mark.usefixtures("credentials")
def test_what_kaggle_could_not_score_or_refused_is_an_error(kaggle: dict[str, Any]) -> None:
    kaggle["records"] = [{"ref": 7, "status": "ERROR", "errorDescription": "Evaluation Exception: 1 row"}]
    with pytest.raises(InputError, match="could not score the submission: Evaluation Exception: 1 row"):
        submit.main(None)
    kaggle["refusal"] = {"code": 403, "message": "You must accept the rules"}
    with pytest.raises(InputError, match=r"refused the submission \(You must accept the rules\).*join the competition"):
        submit.main(None)


@pytest.mark.usefixtures("kaggle")
def test_without_credentials_the_error_has_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("KAGGLE_USERNAME", "KAGGLE_KEY", "KAGGLE_API_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(InputError, match="no credentials for Kaggle: set KAGGLE_API_TOKEN, or"):
        submit.main(None)


def test_forecasts_of_the_sample_or_none_are_not_sent(forecasts: Path) -> None:
    forecasts.write_text('{"data": "sample"}')
    with pytest.raises(InputError, match="forecasts the sample.*SET=data.bikes.source=official"):
        submit.main(None)
    (forecasts.parent / "submission.csv").unlink()
    with pytest.raises(InputError, match=r"workspace has no reports/bikes/submission\.csv: run"):
        submit.main(None)
