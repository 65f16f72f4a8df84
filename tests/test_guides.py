"""The guides and the corrections: every name, every experiment, every form and every link on them exists."""

import contextlib
import importlib
import inspect
import itertools
import pathlib
import re
import subprocess
import sys
import unicodedata
from functools import cache
from typing import Any

import numpy as np
import pytest

import sgdynamics as sgd
from sgdynamics import experiments

DOCS = pathlib.Path(__file__).parent.parent / "docs"
PAGES = [*sorted((DOCS / "guides").glob("*.md")), DOCS / "corrections.md"]
EXAMPLES = [page for page in PAGES if "```python" in page.read_text(encoding="utf-8")]
pages = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)

FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
CODE = re.compile(r"`([^`\n]+)`")
FULL = re.compile(r"(?<![\w./])(?:sgd|sgdynamics)((?:\.[^\W\d]\w*)+)")
SHORT = re.compile(r"((?:\.[^\W\d]\w*)+)(?:\(.*\))?")
FORM = re.compile(r"((?:sgd|sgdynamics)(?:\.\w+)+)\(form=\"(\w+)\"\)")
FAMILIES = ("beyond", "corlouer2026", "gross2024", "kuehn2025", "kunin2023")
EXPERIMENT = re.compile(rf"(?:{'|'.join(FAMILIES)})/\w+")
LINK = re.compile(r"\[[^\]]+\]\(([^)\s]+)\)")
HEADING = re.compile(r"^#+ +(.+?) *$", re.MULTILINE)
NUMBER = re.compile(r"[-+]?\d+\.?\d*(?:e[-+]?\d+)?")
INSTANCES = {"law": sgd.Prediction, "problem": sgd.Problem}  # names that the text takes for granted


def test_there_are_pages():
    assert len(PAGES) >= 8
    assert DOCS / "guides" / "index.md" in PAGES


@pages
def test_every_name_exists(page: pathlib.Path):
    found = missing(page.read_text(encoding="utf-8"))
    assert not found, f"{page.name} speaks of {found}"


@pages
def test_every_experiment_exists(page: pathlib.Path):
    unknown = set(mentioned(page.read_text(encoding="utf-8"))) - set(experiments.names())
    assert not unknown, f"{page.name} speaks of {sorted(unknown)}"


@pages
def test_every_form_exists(page: pathlib.Path):
    for name, form in FORM.findall(page.read_text(encoding="utf-8")):
        assert takes(resolved(name), form), f"{page.name}: {name} has no form {form!r}"


@pages
def test_every_link_leads_somewhere(page: pathlib.Path):
    for target in LINK.findall(without_fences(page.read_text(encoding="utf-8"))):
        if not target.startswith("https://"):
            assert leads(page, target), f"{page.name} links to {target}"


@pytest.mark.parametrize("page", EXAMPLES, ids=lambda page: page.stem)
@pytest.mark.long
def test_examples_print_what_the_page_shows(page: pathlib.Path):
    """In an interpreter of their own, as a reader would run them: without the tests' checks of types."""
    fences = FENCE.findall(page.read_text(encoding="utf-8"))
    code = [text for language, text in fences if language == "python"]
    shown = "".join(text for (before, _), (_, text) in itertools.pairwise(fences) if before == "python")
    command = [sys.executable, "-X", "utf8", "-c", "".join(code)]
    answer = subprocess.run(command, capture_output=True, text=True, encoding="utf-8")
    assert answer.returncode == 0, answer.stderr
    assert NUMBER.sub("#", answer.stdout).split() == NUMBER.sub("#", shown).split()
    np.testing.assert_allclose(numbers(answer.stdout), numbers(shown), rtol=1e-2, atol=1e-6)


def test_each_experiment_of_a_paper_has_its_guide():
    """All but the demonstration, which is none of a paper's."""
    spoken_of = {name for page in PAGES for name in mentioned(page.read_text(encoding="utf-8"))}
    papers = {name for name in experiments.names() if name.startswith(tuple(f"{family}/" for family in FAMILIES))}
    assert papers <= spoken_of


# --- the readers themselves: wrong names, forms and links are found --------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        "`sgd.theory.epoch.left_out`",
        "`sgd.theory.epochs.left_out`, `.left_in`",
        "```text\nsgd.nothing\n```",
        "`law.none`",
    ],
)
def test_a_name_that_does_not_exist_is_found(text: str):
    assert missing(text)


@pytest.mark.parametrize(
    "text",
    [
        "`sgd.theory.epochs.left_out(samples=3)` and `.noise_autocovariance`",
        "`sgd.networks.DeepLinear.small`, `.aligned`",
        "`law.covariance`, `problem.minimum(weight_decay=0.1)`, `law.modes.curvatures`",
        "`gross2024/fig5b`, `0.5`, `.5`",
    ],
)
def test_names_that_exist_are_not(text: str):
    assert not missing(text)


def test_wrong_forms_experiments_and_links_are_found():
    assert takes(sgd.theory.deep_linear.modewise_drift, "published_14")
    assert not takes(sgd.theory.deep_linear.modewise_drift, "published_5")
    assert not takes(sgd.theory.deep_linear.mode_diffusion, "published")
    assert mentioned("`gross2024/fig99`, `beyond/sampling`: `a/published`") == ["gross2024/fig99", "beyond/sampling"]
    index = DOCS / "guides" / "index.md"
    assert leads(index, "../corrections.md") and leads(index, "#the-papers")
    assert not leads(index, "nowhere.md") and not leads(index, "one_layer.md#nowhere")
    assert slug("Kühn and Rosenow (2025), slides") == "kuhn-and-rosenow-2025-slides"


# --- reading ---------------------------------------------------------------------------------------------------------


def missing(text: str) -> list[str]:
    """Names that do not exist: full ones anywhere, and in the text `.short` ones of the last full one's neighbours."""
    wrong = [f"sgd{name}" for name in FULL.findall(text) if resolved(f"sgd{name}") is None]
    neighbours = ""
    for span in CODE.findall(without_fences(text)):
        if full := FULL.match(span):
            neighbours = f"sgd{full[1]}".rpartition(".")[0]
        elif short := SHORT.fullmatch(span):
            wrong += [] if resolved(neighbours + short[1]) is not None else [neighbours + short[1]]
        elif (instance := INSTANCES.get(span.partition(".")[0])) and "." in span:
            name = re.split(r"\W", span)[1]
            wrong += [] if has(instance, name) else [span]
    return wrong


@cache
def resolved(name: str) -> Any:
    """What a dotted name stands for, None where there is no such thing."""
    _, *parts = name.split(".")
    found: Any = sgd
    for part in parts:
        if inspect.ismodule(found) and not hasattr(found, part):
            with contextlib.suppress(ImportError):
                importlib.import_module(f"{found.__name__}.{part}")
        if not has(found, part):
            return None
        found = getattr(found, part, has)  # a field without a default has no value on its class
    return found


def has(thing: Any, name: str) -> bool:
    return hasattr(thing, name) or name in getattr(thing, "__dataclass_fields__", {})


def takes(function: Any, form: str) -> bool:
    """Whether `form` is one of the function's: its argument, and a word of the module that has it."""
    function = inspect.unwrap(function)
    inside = inspect.getsource(sys.modules[function.__module__])
    return "form" in inspect.signature(function).parameters and f'"{form}"' in inside


def mentioned(text: str) -> list[str]:
    """Experiments by name, in the text and in code."""
    return [name for span in CODE.findall(text) for name in EXPERIMENT.findall(span)]


def leads(page: pathlib.Path, target: str) -> bool:
    file, _, anchor = target.partition("#")
    there = (page.parent / file).resolve() if file else page
    if not there.is_file():
        return False
    headings = HEADING.findall(without_fences(there.read_text(encoding="utf-8"))) if there.suffix == ".md" else []
    return not anchor or anchor in map(slug, headings)


def slug(heading: str) -> str:
    """A heading's anchor, as Python-Markdown's table of contents makes it."""
    plain = unicodedata.normalize("NFKD", heading).encode("ascii", "ignore").decode()
    return re.sub(r"[-\s]+", "-", re.sub(r"[^\w\s-]", "", plain).strip().lower())


def without_fences(text: str) -> str:
    return FENCE.sub("", text)


def numbers(text: str) -> list[float]:
    return [float(number) for number in NUMBER.findall(text)]
