"""The notebooks, beside the page that lists them: the site has a copy of each, and the page's links into the folder
`notebooks/` of the repository, as its viewers follow them, lead to the copies."""

import pathlib

from mkdocs.structure.files import File

FOLDER = pathlib.Path(__file__).parents[1] / "notebooks"


def on_files(files, config):
    for path in sorted(FOLDER.glob("*.ipynb")):
        files.append(File.generated(config, f"notebooks/{path.name}", abs_src_path=str(path)))
    return files


def on_page_markdown(markdown, page, **_):
    return markdown.replace("](../notebooks/", "](notebooks/") if page.file.src_uri == "notebooks.md" else markdown
