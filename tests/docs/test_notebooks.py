"""Every notebook runs, with the small sizes that it names itself; and what is kept in it was made by its own code."""

import pathlib
import re

import execute_notebooks
import nbclient
import nbformat
import pytest

FOLDER = pathlib.Path(__file__).parents[2] / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))
SECONDS = 600
MOST_BYTES = 700_000


def read(path):
    return nbformat.read(path, as_version=4)


def code_of(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def executed(notebook, folder=FOLDER):
    return nbclient.NotebookClient(notebook, timeout=SECONDS, kernel_name="python3", resources={
        "metadata": {"path": folder}
    }).execute()  # fmt: skip


def with_small_sizes(notebook):
    """The notebook with one cell more, after that of its sizes, which makes them small."""
    sizes = code_of(notebook)[0]
    assert sizes.metadata.get("tags") == ["parameters"], "the first cell of code must hold the sizes, tagged parameters"
    small = notebook.metadata["sgdynamics"]["small"]
    cell = nbformat.v4.new_code_cell("\n".join(f"{name} = {value!r}" for name, value in small.items()))
    notebook.cells.insert(notebook.cells.index(sizes) + 1, cell)
    return notebook


def names_assigned(source):
    names = {}
    exec(source, {}, names)
    return set(names)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs(path: pathlib.Path, tmp_path: pathlib.Path):
    executed(with_small_sizes(read(path)), tmp_path)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_is_kept_with_all_its_outputs(path: pathlib.Path):
    notebook = read(path)
    nbformat.validate(notebook)
    cells = code_of(notebook)
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1)), "not run from top to bottom"
    outputs = [output for cell in cells for output in cell.outputs]
    assert not [output for output in outputs if output.output_type == "error"]
    warned = [output.text for output in outputs if output.output_type == "stream" and output.name == "stderr"]
    assert not warned
    pictures = [output for output in outputs if "image/png" in output.get("data", {})]
    assert pictures and path.stat().st_size < MOST_BYTES


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_what_is_kept_was_made_by_the_code_that_is_there(path: pathlib.Path):
    notebook = read(path)
    made_by = notebook.metadata["sgdynamics"].get("made_by")
    assert made_by == execute_notebooks.made_by(notebook), "its code has changed since, or is new: run `make notebooks`"
    for output in (output for cell in code_of(notebook) for output in cell.outputs):
        if "image/png" in output.get("data", {}):
            assert output.metadata["image/png"]["alt"] == output.data["text/plain"]
            assert not output.data["text/plain"].startswith("<Figure")


def test_other_code_has_another_digest():
    cells = [nbformat.v4.new_code_cell(source) for source in ("a = 1", "b = 2")]
    of = lambda *cells: execute_notebooks.made_by(nbformat.v4.new_notebook(cells=list(cells)))
    words = nbformat.v4.new_markdown_cell("words")
    assert of(*cells) == of(cells[0], words, cells[1])
    assert len({of(*cells), of(*cells[::-1]), of(cells[0]), of(nbformat.v4.new_code_cell("a = 1b = 2"))}) == 4


@pytest.mark.long
def test_an_executed_notebook_tells_its_pictures_and_what_made_it(tmp_path: pathlib.Path):
    draws = """%matplotlib inline
from sgdynamics import plotting
figure, [[axes]] = plotting.panels()
plotting.theory(axes, [0, 1], [1, 2], "exact")
axes.set(xlabel="time", ylabel="loss", title="A line")
figure"""
    sources = ("N = 1", draws, "import matplotlib.pyplot as plt\nplt.plot([1, 2]); plt.title('Another')\nplt.show()")
    cells = [nbformat.v4.new_code_cell(source) for source in sources]
    path = tmp_path / "tiny.ipynb"
    nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata={"sgdynamics": {"small": {}}}), path)
    execute_notebooks.main([path])
    notebook = read(path)
    nbformat.validate(notebook)
    assert notebook.metadata["sgdynamics"]["made_by"] == execute_notebooks.made_by(notebook)
    assert [cell.execution_count for cell in notebook.cells] == [1, 2, 3]
    shown = [output for cell in notebook.cells for output in cell.outputs if "image/png" in output.get("data", {})]
    words = ["A line: loss against time. Lines: exact.", "Another. Lines: 1 without a label."]
    assert [output.metadata["image/png"]["alt"] for output in shown] == words
    assert [output.data["text/plain"] for output in shown] == words


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_begins_with_its_question_and_its_sizes(path: pathlib.Path):
    notebook = read(path)
    assert notebook.cells[0].cell_type == "markdown" and notebook.cells[0].source.startswith("# ")
    small = notebook.metadata["sgdynamics"]["small"]
    assert set(small) <= names_assigned(code_of(notebook)[0].source)


def test_there_are_ten_and_nine_end_with_questions():
    numbered = [path for path in NOTEBOOKS if path.stem[0].isdigit()]
    assert [path.stem.split("_")[0] for path in numbered] == [str(n) for n in range(1, 10)]
    assert [path.stem for path in NOTEBOOKS if path not in numbered] == ["interactive"]
    for path in numbered:
        assert "## Questions to try" in read(path).cells[-1].source, path.stem


def test_the_page_of_notebooks_links_each():
    page = (FOLDER.parent / "docs" / "notebooks.md").read_text(encoding="utf-8")
    linked = re.findall(r"\]\(\.\./notebooks/([^)]*)\)", page)
    assert linked == [path.name for path in NOTEBOOKS]


def test_a_notebook_that_fails_is_caught(tmp_path: pathlib.Path):
    sizes = nbformat.v4.new_code_cell("N = 1", metadata={"tags": ["parameters"]})
    fails = nbformat.v4.new_code_cell("assert N == 1")
    notebook = nbformat.v4.new_notebook(cells=[sizes, fails], metadata={"sgdynamics": {"small": {"N": 2}}})
    with pytest.raises(nbclient.exceptions.CellExecutionError):
        executed(with_small_sizes(notebook), tmp_path)
