"""The documentation is true: its commands do what it says, its links lead somewhere, its picture is the pipeline's.

Every line of a `console` block that begins with `$ ` is run, in the order in which it stands, in a clone that has the results of mnist's
sample; a document finds the clone as it was committed. The lines that a document shows below a command have to be among those
that the command writes; figures, names and times may be others. Where a command can't be run as it is written, or takes too long, `INSTEAD` says what is run for
it. `ELSEWHERE` names the tests that run a command, `NOT_RUN` those that none does.
"""

import ast
import itertools
import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlparse

import pytest
from checkouts import Checkout, processes_in
from conftest import ROOT
from documents import documents, shown, tokens

from stages.landmarks.sources import sample as landmarks
from stages.mnist.sources import sample as mnist

INSTEAD = {
    # The environment is that of these tests, and on the PATH.
    r"make (?!serve|notebooks)(.*)": r"make -o .venv/.installed \1",
    r"\. \.venv/bin/activate": "true",
    # A server doesn't end: that the target leads to it. The tests of the server start it.
    r"make serve(.*)": r"make -o .venv/.installed -n serve\1 | grep 'python -m stages.serving'",
    # Neither does JupyterLab. test_notebooks.py runs the notebooks.
    r"make notebooks": r"make -o .venv/.installed -n notebooks | grep 'jupyter lab'",
    # Downloads are tested with servers of their own, tests/common/test_official.py and others: here, that such parameters are taken.
    r"(dvc exp run -S data\.\S*source=official.*)": r"\1 check",
    # Up to where the source has been read.
    r"(dvc exp run -S data\.source=\.\./data)": r"\1 prepare@mnist prepare@landmarks",
    r"(dvc exp run -S data\.source=s3://bucket/prefix)": r"\1 prepare@mnist",
    # Few epochs; that the parameters of backbones are taken, which tests/landmarks/test_row.py trains.
    r"(dvc exp run -S data\.landmarks\.source=\.\./photographs)": r"\1 -S landmarks.epochs=1 train@landmarks",
    r"(dvc exp run -S data\.landmarks\.source=\.\./photographs -S .*)": r"\1 check",
    # Up to the figures; test_pipeline.py takes the first of them on to deploy.
    r"(dvc exp run -S mnist\.optimizer=sgd)": r"\1 evaluate@mnist",
    r"(dvc exp run --name slower .*)": r"\1 -S mnist.epochs=1 evaluate@mnist",
    # What it starts works beside the clone: wait for it.
    r"dvc queue start": "dvc exp run --run-all || true",
}

ELSEWHERE = {
    r"curl .*|python -m stages\.serving\.client .*": "serving/test_exports.py::test_a_documented_request_is_answered",
    r"make image .*|python -m stages\.serving\.image .*": "serving/test_image.py::test_the_built_image_predicts_as_evaluate_for_an_unprivileged_user_on_a_read_only_file_system",
    r"python -m stages\.serving\.browser .*": "serving/test_browser.py::test_photographs_get_the_answers_of_evaluate",
    r"cmake .*|build/classify .*": "serving/test_cpp.py::test_the_cpp_program_predicts_as_evaluate",
    r"make recipe NAME=mnist-sweep|dvc exp apply mnist-sweep": "experiments/test_sweep.py::test_a_killed_sweep_resumes_and_keeps_the_best_trial_under_its_name",
    r"make recipe NAME=mnist-.*": "experiments/test_experiments.py::test_a_recipe_is_an_experiment_for_each_seed_and_is_not_done_twice",
    r"make recipe NAME=(landmarks|scones)-(best|six)": "experiments/test_recipes.py::test_a_recipe_sets_parameters_that_are_valid",
    r"dvc exp run -S deploy\.target=aws .*|python -m stages\.scones\.deploy( .*)?": "scones/test_deploy.py::test_both_targets_deploy_the_same_bytes",
    r"dvc exp run -S data\.scones\.source=\.\./vehicles .*": "scones/test_sizes.py::test_a_photograph_is_answered_as_it_was_evaluated_whatever_its_format",
    r"python -m stages\.experiments\.publish .* --without-dvc .*": "experiments/test_recipes.py::test_without_dvc_the_stages_run_by_themselves_and_their_results_are_kept",
    r"python -m stages\.scones\.load .*": "scones/test_deploy.py::test_a_stream_reports_rates_latency_and_causes",
    r"python -m stages\.scones\.feedback\.monitor .*": "scones/test_monitor.py::test_pictures_that_others_sent_are_taken_or_reported",
    r"dvc exp run -S engine\.kind=sagemaker .*": "engine/test_sagemaker.py::test_a_job_trains_from_the_staged_code_and_returns_its_model",
    r"python -m stages\.loop .*|make loop( .*)?": "scones/test_loop.py::test_from_a_shifted_stream_to_the_better_model_in_service",
    r"python -m stages\.scones\.built_in .*": "engine/test_sagemaker.py::test_the_built_in_algorithm_s_job_is_the_published_one",
    r"dvc (push|pull|status --cloud|remote modify)\b.*": "project/test_remotes.py::test_results_are_shared_by_s3_after_one_command",
    r"make release .*|dvc (artifacts get|import) .*": "experiments/test_release.py::test_a_released_archive_is_available_by_the_url_of_the_repository",
    r"make upload .*|dvc remote add .*": "experiments/test_upload.py::test_models_are_published_with_their_cards",
    r"make submit .*|make recipe NAME=bikes-default .*": "experiments/test_submit.py::test_a_submission_is_sent_and_its_score_printed",
    r"make label PROJECT=landmarks .*": "feedback/test_labelling_landmarks.py::test_unsure_pictures_are_labelled_and_trained_on",
    r"make label": "feedback/test_labelling.py::test_pictures_are_labelled_with_keys",
    r"make drift PROJECT=bikes": "feedback/test_drift.py::test_a_hot_month_is_found_a_usual_one_is_not_and_both_are_reported",
    r"make drift PROJECT=scones .*": "feedback/test_drift.py::test_test_pictures_are_no_drift_and_changed_ones_are_found",
    r"cp \.\./net\.pth .*|dvc exp run -S mnist\.weights=.*|python -m stages\.mnist\.learning\.state_dict .*": "mnist/test_row.py::test_weights_of_ones_own_are_measured_as_they_are_and_trained_on",
    r"make env( .*)?": "project/test_make.py::test_a_target_installs_the_groups_that_it_needs",
    r"make restore": "experiments/test_repro.py::test_restore_recovers_from_any_state_even_if_another_machine_made_the_results",
    r"make cluster( .*)?": "engine/test_cluster.py::test_make_cluster_is_that_command",
    r"dvc exp run -S engine\.kind=ray .*": "engine/test_ray_training.py::test_nodes_without_a_shared_folder_use_the_storage",
    r"dvc exp run -S deploy\.mnist\.version=.*": "experiments/test_release.py::test_deploy_serves_a_released_version_compared_with_its_own_evaluation",
}

NOT_RUN = {
    r"git clone .*|make (repro|test|torture|lint)": "what brought this clone about",
    r"export AWS_PROFILE=.*|output\(\) .*|aws .*": "AWS's own command line, which takes an account",
    r"ray (up|exec|down) .*": "on AWS, which takes an account; test_cluster_manifests.py checks the file",
    r"kubectl .*": "on Kubernetes; test_cluster_manifests.py checks the file",
    r"git (push|tag|commit) .*|git add data/scones/labelled .*|gto show .*": "git's and GTO's own; test_release.py reads the tags",
}

WORKED = ("add-a-project.md", "add-a-model.md")
"""Run by test_worked_example.py, in clones to which they are applied."""


def to_run(document: Path) -> list[tuple[str, list[str]]]:
    """The commands of a document, each with the lines that it shows below it."""
    left_out = re.compile("|".join(f"(?:{pattern})" for pattern in (*ELSEWHERE, *NOT_RUN)))
    return [(command, said) for command, said in shown(document) if not left_out.fullmatch(command)]


def as_run(command: str) -> str:
    for pattern, replacement in INSTEAD.items():
        if matched := re.fullmatch(pattern, command):
            return matched.expand(replacement)
    return command


def expected(line: str) -> re.Pattern[str]:
    """A line that says the same, with figures, hashes, names of experiments and places of its own."""
    words = []
    for word in line.replace("/home/me/", "…").split():
        if re.fullmatch(r"\[?[a-z]+-[a-z]+\]?|[0-9a-f]{7}|[AP]M", word):
            words.append(r"\S+")
        else:
            words.append(re.sub(r"\d(?:[\d.:]*\d)?", r"[\\d.:]+", re.escape(word).replace("…", r".*")))
    return re.compile(r"\s+".join(words))


@pytest.fixture(scope="module")
def built(mnist_results: Checkout, tmp_path_factory: pytest.TempPathFactory) -> Checkout:
    """A clone with the results of mnist, the only project that the documents run; beside it the folders that they name."""
    folder = tmp_path_factory.mktemp("docs")
    (folder / "broken" / "mnist").mkdir(parents=True)
    (folder / "broken" / "mnist" / "train-images-idx3-ubyte").touch()
    checkout = Checkout(mnist_results.copy(folder / "clone").root)
    # With the metrics of two projects DVC's table shows the file of each.
    checkout.run("sed -i 's|^- reports/mnist/metrics.json|&\\n- reports/scones/metrics.json|' dvc.yaml")
    checkout.run("git commit -qam 'two files of metrics'")
    return checkout


@pytest.fixture
def without_credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", os.devnull)


@pytest.fixture
def checkout(built: Checkout, without_credentials: None) -> Iterator[Checkout]:
    yield built
    built.restore()
    assert not processes_in(built.root)


@pytest.fixture
def beside_data(results: Checkout, tmp_path: Path) -> Checkout:
    """A clone with all results; beside it data sets of one's own."""
    for folder, write in (("mnist", mnist.write), ("landmarks", landmarks.write)):
        (tmp_path / "data" / folder).mkdir(parents=True)
        write(tmp_path / "data" / folder)
    for category in sorted((tmp_path / "data/landmarks/train").iterdir())[:3]:
        for picture in sorted(category.iterdir())[:30]:
            target = tmp_path / "photographs" / category.name / picture.name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(picture, target)
    return results.copy(tmp_path / "clone")


def follow(document: Path, checkout: Checkout, alternatives: bool = False) -> None:
    """Run a document's commands; ``alternatives`` to one another begin with the clone as it was committed."""
    for command, lines in to_run(document):
        if alternatives:
            checkout.restore()
        said = checkout.run(as_run(command), check=False)
        wanted_failure = any(line.startswith(("error:", "ERROR:")) for line in lines)
        assert bool(checkout.returncode) == wanted_failure, f"{command}: exit code {checkout.returncode}\n{said}"
        for line in lines:
            assert expected(line).search(said), f"{command}: no line like\n{line}\nin\n{said}"


@pytest.mark.long
def test_the_commands_that_read_a_bucket_do_what_they_say(beside_data: Checkout, s3: Any) -> None:
    for path in (beside_data.root.parent / "data" / "mnist").iterdir():
        s3.upload_file(str(path), "bucket", f"prefix/mnist/{path.name}")
    follow(ROOT / "docs/your-data.md", beside_data, alternatives=True)
    assert not processes_in(beside_data.root)


@pytest.mark.slow
@pytest.mark.parametrize(
    "document",
    [one for one in documents() if one.name not in (*WORKED, "your-data.md") and to_run(one)],
    ids=lambda document: document.name,
)
def test_the_commands_do_what_the_document_says(document: Path, checkout: Checkout) -> None:
    follow(document, checkout)


def test_the_tables_name_existing_commands_and_tests() -> None:
    commands = [command for document in documents() for command, _ in shown(document)]
    for pattern in (*INSTEAD, *ELSEWHERE, *NOT_RUN):
        assert any(re.fullmatch(pattern, command) for command in commands), pattern
    for test in ELSEWHERE.values():
        file, _, name = test.partition("::")
        defined = ast.parse((ROOT / "tests" / file).read_text()).body
        assert name in {one.name for one in defined if isinstance(one, ast.FunctionDef)}, test


def anchors(document: Path) -> set[str]:
    """The names that GitHub gives to a document's headings."""
    parsed = tokens(document)
    headings = [after.content for token, after in itertools.pairwise(parsed) if token.type == "heading_open"]
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def links(document: Path) -> list[str]:
    inner = [child for token in tokens(document) for child in token.children or []]
    found = [child.attrGet("href") or child.attrGet("src") for child in inner if child.type in ("link_open", "image")]
    return list(map(str, found))


@pytest.mark.parametrize("document", documents(), ids=lambda document: document.name)
def test_every_link_leads_somewhere(document: Path) -> None:
    for link in links(document):
        parts = urlparse(link)
        if parts.scheme:
            assert parts.scheme == "https", link
            continue
        target = document if not parts.path else (document.parent / unquote(parts.path)).resolve()
        assert target.exists(), link
        assert target.is_relative_to(ROOT), link
        if parts.fragment:
            assert parts.fragment in anchors(target), link


def test_every_document_is_reached_from_the_readme() -> None:
    reached = {(ROOT / urlparse(link).path).resolve() for link in links(ROOT / "README.md")}
    assert {document.resolve() for document in documents()[1:]} <= reached
