"""Executes notebooks in place, with the sizes that they are kept with, and notes in each what made its outputs.

`metadata.sgdynamics.made_by` is a digest of the code cells: a test holds it against those that the notebook has, so
that outputs of earlier code are noticed. Pictures get words beside them, those of `plotting.described`: as the plain
text of the output, in place of "<Figure size 880x320 with 2 Axes>", and as `alt` in its metadata, where nbconvert looks
for it.
"""

import hashlib
import json
import os
import pathlib
import sys

import nbclient
import nbformat

# a method, because `%matplotlib inline` takes away what is registered for figures
WORDS = """
import matplotlib.figure
def _words(figure, printer, cycle):
    from sgdynamics import plotting
    printer.text(plotting.described(figure) or repr(figure))
matplotlib.figure.Figure._repr_pretty_ = _words
del _words, matplotlib
"""


def made_by(notebook):
    """The digest of a notebook's code: other sources, or another order of them, have another."""
    sources = [cell.source for cell in notebook.cells if cell.cell_type == "code"]
    return hashlib.sha256(json.dumps(sources).encode()).hexdigest()


class Described(nbclient.NotebookClient):
    """A client whose kernel tells figures in words."""

    async def async_start_new_kernel_client(self):
        client = await super().async_start_new_kernel_client()
        client.execute(WORDS, silent=True, store_history=False)
        return client


def executed(notebook, folder, *, seconds=600):
    """The notebook, executed in `folder`, with words for its pictures and the digest of its code."""
    how = {"timeout": seconds, "kernel_name": "python3", "record_timing": False, "coalesce_streams": True}
    Described(notebook, **how, resources={"metadata": {"path": folder}}).execute()
    for output in (output for cell in notebook.cells for output in cell.get("outputs", ())):
        if "image/png" in output.get("data", {}):
            output.metadata.setdefault("image/png", {})["alt"] = output.data["text/plain"]
    notebook.metadata["sgdynamics"]["made_by"] = made_by(notebook)
    return notebook


def main(paths):
    for path in map(pathlib.Path, paths):
        print(path, flush=True)
        notebook = executed(nbformat.read(path, as_version=4), path.parent)
        partial = path.with_suffix(".partial")
        nbformat.write(notebook, partial)
        os.replace(partial, path)


if __name__ == "__main__":
    main(sys.argv[1:])
