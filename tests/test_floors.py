"""The floors of the design: a module imports from lower floors and from its own package.

Read from the text of every file, so that an import inside a function counts as well. The same rules are held
against made-up files that break them.
"""

import ast
import pathlib
import subprocess
import sys

import pytest

import sgdynamics

SOURCE = pathlib.Path(sgdynamics.__file__).parent
FACADE = ""

FLOORS = {
    0: {"_linalg", "_minimise", "_random", "_types", "_checks", "_atomic", "_versions"},
    1: {"theory", "data", "networks", "samplers"},
    2: {"_problem"},
    3: {"noise"},
    4: {"dynamics"},
    5: {"statistics"},
    6: {"ensemble"},
    7: {"_predict", "_compare", "_sensitivity", "_fit", "_design", "_sweep"},
    8: {"plotting"},
    9: {"experiments"},
    10: {"cli"},
}
FLOOR = {room: floor for floor, rooms in FLOORS.items() for room in rooms}
# on one floor, but one way only: checks serve linear algebra; a sampler tells finite data from a stream
NEIGHBOURS = {("_linalg", "_checks"), ("samplers", "data"), ("_compare", "_predict")}
NEIGHBOURS |= {(room, "_sensitivity") for room in ("_fit", "_design", "_sweep")}
COMPARISON = 7  # the lowest floor that may see theory beside simulation

# the only rooms that may import a package at all, and those that may do so only inside functions
EXTRAS = {"matplotlib": {"plotting"}, "sklearn": {"data"}, "pooch": {"data"}}
STORES = {"orbax": {"ensemble"}, "zarr": {"ensemble"}, "filelock": {"ensemble", "experiments"}, "psutil": {"ensemble"}}
RESERVED = {"diffrax": {"dynamics"}, "tyro": {"cli"}} | EXTRAS | STORES
LAZY = {"sklearn", "pooch", "orbax", "zarr"}
FORBIDDEN = ("jax._src", "jax.core", "equinox.internal", "eqx.internal", "pickle", "cloudpickle", "joblib")


def violations(path: str, text: str) -> list[str]:
    """What breaks the rules in a file at `path` (relative to the package) with this text."""
    tree = ast.parse(text)
    room = _room_of_path(path)
    found = []
    for name, lazy in _imports(tree, path):
        found += [f"{path} imports {name}: {reason}" for reason in _reasons(room, name, lazy)]
    for name in {_dotted(node) for node in ast.walk(tree) if isinstance(node, ast.Attribute)}:
        found += [f"{path} uses {name}: private or unsafe"] if _forbidden(name) else []
    return found


def _reasons(room: str, name: str, lazy: bool) -> list[str]:
    """Why the room may not import the module called `name`."""
    package, _, rest = name.partition(".")
    if _forbidden(name):
        return ["private or unsafe"]
    if package == "sgdynamics":
        return _reasons_inside(room, rest.partition(".")[0])
    if package in RESERVED and room not in RESERVED[package]:
        return [f"only {', '.join(RESERVED[package])} may"]
    return ["only inside a function"] if package in LAZY and not lazy else []


def _reasons_inside(room: str, other: str) -> list[str]:
    if other == room or (room, other) in NEIGHBOURS:
        return []
    if room == FACADE:
        return [] if FLOOR.get(other, 99) <= COMPARISON else ["the façade shows floors up to 7"]
    if other == FACADE:
        return [] if FLOOR[room] > COMPARISON else ["the façade lies above"]
    if other not in FLOOR:
        return ["it has no floor: add it to the design's table and to this test"]
    reasons = ["not on a lower floor"] if FLOOR[other] >= FLOOR[room] else []
    return reasons + (["the oracle must stay apart"] if other == "theory" and FLOOR[room] < COMPARISON else [])


def _imports(tree: ast.Module, path: str):
    """Every imported module by its full name, and whether the import stands inside a function."""
    inside = {
        id(child)
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        for child in ast.walk(node)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, id(node) in inside) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = _absolute(node, path)
            # `from sgdynamics import x` may name a module or a thing of the façade; a module has a floor
            names = [f"{base}.{alias.name}" for alias in node.names] if base == "sgdynamics" else [base]
            if base in ("jax", "equinox"):
                names = [f"{base}.{alias.name}" for alias in node.names]
            yield from ((_module(name), id(node) in inside) for name in names)


def _module(name: str) -> str:
    """`sgdynamics` itself where `name` is something of its façade that is no module."""
    package, _, rest = name.partition(".")
    is_module = any((SOURCE / f"{rest}{end}").exists() for end in (".py", "/__init__.py")) or rest in FLOOR
    return package if package == "sgdynamics" and rest and "." not in rest and not is_module else name


def _absolute(node: ast.ImportFrom, path: str) -> str:
    if not node.level:
        return node.module or ""
    package = ["sgdynamics", *pathlib.PurePath(path).parent.parts]
    base = package[: len(package) - node.level + 1]
    return ".".join([*base, *([node.module] if node.module else [])])


def _dotted(node: ast.expr) -> str:
    if isinstance(node, ast.Attribute):
        return f"{_dotted(node.value)}.{node.attr}"
    return node.id if isinstance(node, ast.Name) else "?"


def _forbidden(name: str) -> bool:
    return any(name == bad or name.startswith(f"{bad}.") for bad in FORBIDDEN)


def _room_of_path(path: str) -> str:
    first = pathlib.PurePath(path).parts[0].removesuffix(".py")
    return FACADE if first == "__init__" else first


FILES = sorted(path.relative_to(SOURCE).as_posix() for path in SOURCE.rglob("*.py"))


@pytest.mark.parametrize("path", FILES)
def test_every_file_keeps_to_its_floor(path):
    assert violations(path, (SOURCE / path).read_text(encoding="utf-8")) == []


def test_every_room_has_a_floor():
    assert {_room_of_path(path) for path in FILES} <= set(FLOOR) | {FACADE}


@pytest.mark.parametrize(
    ("path", "text", "reason"),
    [
        ("data/_x.py", "from ..theory import ou", "oracle"),
        ("ensemble/_x.py", "from sgdynamics.theory.ou import OrnsteinUhlenbeck", "oracle"),
        ("statistics/_x.py", "def f():\n    from sgdynamics import theory", "oracle"),
        ("theory/regression/_x.py", "from ... import data", "lower floor"),
        ("theory/ou.py", "import sgdynamics.samplers", "lower floor"),
        ("noise/_x.py", "from ..dynamics._solve import solve", "lower floor"),
        ("_problem.py", "from .noise import Frozen", "lower floor"),
        ("data/_x.py", "from ..samplers import Epochs", "lower floor"),
        ("_checks.py", "from . import _linalg", "lower floor"),
        ("_predict.py", "from ._compare import compare", "lower floor"),
        ("plotting/_x.py", "from ..experiments import load", "lower floor"),
        ("experiments/_x.py", "from .. import cli", "lower floor"),
        ("dynamics/_x.py", "import sgdynamics as sgd", "façade"),
        ("dynamics/_x.py", "from sgdynamics import SGD", "façade"),
        ("__init__.py", "from . import experiments", "façade"),
        ("noise/_x.py", "from .. import _novelty", "façade"),
        ("experiments/_x.py", "import matplotlib.figure", "only plotting"),
        ("ensemble/_x.py", "def f():\n    from diffrax import diffeqsolve", "only dynamics"),
        ("data/_x.py", "from sklearn.datasets import load_digits", "inside a function"),
        ("theory/_x.py", "def f():\n    import sklearn", "only data"),
        ("_linalg/_x.py", "from jax._src import core", "private"),
        ("_linalg/_x.py", "from jax import core", "private"),
        ("_linalg/_x.py", "import jax\njax.core.Tracer", "private"),
        ("_linalg/_x.py", "import equinox as eqx\neqx.internal.while_loop()", "private"),
        ("experiments/_x.py", "import pickle", "unsafe"),
    ],
)
def test_a_file_that_breaks_a_rule_is_caught(path, text, reason):
    assert any(reason in found for found in violations(path, text))


@pytest.mark.parametrize(
    ("path", "text"),
    [
        (
            "experiments/_x.py",
            "import sgdynamics as sgd\nfrom ..theory import ou\nfrom ..plotting import draw",
        ),
        ("_predict.py", "from .theory import ou\nfrom .dynamics import SGD\nfrom . import _checks"),
        ("theory/regression/_x.py", "from .. import ou\nfrom ._y import z\nfrom ..._linalg import expm"),
        ("data/_digits.py", "def digits():\n    from sklearn.datasets import load_digits"),
        ("__init__.py", "from . import theory\nfrom ._predict import predict"),
    ],
)
def test_a_file_that_keeps_the_rules_passes(path, text):
    assert violations(path, text) == []


WITHOUT = """
import importlib.abc, sys

class Missing(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("matplotlib", "sklearn", "pooch"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Missing())
"""


def _without_extras(code: str) -> subprocess.CompletedProcess:
    """Runs code in a fresh interpreter where matplotlib and scikit-learn cannot be imported."""
    return subprocess.run([sys.executable, "-c", WITHOUT + code], capture_output=True, text=True, timeout=120)


def test_the_library_imports_without_its_extras():
    rooms = [
        "sgdynamics",
        *(f"sgdynamics.{room}" for room in FLOOR if room in {_room_of_path(p) for p in FILES}),
    ]
    wanted = [room for room in rooms if room != "sgdynamics.plotting"]
    answer = _without_extras(f"import {', '.join(wanted)}")
    assert answer.returncode == 0, answer.stderr


def test_plotting_without_matplotlib_names_the_extra():
    answer = _without_extras("import sgdynamics.plotting")
    assert answer.returncode == 1 and "pip install 'sgdynamics[plot]'" in answer.stderr
