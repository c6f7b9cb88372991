"""The wheel: what it carries, and that a strict mypy reads types from it as it does from an installed package."""

import shutil
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PROGRAM = Path(__file__).parent / "user_program.py"


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("hatchling", reason="hatchling is not installed")
    place = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(place)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    (built,) = place.glob("*.whl")
    return built


def test_the_wheel_carries_what_is_no_code(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        inside = set(archive.namelist())
    package = ROOT / "src" / "morelli"
    wanted = {path for path in package.rglob("*") if path.is_file() and path.suffix not in (".py", ".pyc")}
    assert {"py.typed", "tensors.safetensors"} <= {path.name for path in wanted}
    assert any(path.parent.name == "templates" for path in wanted)
    assert {path.relative_to(package.parent).as_posix() for path in wanted} <= inside
    assert not any("__pycache__" in name or name.startswith("tests") for name in inside)


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Python of an environment that holds the wheel alone: torch is unknown there, and its types are Any."""
    place = tmp_path_factory.mktemp("env")
    venv.create(place, with_pip=False, symlinks=True)
    python = place / "bin" / "python" if sys.platform != "win32" else place / "Scripts" / "python.exe"
    site = sysconfig.get_path("purelib", vars={"base": str(place), "platbase": str(place)})
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(site)
    return python


def checked(python: Path, program: Path, cache: Path) -> subprocess.CompletedProcess[str]:
    options = ["--strict", "--config-file=", f"--python-executable={python}", f"--cache-dir={cache}"]
    command = [sys.executable, "-m", "mypy", *options, str(program)]
    return subprocess.run(command, cwd=cache, capture_output=True, text=True, check=False)


def test_a_users_program_is_typed(installed: Path, tmp_path: Path) -> None:
    pytest.importorskip("mypy", reason="mypy is not installed")
    done = checked(installed, PROGRAM, tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    wrong = tmp_path / "wrong.py"
    shutil.copy(PROGRAM, wrong)
    with wrong.open("a") as file:
        file.write('\n\nmorelli.train("a.head", own="own", method=1, rate="low")\nmorelli.attribute("a", "b").judge\n')
    said = checked(installed, wrong, tmp_path).stdout
    assert 'Argument "method" to "train" has incompatible type "int"' in said
    assert 'Argument "rate" to "train" has incompatible type "str"' in said
    assert '"Report" has no attribute "judge"' in said
