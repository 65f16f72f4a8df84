"""Every notebook runs, with the small sizes that it names itself; and what is kept in it was made by its own code."""

import pathlib

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


def test_a_notebook_that_fails_is_caught(tmp_path: pathlib.Path):
    sizes = nbformat.v4.new_code_cell("N = 1", metadata={"tags": ["parameters"]})
    fails = nbformat.v4.new_code_cell("assert N == 1")
    notebook = nbformat.v4.new_notebook(cells=[sizes, fails], metadata={"sgdynamics": {"small": {"N": 2}}})
    with pytest.raises(nbclient.exceptions.CellExecutionError):
        executed(with_small_sizes(notebook), tmp_path)
