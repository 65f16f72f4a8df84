"""Every line of `long.txt` names a test that there is."""

import pathlib
import re

import processor_seconds

LISTED = list(processor_seconds.listed())


def exists(name):
    file, function = name.partition("[")[0].split("::")[:2]
    path = pathlib.Path(__file__).parents[1] / file
    return path.is_file() and re.search(rf"^\s*(async )?def {function}\(", path.read_text(encoding="utf-8"), re.M)


def test_every_listed_test_is_there():
    assert LISTED == sorted(set(LISTED))
    assert [name for name in LISTED if not exists(name)] == []
    assert not exists("tests/test_long_list.py::test_of_nothing")
