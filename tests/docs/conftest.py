"""The pages' code takes minutes, and runs where it is asked for: `make docs-test`, or `pytest tests/docs`."""

import pathlib

HERE = pathlib.Path(__file__).parent


def pytest_ignore_collect(collection_path, config):
    """Everything here is left out, unless the command names this folder or something in it."""
    # where nothing is named pytest takes `testpaths` for it
    named = [pathlib.Path(config.rootpath, argument.split("::")[0]).resolve() for argument in config.args]
    if collection_path.name.startswith("test_") and not any(path.is_relative_to(HERE) for path in named):
        return True
    return None
