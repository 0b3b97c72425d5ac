"""GitHub's workflows: valid, without findings, with no more rights than they need; and what the comment's job makes of a review."""

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from checkouts import Checkout
from conftest import ROOT
from file_servers import Handler, serving
from markdown_it import MarkdownIt

WORKFLOWS = sorted((ROOT / ".github/workflows").glob("*.yml"))
PNG = b"\x89PNG\r\n\x1a\n and the rest"
HEAD = "a" * 40


def steps() -> list[dict[str, Any]]:
    return [
        step for path in WORKFLOWS for job in yaml.safe_load(path.read_text())["jobs"].values() for step in job["steps"]
    ]


@pytest.mark.parametrize(
    "checker", ["check-jsonschema --builtin-schema vendor.github-workflows", "zizmor --offline --no-progress"]
)
def test_workflows_match_githubs_schema_and_zizmor_finds_nothing(checker: str) -> None:
    Checkout(ROOT).run(*checker.split(), *map(str, WORKFLOWS))


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_actions_are_pinned_by_commit_no_permission_is_for_all_jobs_and_no_secret_is_read(path: Path) -> None:
    text = path.read_text()
    used = re.findall(r"uses: (.*)", text)
    assert used
    for action in used:
        assert re.fullmatch(r"[\w./-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", action), action
    assert yaml.safe_load(text)["permissions"] == {}
    assert "secrets." not in text


def test_only_the_comment_s_job_may_write_and_it_runs_no_code_of_the_pull_request() -> None:
    check, comment = (
        yaml.safe_load((ROOT / f".github/workflows/{name}.yml").read_text()) for name in ("check", "comment")
    )
    assert check["jobs"]["check"]["permissions"] == {"contents": "read"}
    (job,) = comment["jobs"].values()
    assert job["permissions"] == {"actions": "read", "contents": "write", "pull-requests": "write"}
    assert list(comment[True]) == ["workflow_run"]  # YAML 1.1 reads `on` as true
    assert comment[True]["workflow_run"]["workflows"] == [check["name"]]
    (checkout,) = [step for step in job["steps"] if step.get("uses", "").startswith("actions/checkout@")]
    assert checkout["with"] == {"persist-credentials": False}


def test_shell_is_valid_holds_no_expressions_and_its_make_targets_exist() -> None:
    scripts = [step["run"] for step in steps() if "run" in step]
    for script in scripts:
        subprocess.run(["bash", "-n"], input=script, text=True, check=True)
        assert "${{" not in script
    targets = set(re.findall(r"make ([a-z-]+)", "\n".join(scripts)))
    assert targets >= {"audit", "env", "lint", "repro", "review", "test"}
    assert targets <= set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))


def test_the_pins_are_audited_each_day_and_when_one_changes() -> None:
    audit = yaml.safe_load((ROOT / ".github/workflows/audit.yml").read_text())
    assert len(audit[True]["schedule"]) == 1
    assert audit[True]["pull_request"]["paths"][:2] == ["requirements.txt", "requirements/*.txt"]
    (job,) = audit["jobs"].values()
    assert job["steps"][-1]["run"] == "make audit"


def test_an_audit_asks_for_every_pinned_package_and_fails_for_a_vulnerable_one(tmp_path: Path) -> None:
    """Against a stand-in for osv.dev."""
    asked, vulnerable = set(), "dvc"

    class Audit(Handler):
        def respond(self) -> None:
            name = json.loads(self.content())["package"]["name"]
            asked.add(name)
            affected = [{"package": {"name": name, "ecosystem": "PyPI"}, "ranges": []}]
            found = {"vulns": [{"id": "PYSEC-0", "summary": "a hole", "affected": affected}]}
            self.answer(json.dumps(found if name == vulnerable else {}).encode())

    (line,) = re.findall(r"^\t@(pip-audit (?:.*\\\n)*.*)", (ROOT / "Makefile").read_text(), re.MULTILINE)
    files = sorted(path.relative_to(ROOT) for path in [ROOT / "requirements.txt", *ROOT.glob("requirements/*.txt")])
    command = line.replace("$(ALL:%=-r requirements/%.txt)", " ".join(f"-r {path}" for path in files[:-1]))
    with serving(Audit) as address:
        done = Checkout(ROOT, {"PIP_AUDIT_OSV_URL": address, "HOME": str(tmp_path)}).tried(command)
    assert done.returncode == 1
    assert re.search(r"^dvc +\S+ +PYSEC-0", done.stdout, re.MULTILINE)
    assert asked >= {"torch", "uv", "zizmor", "ray", "starlette", "gradio", "sagemaker"}


# What the comment's job makes of a review


@pytest.fixture
def github() -> Iterator[tuple[str, dict[str, Any]]]:
    """GitHub's list of pull requests at an address, and what it answers: its commit and, filled in, who asked."""
    state: dict[str, Any] = {"sha": HEAD}

    class Pulls(Handler):
        def respond(self) -> None:
            state["path"], state["token"] = self.path, self.headers["Authorization"]
            self.answer(json.dumps([{"number": 12, "head": {"sha": state["sha"]}}]).encode())

    with serving(Pulls) as address:
        yield address, state


class Job:
    """The comment's job, with a bare repository for GitHub's."""

    def __init__(self, folder: Path, address: str) -> None:
        self.folder, self.address = folder, address
        self.review, self.remote = folder / "review", folder / "owner/name.git"
        (self.review / "pictures").mkdir(parents=True)
        subprocess.run(["git", "init", "--quiet", "--bare", str(self.remote)], check=True)
        head = {"head_sha": HEAD, "head_branch": "change", "head_repository": {"owner": {"login": "fork"}}, "id": 7}
        (folder / "event.json").write_text(json.dumps({"workflow_run": head}))

    def write(self, comment: str, *pictures: str) -> None:
        (self.review / "comment.md").write_text(comment)
        for name in pictures:
            (self.review / "pictures" / name).write_bytes(PNG)

    def run(self, comment: str | None = None, *pictures: str, check: bool = True) -> str:
        """The comment on a review with that text and ``pictures``, or on the review that is there; empty if none was made."""
        if comment is not None:
            self.write(comment, *pictures)
        written, self.outputs = self.folder / "comment.md", self.folder / "outputs"
        written.unlink(missing_ok=True)
        self.outputs.write_text("")
        environment = {
            "PATH": "/usr/bin:/bin",
            "GITHUB_EVENT_PATH": str(self.folder / "event.json"),
            "GITHUB_OUTPUT": str(self.outputs),
            "GITHUB_API_URL": self.address,
            "GITHUB_SERVER_URL": self.folder.as_uri(),
            "GITHUB_REPOSITORY": "owner/name",
            "GITHUB_TOKEN": "token",
            "RUNNER_TEMP": str(self.folder),
        }
        (step,) = [step["run"] for step in steps() if "reviewing/post.py" in step.get("run", "")]
        script = step.replace("python3", sys.executable)
        subprocess.run(["bash", "-e", "-c", script], cwd=ROOT, env=environment, check=check)
        return written.read_text() if written.exists() else ""

    def published(self) -> list[str]:
        command = ["git", "-C", str(self.remote), "ls-tree", "-r", "--name-only", "review-pictures"]
        return subprocess.run(command, capture_output=True, text=True, check=False).stdout.split()


@pytest.fixture
def job(tmp_path: Path, github: tuple[str, dict[str, Any]]) -> Job:
    return Job(tmp_path, github[0])


def test_the_comment_shows_the_published_pictures(job: Job, github: tuple[str, dict[str, Any]]) -> None:
    text = job.run("## Review: all hold\n\n| ![after](pictures/mnist-loss-after.png) |\n", "mnist-loss-after.png")
    assert f"![after]({job.folder.as_uri()}/owner/name/raw/review-pictures/pull/12/{HEAD}/mnist-loss-after.png)" in text
    assert job.published() == [f"pull/12/{HEAD}/mnist-loss-after.png"]
    assert job.outputs.read_text() == "number=12\n"
    assert github[1]["token"] == "Bearer token"
    assert github[1]["path"] == "/repos/owner/name/pulls?state=open&head=fork%3Achange&per_page=100"


def test_the_pictures_of_a_pull_request_are_replaced_and_those_of_others_stay(job: Job) -> None:
    job.run("text", "first.png")
    other = job.folder / "other"
    script = f"""git clone -q -b review-pictures {job.remote} {other} && cd {other} && mkdir -p pull/5/b && cp pull/12/*/first.png pull/5/b/
        git config user.name t; git config user.email t@example.org; git add . && git commit -qm other && git push -q"""
    subprocess.run(["bash", "-ec", script], check=True)
    (job.review / "pictures/first.png").rename(job.review / "pictures/second.png")
    job.run()
    assert job.published() == [f"pull/12/{HEAD}/second.png", "pull/5/b/first.png"]
    count = ["git", "-C", str(job.remote), "rev-list", "--count", "review-pictures"]
    assert subprocess.check_output(count, text=True).strip() == "1"  # it does not grow


@pytest.mark.parametrize(("refused", "code"), [(2, 0), (9, 1)])
def test_a_push_rejected_because_of_another_push_is_retried(job: Job, refused: int, code: int) -> None:
    hook = job.remote / "hooks/pre-receive"
    hook.write_text(f"#!/bin/sh\necho >>tries; test $(wc -l <tries) -gt {refused}\n")
    hook.chmod(0o755)
    assert bool(job.run("text", "first.png", check=False)) == (code == 0)
    assert job.published() == ([] if code else [f"pull/12/{HEAD}/first.png"])


def test_a_pull_request_with_later_commits_gets_no_comment_of_this_one(
    job: Job, github: tuple[str, dict[str, Any]]
) -> None:
    github[1]["sha"] = "b" * 40
    assert job.run("text", "first.png") == ""
    assert job.outputs.read_text() == ""
    assert job.published() == []


def test_only_pictures_are_published(job: Job) -> None:
    folder = job.review / "pictures"
    (folder / "page.png").write_bytes(b"<script>alert(1)</script>")
    (folder / "huge.png").write_bytes(PNG + bytes(5_000_001))
    (folder / "link.png").symlink_to(folder / "good.png")
    (folder / "folder.png").mkdir()
    pictures = ("good.png", "script.svg", "a b.png", "-f.png")
    text = job.run("![a](pictures/page.png) ![b](pictures/../../x.png)", *pictures)
    assert job.published() == [f"pull/12/{HEAD}/good.png"]
    assert "/raw/" not in text


@pytest.mark.parametrize(
    "hostile",
    [
        "<script>alert(1)</script>",
        '<img src="//elsewhere.example/x.png">',
        "<a href=mailto:x>x</a>",
        "[x](//elsewhere.example)",
        "[x](https://elsewhere.example)",
        "[x][y]\n\n[y]: https://elsewhere.example",
        "[y]\n\n[y]: //elsewhere.example",
        "![x](https://elsewhere.example/x.png)",
        "<https://elsewhere.example>",
        "<details open onclick=x>",
        "<!-- hidden",
    ],
)
def test_untrusted_text_becomes_no_link_picture_or_html(job: Job, hostile: str) -> None:
    html = MarkdownIt("commonmark").enable("table").render(job.run(hostile))
    assert set(re.findall(r"<[a-z!/][^>]*>", html)) <= {"<p>", "</p>"}


def test_mentions_and_addresses_are_left_as_text(job: Job) -> None:
    hostile = "@owner &#64;owner other/name#1 GH-12 gh-12 ABC-12 https://elsewhere.example www.elsewhere.example"
    text = MarkdownIt().render(job.run(hostile)).partition("Reviewed commit: a")[0]
    assert not re.search(r"@owner|#1|GH-12|gh-12|ABC-12|https://|www\.", text)


@pytest.mark.parametrize("fence", ["```", "~~~"])
def test_a_diagram_is_left_as_text(job: Job, fence: str) -> None:
    assert "<pre>" not in MarkdownIt().render(job.run(f"{fence}mermaid\nflowchart LR\n{fence}\n"))


def test_a_fork_that_was_deleted_gets_no_comment(job: Job) -> None:
    event = json.loads((job.folder / "event.json").read_text())
    event["workflow_run"]["head_repository"] = None
    (job.folder / "event.json").write_text(json.dumps(event))
    assert job.run() == ""
    assert job.outputs.read_text() == ""


def test_a_review_that_is_too_long_missing_or_not_text_is_handled(job: Job) -> None:
    assert "The run wrote no review." in job.run()
    assert 60_000 < len(job.run("x" * 70_000)) < 65_536
    (job.review / "comment.md").write_bytes(b"\xff\xfe\x00")
    assert "Reviewed commit: a" in job.run()
    (job.review / "comment.md").unlink()
    (job.review / "comment.md").symlink_to("/etc/passwd")
    assert "root:" not in job.run()
