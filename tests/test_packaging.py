"""What is shipped: the version, the wheel's metadata and files, and that the wheel works where the source is not."""

import email
import importlib.metadata
import os
import pathlib
import re
import subprocess
import sys
import sysconfig
import tomllib
import venv
import zipfile

import pytest

import sgdynamics as sgd

ROOT = pathlib.Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
PACKAGES = [pathlib.PurePath(path) for path in PROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]]
SEMANTIC = r"(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)(-[0-9A-Za-z.-]+)?"

# --- the version ----------------------------------------------------------------------------------------------


def test_the_version_is_the_projects():
    version = PROJECT["project"]["version"]
    assert re.fullmatch(SEMANTIC, version)
    assert sgd.__version__ == importlib.metadata.version("sgdynamics") == version


def test_no_source_file_has_a_version_of_its_own():
    assigned = re.compile(r"""^__version__\s*=\s*["']""", re.MULTILINE)
    assert assigned.search('__version__ = "0.1.0"')
    assert [path for path in (ROOT / "src").rglob("*.py") if assigned.search(path.read_text(encoding="utf-8"))] == []


def test_the_citation_and_the_changelog_are_of_this_version():
    version = PROJECT["project"]["version"]
    citation = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    assert re.findall(r"^version: (.+)$", citation, re.MULTILINE) == [version]
    headings = re.findall(r"^## \[(.+?)\]", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert version in headings and headings[0] in (version, "Unreleased")


# --- the wheel ------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> pathlib.Path:
    """The wheel of this source, built by the backend that pyproject.toml names, without the network."""
    pytest.importorskip("hatchling", reason="the build backend is not installed: pip install 'sgdynamics[test]'")
    folder = tmp_path_factory.mktemp("wheel")
    build = "import sys, hatchling.build as backend; backend.build_wheel(sys.argv[1])"
    _succeeds([sys.executable, "-c", build, str(folder)], cwd=ROOT)
    (path,) = folder.glob("*.whl")
    return path


@pytest.fixture(scope="module")
def shipped(wheel) -> set[str]:
    return {name for name in zipfile.ZipFile(wheel).namelist() if not name.endswith("/")}


@pytest.fixture(scope="module")
def metadata(wheel):
    return email.message_from_bytes(_read(wheel, "METADATA"))


def _read(wheel: pathlib.Path, name: str) -> bytes:
    with zipfile.ZipFile(wheel) as archive:
        return archive.read(f"sgdynamics-{PROJECT['project']['version']}.dist-info/{name}")


def _succeeds(command, **options) -> str:
    """What the command prints; fails with what it complains of."""
    ended = subprocess.run(command, capture_output=True, text=True, timeout=600, **options)
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


def test_metadata_of_the_wheel(metadata):
    assert (metadata["Name"], metadata["Version"]) == ("sgdynamics", PROJECT["project"]["version"])
    assert metadata["Requires-Python"] == ">=3.11"
    assert metadata["License-Expression"] == "Apache-2.0"
    named = {line.rpartition(" ")[2] for line in metadata.get_all("Classifier") if ":: Python :: 3." in line}
    assert {"3.11", "3.12", "3.13"} <= named and not {"3.8", "3.9", "3.10"} & named


def test_the_wheel_depends_on_what_the_project_does(metadata):
    unconditional = {line for line in metadata.get_all("Requires-Dist") if "extra ==" not in line}
    assert unconditional == set(PROJECT["project"]["dependencies"])


def test_the_command_is_an_entry_point(wheel):
    assert _read(wheel, "entry_points.txt").decode().split() == [
        "[console_scripts]",
        "sgdynamics",
        "=",
        "sgdynamics.cli:main",
    ]


def test_every_file_of_the_packages_is_shipped(shipped):
    sources = {
        pathlib.PurePath(package.name, path.relative_to(ROOT / package)).as_posix()
        for package in PACKAGES
        for path in (ROOT / package).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert "sgdynamics/py.typed" in sources and any(name.endswith(".c") for name in sources)
    assert sources - shipped == set()


def test_nothing_else_is_shipped(shipped):
    top = {name.partition("/")[0] for name in shipped if ".dist-info/" not in name}
    assert top == {package.name for package in PACKAGES}
    names = {pathlib.PurePath(name).name for name in shipped}
    assert [name for name in names if name.startswith("test_") or name in ("conftest.py", "installed_example.py")] == []
    assert not any("__pycache__" in name for name in shipped)


@pytest.mark.long
def test_the_wheel_works_where_the_source_is_not(wheel, tmp_path):
    """In an environment that holds the wheel alone; what the wheel depends on is found in this one, through a path
    file, in which path files are not read: the editable source stays out."""
    venv.create(tmp_path / "env", with_pip=False)
    folder = tmp_path / "env" / ("Scripts" if os.name == "nt" else "bin")
    python = str(folder / "python")
    install = [sys.executable, "-m", "pip", "--python", python, "install", "--quiet", "--no-deps", "--no-index"]
    _succeeds([*install, str(wheel)])
    site = pathlib.Path(_succeeds([python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"]).strip())
    others = {sysconfig.get_path(kind) for kind in ("purelib", "platlib")}
    (site / "dependencies.pth").write_text("\n".join(sorted(others)), encoding="utf-8")
    here = {"cwd": tmp_path, "env": {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}}
    program = str(folder / "sgdynamics")
    assert _succeeds([program, "--version"], **here) == f"sgdynamics {sgd.__version__}\n"
    assert "gross2024/fig5b" in _succeeds([program, "list"], **here)
    imported = _succeeds([python, str(ROOT / "tests" / "installed_example.py")], **here).strip()
    assert pathlib.Path(imported) == site / "sgdynamics"
