"""Every block of Python in the documentation and in the README runs."""

import pathlib
import subprocess
import sys
import types

import code_blocks
import preambles
import pytest
import yaml

TIMEOUT = 600
RUNNABLE = [
    page
    for page in code_blocks.pages()
    if any(b.is_python for b in code_blocks.blocks(page.read_text(encoding="utf-8")))
]

PAGE = """# A page

```python
x = 1
```

## Second

- in a list

  ```python
  y = x + 1
  for _ in range(2):
      y += 1
  ```

```
not = python = at all
```
"""


@pytest.mark.parametrize("page", RUNNABLE, ids=code_blocks.name_of)
def test_a_page_runs(page: pathlib.Path, tmp_path: pathlib.Path):
    command = [sys.executable, code_blocks.__file__, str(page)]
    answer = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=TIMEOUT)
    print(answer.stdout)
    assert answer.returncode == 0, answer.stdout + answer.stderr


def test_there_are_pages_to_run():
    assert len(RUNNABLE) >= 5
    assert set(preambles.PREAMBLES) <= {code_blocks.name_of(page) for page in RUNNABLE}


def test_blocks_share_a_namespace_and_know_their_place():
    first, second, third = code_blocks.blocks(PAGE)
    assert (first.line, first.heading, second.line, second.heading) == (4, "A page", 12, "Second")
    assert [block.is_python for block in (first, second, third)] == [True, True, False]
    assert code_blocks.run(PAGE, "page", {}, tell=lambda line: None)["y"] == 4


def test_a_preamble_is_run_before_the_first_block_under_its_heading():
    page = "# A\n\n```python\na = z\n```\n\n# B\n\n```python\nb = z\n```\n"
    preamble = {"": lambda names: names.update(z=1), "B": lambda names: names.update(z=2)}
    names = code_blocks.run(page, "page", preamble, tell=lambda line: None)
    assert (names["a"], names["b"]) == (1, 2)
    with pytest.raises(ValueError, match="no Python under"):
        code_blocks.run(PAGE, "page", {"C": lambda names: None}, tell=lambda line: None)


def test_a_block_that_fails_is_caught_with_its_line():
    page = "# A\n\n```python\nx = 1\n\nundefined\n```\n"
    with pytest.raises(NameError) as error:
        code_blocks.run(page, "page", {}, tell=lambda line: None)
    last = error.traceback[-1]
    assert (str(last.path).endswith("page"), last.lineno + 1) == (True, 6)


# --- the pages of the API --------------------------------------------------------------------------------------------


def test_every_public_subpackage_has_its_page():
    import sgdynamics
    from sgdynamics import experiments, plotting, theory

    ours = lambda x: isinstance(x, types.ModuleType) and x.__name__.startswith("sgdynamics")
    modules = lambda package: {name for name, x in vars(package).items() if ours(x) and name[0] != "_"}
    public = {f"sgdynamics.{name}" for name in modules(sgdynamics) | {experiments.__name__.split(".")[-1], "plotting"}}
    public |= {f"sgdynamics.theory.{name}" for name in modules(theory)} | {"sgdynamics"}
    shown = {
        line.removeprefix("::: ").strip()
        for page in (code_blocks.ROOT / "docs/api").glob("*.md")
        for line in page.read_text(encoding="utf-8").splitlines()
        if line.startswith("::: ")
    }
    assert shown == public - {"sgdynamics.cli"} and plotting.__name__ in shown


def test_the_navigation_names_every_page():
    class Loader(yaml.SafeLoader):
        pass

    Loader.add_multi_constructor("!", lambda loader, suffix, node: None)
    nav = yaml.load((code_blocks.ROOT / "mkdocs.yml").read_text(encoding="utf-8"), Loader)["nav"]
    pages = {
        page.removeprefix("docs/") for page in map(code_blocks.name_of, code_blocks.pages()) if page != "README.md"
    }
    assert set(_leaves(nav)) == pages


def _leaves(nav):
    if isinstance(nav, str):
        return [nav]
    parts = nav.values() if isinstance(nav, dict) else nav
    return [leaf for part in parts for leaf in _leaves(part)]
