"""make: on machines that lack something one line says what, nothing is done twice, and no value runs as a command."""

import io
import os
import re
import shutil
import subprocess
import zipfile
from pathlib import Path

import pytest
from conftest import ROOT
from file_servers import file_server

GROUPS = {path.stem for path in (ROOT / "requirements").glob("*.txt")}

TOOLS = ("sh", "make", "awk", "grep", "touch", "python3", "cat")


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    for name in ("Makefile", "requirements.txt"):
        shutil.copy(ROOT / name, tmp_path / name)
    shutil.copytree(ROOT / "requirements", tmp_path / "requirements")
    return tmp_path


def make(checkout: Path, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, **variables}
    return subprocess.run(["make", *arguments], cwd=checkout, env=environment, capture_output=True, text=True)


def refused(checkout: Path, *arguments: str, **variables: str) -> str:
    """The only line of standard error that is not make's own."""
    done = make(checkout, *arguments, **variables)
    assert done.returncode == 2
    (line,) = [line for line in done.stderr.splitlines() if not line.startswith("make")]
    return line


def shown(checkout: Path, *arguments: str) -> str:
    done = make(checkout, *arguments)
    assert done.returncode == 0, done.stderr
    return done.stdout


def bare_machine(folder: Path) -> str:
    """A PATH with little on it; git is not."""
    folder.mkdir()
    for tool in TOOLS:
        (folder / tool).symlink_to(str(shutil.which(tool)))
    return str(folder)


def test_too_old_a_python_a_missing_one_and_a_missing_git_are_named(checkout: Path) -> None:
    old = checkout / "python3.9"
    old.write_text('#!/bin/sh\n[ "$1" = --version ] && echo Python 3.9.2 && exit 0\nexit 1\n')
    old.chmod(0o755)
    line = "error: Python 3.9.2 found, expected Python 3.11 to 3.13: choose one with make PYTHON=python3.12"
    assert refused(checkout, "env", f"PYTHON={old}") == line
    line = "error: python9.9 not found: install Python 3.11 to 3.13, or choose one: make PYTHON=..."
    assert refused(checkout, "env", "PYTHON=python9.9") == line
    line = "error: git not found: install it, DVC needs a git repository"
    assert refused(checkout, "env", PATH=bare_machine(checkout / "tools")) == line


def test_a_missing_network_is_reported_in_one_line(checkout: Path) -> None:
    nowhere = {"PIP_CONFIG_FILE": os.devnull, "PIP_INDEX_URL": "http://127.0.0.1:9/simple", "PIP_RETRIES": "0"}
    cleared = {name: "" for name in os.environ if name in ("PIP_FIND_LINKS", "PIP_EXTRA_INDEX_URL")}
    line = refused(checkout, "env", **nowhere, **cleared)
    assert line.startswith("error: the packages could not be installed (ERROR: ")
    assert "check the network" in line
    assert not (checkout / ".venv/.installed").exists()


def test_a_linked_environment_that_is_older_is_named_and_left_alone(
    checkout: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    (checkout / ".venv").symlink_to(elsewhere)
    line = refused(checkout, "env")
    assert line.startswith(f"error: .venv is a link to {elsewhere}, older than requirements.txt here: ")
    assert "touch .venv/.installed" in line
    assert list(elsewhere.iterdir()) == []
    (elsewhere / ".installed").touch()
    done = make(checkout, "env")
    assert (done.returncode, done.stderr) == (0, "")


def test_a_second_make_does_not_install_again(checkout: Path) -> None:
    (checkout / ".venv").mkdir()
    (checkout / ".venv/.installed").touch()
    assert "Nothing to be done" in shown(checkout, "-n", "env")


@pytest.mark.parametrize(
    ("target", "added"),
    [
        ("env", set()),
        ("repro", set()),
        ("compare", set()),
        ("serve", {"serving"}),
        ("cluster", {"ray"}),
        ("recipe NAME=mnist-sweep", {"ray"}),
        ("env GROUPS=ray", {"ray"}),
        ("env GROUPS=all", GROUPS),
        ("lint", GROUPS),
        ("test", GROUPS),
    ],
)
def test_a_target_installs_the_groups_that_it_needs(checkout: Path, target: str, added: set[str]) -> None:
    planned = shown(checkout, "-n", *target.split())
    assert "--require-hashes -r requirements.txt" in planned
    assert set(re.findall(r"--require-hashes -r requirements/(\w+)\.txt", planned)) == added


def test_an_unknown_group_and_a_misspelt_variable_are_named(checkout: Path) -> None:
    words = f"GROUPS=tests is not allowed: expected {' '.join(sorted(GROUPS))} or all."
    assert words in refused(checkout, "env", "GROUPS=tests")
    assert "NMAE=... is not allowed: expected one of ARGS BASE " in refused(checkout, "recipe", "NMAE=x")


def test_help_lists_every_target(checkout: Path) -> None:
    listed = shown(checkout)
    for target in ("env", "repro", "test", "lint", "lock"):
        assert f"make {target} " in listed


def test_an_index_with_another_uv_is_refused(checkout: Path) -> None:
    """uv checks the hashes of all other packages: a false one could leave them out."""
    (version,) = re.findall(r"^uv==(\S+)", (ROOT / "requirements.txt").read_text(), re.MULTILINE)
    wheel = f"/uv-{version}-py3-none-any.whl"
    content = {"/simple/uv/": f'<a href="{wheel}">{wheel[1:]}</a>'.encode(), wheel: false_wheel(version)}
    with file_server(content) as index:
        false = {"PIP_CONFIG_FILE": os.devnull, "PIP_INDEX_URL": f"{index.url}/simple", "PIP_FIND_LINKS": ""}
        line = refused(checkout, "env", **false)
    assert "(ERROR: THESE PACKAGES DO NOT MATCH THE HASHES FROM THE REQUIREMENTS FILE." in line
    assert not (checkout / ".venv/bin/uv").exists()
    assert not (checkout / ".venv/.installed").exists()


def false_wheel(version: str) -> bytes:
    """A wheel that pip installs: its uv installs nothing and reports success."""
    buffer, about = io.BytesIO(), f"uv-{version}.dist-info"
    with zipfile.ZipFile(buffer, "w") as wheel:
        wheel.writestr(f"uv-{version}.data/scripts/uv", "#!/bin/sh\nexit 0\n")
        wheel.writestr(f"{about}/METADATA", f"Metadata-Version: 2.1\nName: uv\nVersion: {version}\n")
        wheel.writestr(f"{about}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr(f"{about}/RECORD", "")
    return buffer.getvalue()


@pytest.fixture
def installed(checkout: Path) -> Path:
    """A checkout whose environment has a `python` that prints its arguments, one a line."""
    (checkout / ".venv/bin").mkdir(parents=True)
    for group in ("", *(f"-{name}" for name in GROUPS)):
        (checkout / f".venv/.installed{group}").touch()
    program = checkout / ".venv/bin/python"
    program.write_text("""#!/bin/sh\nprintf '%s\\n' "$@"\n""")
    program.chmod(0o755)
    return checkout


USES = {
    "ARGS": "serve",
    "BASE": "review",
    "CPUS": "cluster",
    "EXPERIMENTS": "compare",
    "JSON": "torture",
    "JOBS": "recipes",
    "MINUTES": "torture",
    "NAME": "recipe",
    "NODES": "cluster",
    "PORT": "cluster",
    "PROJECT": "release",
    "RUN": "recipes",
    "SEED": "torture",
    "SET": "run",
    "STOP": "cluster",
    "TO": "upload",
    "VERSION": "release",
}
REFUSED = {"GROUPS": "env", "TORCH": "env", "PYTHON": "env", "VENV": "clean", "INSTALL": "env", "SHELL": "help"}
HOSTILE = [
    "x;touch F;",
    "x`touch F`",
    "x$$(touch F)",
    "x$(touch F)",
    "x$(shell touch F)",
    "x' ; touch F ; '",
    'x" ; touch F ; "',
    "x\ntouch F\n",
    "x & touch F #",
    "x > F",
]


@pytest.mark.parametrize(("variable", "target"), [*USES.items(), *REFUSED.items()])
def test_no_part_of_a_value_is_run_as_a_command(installed: Path, variable: str, target: str) -> None:
    if variable in ("GROUPS", "PYTHON", "INSTALL"):
        (installed / ".venv/.installed").unlink()  # so that the target would install
    for value in HOSTILE:
        for given in ((f"{variable}={value}",), ()):
            environment = {} if given else {variable: value}
            if environment and variable in ("SHELL", "VENV", "INSTALL"):
                continue  # make does not take them from there
            done = make(installed, target, *given, **environment)
            assert (done.returncode == 0) == (variable in USES), value
            assert not (installed / "F").exists(), value


def test_every_variable_that_a_user_may_set_is_tested() -> None:
    (settings,) = re.findall(r"^SETTINGS := (.*)", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert set(settings.split()) == {*USES, "GROUPS", "TORCH", "PYTHON"}


@pytest.mark.parametrize(
    ("command", "arguments"),
    [
        (["recipe", "NAME=a b", "SET=c=1 d=*", "JOBS=2"], ["a b", "--jobs", "2", "-S", "c=1", "-S", "d=*"]),
        (["recipes"], []),
        (["serve", "ARGS=--port 9000 --project mnist"], ["--port", "9000", "--project", "mnist"]),
        (["compare", "PROJECT=mnist", "EXPERIMENTS=a b"], ["mnist", "--experiments", "a", "b"]),
        (["run", "SET=a=1"], ["-S", "a=1"]),
        (["torture", "MINUTES=5", "PROJECT=mnist"], ["--minutes", "5", "--project", "mnist"]),
        (["review", "BASE=origin/main", "PROJECT=mnist"], ["mnist", "--base", "origin/main"]),
        (["release", "PROJECT=mnist", "VERSION=v1.0.0"], ["mnist", "v1.0.0"]),
        (["cluster", "PORT=1", "CPUS=2"], ["start", "--port", "1", "--cpus", "2"]),
        (["cluster", "STOP=1"], ["stop"]),
    ],
)
def test_values_become_the_program_s_arguments(installed: Path, command: list[str], arguments: list[str]) -> None:
    program, *rest = shown(installed, "--no-print-directory", *command).splitlines()
    assert (rest[1:] if program == "-m" else rest) == arguments
