"""Write a pull request's comment from the review of its `check` run, and push its plots to where GitHub shows them.

python3 -I stages/experiments/reviewing/post.py REVIEW COMMENT

Runs in GitHub Actions after the workflow `check`, with only the standard library. REVIEW is the artifact's folder. It
is untrusted: the pull request's code wrote it. The program uses comment.md without URLs, mentions and HTML other than
<details>, and PNG files of pictures/ with a valid name and a limited size. It asks GitHub for the pull request's
number. Writes COMMENT and the output `number`; writes neither if the pull request has newer commits.
"""

import base64
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import urllib.parse
import urllib.request
from pathlib import Path
from typing import Any

BRANCH = "review-pictures"
LONGEST = 60_000  # characters: GitHub accepts 65536
LARGEST = 5_000_000  # bytes of a picture
MOST = 200  # pictures
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]{0,150}\.png")
PNG = b"\x89PNG\r\n\x1a\n"
TAGS = re.compile(r"<(?!/?(?:details|summary)>)")
BREAKS = re.compile(r"@|:(?=//)|www(?=\.)|#(?=\d)|(?<=[a-z])-(?=\d)|\](?=[(\[:])|`(?=``)|~(?=~~)", re.IGNORECASE)
"""After these a zero-width space is inserted.

It breaks a mention, a URL, a reference to an issue (`#12`, `GH-12`, and `ABC-12` where a repository has such links), a
link, and a block of code, which GitHub may draw as a diagram or a map.
"""
LINK = re.compile(r"\]\(pictures/([^()\s]*)\)")


def main(review: Path, comment: Path) -> None:
    event = json.loads(Path(os.environ["GITHUB_EVENT_PATH"]).read_text(encoding="utf-8"))
    run = event["workflow_run"]
    number = pull_request(run)
    if number is None:
        print("no open pull request has this commit: no comment was written")
        return
    found = pictures(review / "pictures")
    commit = run["head_sha"]
    address = f"{os.environ['GITHUB_SERVER_URL']}/{os.environ['GITHUB_REPOSITORY']}"
    publish(found, f"{address}.git", f"pull/{number}", commit)
    shown = f"{address}/raw/{BRANCH}/pull/{number}/{commit}"
    text = cleaned(readable(review / "comment.md"), {path.name for path in found}, shown)
    run_address = f"{address}/actions/runs/{int(run['id'])}"
    comment.write_text(
        f"{text}\n\nReviewed commit: {commit}. The full page is in the artifacts of {run_address}\n", encoding="utf-8"
    )
    with Path(os.environ["GITHUB_OUTPUT"]).open("a", encoding="utf-8") as outputs:
        outputs.write(f"number={number}\n")


def pull_request(run: dict[str, Any]) -> int | None:
    """Return the number of the open pull request whose newest commit ``run`` checked; None if there is none."""
    if not run["head_repository"]:  # a fork that was deleted meanwhile
        return None
    owner, branch = run["head_repository"]["owner"]["login"], run["head_branch"]
    query = urllib.parse.urlencode({"state": "open", "head": f"{owner}:{branch}", "per_page": 100})
    request = urllib.request.Request(  # noqa: S310 (GitHub's own URL)
        f"{os.environ['GITHUB_API_URL']}/repos/{os.environ['GITHUB_REPOSITORY']}/pulls?{query}",
        headers={"Authorization": f"Bearer {os.environ['GITHUB_TOKEN']}", "Accept": "application/vnd.github+json"},
    )
    with urllib.request.urlopen(request, timeout=60) as answer:  # noqa: S310
        numbers = [int(pull["number"]) for pull in json.load(answer) if pull["head"]["sha"] == run["head_sha"]]
    return numbers[0] if numbers else None


def readable(path: Path) -> str:
    """Return the first `LONGEST` characters of a file. The file may be missing, a link, huge, or not text."""
    if path.is_symlink() or not path.is_file():
        return "The run wrote no review."
    with path.open("rb") as file:
        text = file.read(4 * LONGEST).decode("utf-8", errors="replace")
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}\n\n(The review was too long and is cut here.)"


def pictures(folder: Path) -> list[Path]:
    """Return up to `MOST` valid PNG files of ``folder``, sorted by name."""
    if folder.is_symlink() or not folder.is_dir():
        return []
    return [path for path in sorted(folder.iterdir()) if _is_picture(path)][:MOST]


def _is_picture(path: Path) -> bool:
    if not NAME.fullmatch(path.name) or path.is_symlink() or not path.is_file() or path.stat().st_size > LARGEST:
        return False
    with path.open("rb") as file:
        return file.read(len(PNG)) == PNG


def cleaned(text: str, names: set[str], address: str) -> str:
    """Remove HTML, links, URLs and mentions from ``text``. Plots in ``names`` are shown from ``address``."""
    parts = LINK.split(text)
    plain = [_plain(part) for part in parts[::2]]
    links = [f"]({address}/{name})" if name in names else "] (no picture)" for name in parts[1::2]]
    return "".join(part for pair in zip(plain, [*links, ""], strict=True) for part in pair)


def _plain(text: str) -> str:
    text = re.sub(r"&(?!(?:amp|lt);)", "&amp;", text)  # &#64; is an @ as well
    text = TAGS.sub("&lt;", text)
    return BREAKS.sub("\\g<0>\u200b", text)


def publish(found: list[Path], remote: str, subfolder: str, commit: str) -> None:
    """Make ``found`` the only content of ``subfolder`` on the branch `BRANCH`, in a folder named ``commit``.

    The branch is one commit without a parent, replaced each time, so it does not grow. That folder gives each commit
    new URLs, because GitHub caches images by URL. If someone else pushed meanwhile, the push is retried.
    """
    for _ in range(5):
        with tempfile.TemporaryDirectory() as folder:
            here = Path(folder)
            _git(here, "init", "--quiet")
            old = _git(here, "ls-remote", remote, f"refs/heads/{BRANCH}").stdout.split("\t")[0].strip()
            if old:
                _git(here, "fetch", "--quiet", "--depth", "1", remote, old)
                _git(here, "checkout", "--quiet", old)
            if not old and not found:
                return
            shutil.rmtree(here / subfolder, ignore_errors=True)
            if found:
                (here / subfolder / commit).mkdir(parents=True)
            for path in found:
                shutil.copyfile(path, here / subfolder / commit / path.name)
            _git(here, "add", "--all")
            tree = _git(here, "write-tree").stdout.strip()
            about = "Pictures of reviews; this branch can be deleted at any time"
            new = _git(here, "commit-tree", tree, "-m", about).stdout.strip()
            push = ["push", "--quiet", f"--force-with-lease={BRANCH}:{old}", remote, f"{new}:refs/heads/{BRANCH}"]
            if _git(here, *push, check=False).returncode == 0:
                return
    sys.exit(f"error: could not push the plots to {BRANCH}: see above, then run this job again")


def _environment() -> dict[str, str]:
    """Return git's environment: an author, and the token as a header, which process lists do not show."""
    token = base64.b64encode(f"x-access-token:{os.environ['GITHUB_TOKEN']}".encode()).decode()
    name, address = "github-actions[bot]", "41898282+github-actions[bot]@users.noreply.github.com"
    return os.environ | {
        "GIT_CONFIG_COUNT": "1",
        "GIT_CONFIG_KEY_0": f"http.{os.environ['GITHUB_SERVER_URL']}/.extraheader",
        "GIT_CONFIG_VALUE_0": f"AUTHORIZATION: basic {token}",
        **{f"GIT_{role}_NAME": name for role in ("AUTHOR", "COMMITTER")},
        **{f"GIT_{role}_EMAIL": address for role in ("AUTHOR", "COMMITTER")},
    }


def _git(folder: Path, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
    command = ["git", *arguments]
    return subprocess.run(command, cwd=folder, env=_environment(), check=check, stdout=subprocess.PIPE, text=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
