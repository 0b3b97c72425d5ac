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


def make(checkout: Path, *arguments: str, variables: dict[str, str] | None = None) -> tuple[int, list[str]]:
    """The exit code and the lines of standard error that are not make's own."""
    environment = {**os.environ, **(variables or {})}
    done = subprocess.run(["make", *arguments], cwd=checkout, env=environment, capture_output=True, text=True)
    return done.returncode, [line for line in done.stderr.splitlines() if not line.startswith("make")]


def bare_machine(folder: Path) -> Path:
    """A PATH with little on it; git is not."""
    folder.mkdir()
    for tool in TOOLS:
        (folder / tool).symlink_to(str(shutil.which(tool)))
    return folder


def test_too_old_a_python_is_named(checkout: Path) -> None:
    old = checkout / "python3.9"
    old.write_text('#!/bin/sh\n[ "$1" = --version ] && echo Python 3.9.2 && exit 0\nexit 1\n')
    old.chmod(0o755)
    code, lines = make(checkout, "env", f"PYTHON={old}")
    assert code == 2
    assert lines == ["error: Python 3.9.2 found, expected Python 3.11 to 3.13: choose one with make PYTHON=python3.12"]


def test_a_missing_python_is_named(checkout: Path) -> None:
    _, lines = make(checkout, "env", "PYTHON=python9.9")
    assert lines == ["error: python9.9 not found: install Python 3.11 to 3.13, or choose one: make PYTHON=..."]


def test_a_missing_git_is_named(checkout: Path) -> None:
    _, lines = make(checkout, "env", variables={"PATH": str(bare_machine(checkout / "tools"))})
    assert lines == ["error: git not found: install it, DVC needs a git repository"]


def test_a_missing_network_is_reported_in_one_line(checkout: Path) -> None:
    nowhere = {"PIP_CONFIG_FILE": os.devnull, "PIP_INDEX_URL": "http://127.0.0.1:9/simple", "PIP_RETRIES": "0"}
    cleared = {name: "" for name in os.environ if name in ("PIP_FIND_LINKS", "PIP_EXTRA_INDEX_URL")}
    code, lines = make(checkout, "env", variables=nowhere | cleared)
    assert code == 2
    assert len(lines) == 1
    assert lines[0].startswith("error: the packages could not be installed (ERROR: ")
    assert "check the network" in lines[0]
    assert not (checkout / ".venv/.installed").exists()


def test_a_linked_environment_that_is_older_is_named_and_left_alone(
    checkout: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    (checkout / ".venv").symlink_to(elsewhere)
    code, lines = make(checkout, "env")
    assert code == 2
    assert len(lines) == 1
    assert lines[0].startswith(f"error: .venv is a link to {elsewhere}, older than requirements.txt here: ")
    assert "touch .venv/.installed" in lines[0]
    assert list(elsewhere.iterdir()) == []
    (elsewhere / ".installed").touch()
    assert make(checkout, "env") == (0, [])


def test_a_second_make_does_not_install_again(checkout: Path) -> None:
    (checkout / ".venv").mkdir()
    (checkout / ".venv/.installed").touch()
    done = subprocess.run(["make", "-n", "env"], cwd=checkout, capture_output=True, text=True, check=True)
    assert "Nothing to be done" in done.stdout


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
    done = subprocess.run(["make", "-n", *target.split()], cwd=checkout, capture_output=True, text=True, check=True)
    assert "--require-hashes -r requirements.txt" in done.stdout
    assert set(re.findall(r"--require-hashes -r requirements/(\w+)\.txt", done.stdout)) == added


def test_an_unknown_group_is_named(checkout: Path) -> None:
    done = subprocess.run(["make", "env", "GROUPS=tests"], cwd=checkout, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert f"GROUPS=tests is not allowed: expected {' '.join(sorted(GROUPS))} or all." in done.stderr


def test_help_lists_every_target(checkout: Path) -> None:
    shown = subprocess.run(["make"], cwd=checkout, capture_output=True, text=True, check=True).stdout
    for target in ("env", "repro", "test", "lint", "lock"):
        assert f"make {target} " in shown


def test_an_index_with_another_uv_is_refused(checkout: Path) -> None:
    """uv checks the hashes of all other packages: a false one could leave them out."""
    (version,) = re.findall(r"^uv==(\S+)", (ROOT / "requirements.txt").read_text(), re.MULTILINE)
    wheel = f"/uv-{version}-py3-none-any.whl"
    content = {"/simple/uv/": f'<a href="{wheel}">{wheel[1:]}</a>'.encode(), wheel: false_wheel(version)}
    with file_server(content) as index:
        false = {"PIP_CONFIG_FILE": os.devnull, "PIP_INDEX_URL": f"{index.url}/simple", "PIP_FIND_LINKS": ""}
        code, lines = make(checkout, "env", variables=false)
    assert code == 2
    assert len(lines) == 1
    assert "(ERROR: THESE PACKAGES DO NOT MATCH THE HASHES FROM THE REQUIREMENTS FILE." in lines[0]
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
            code, _ = make(installed, target, *given, variables=environment)
            assert (code == 0) == (variable in USES), value
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
    done = subprocess.run(
        ["make", "--no-print-directory", *command], cwd=installed, capture_output=True, text=True, check=True
    )
    program, *rest = done.stdout.splitlines()
    assert (rest[1:] if program == "-m" else rest) == arguments


def test_a_misspelt_variable_is_named(installed: Path) -> None:
    done = subprocess.run(["make", "recipe", "NMAE=x"], cwd=installed, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "NMAE=... is not allowed: expected one of ARGS BASE " in done.stderr
