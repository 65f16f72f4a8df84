"""Bad values on the command line: exit code 2, a message that names them, no traceback, and nothing is run."""

import contextlib
import dataclasses
import io
import json
import math

import mutations
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

import example_experiment
from sgdynamics import cli, experiments
from sgdynamics.experiments import _registry

fuzzed = settings(deadline=None, max_examples=25, derandomize=True, database=None)
ODD = ["", "nan", "inf", "-inf", "1e400", "0x10", "1_0", "１", "None", "[]", "\x00", "9" * 5_000, "--", "=", "-", " 3"]
WORDS = st.text(st.characters(codec="utf-8"), max_size=12) | st.sampled_from(ODD)


class Ran(BaseException):
    """Something was run; no command line takes it for a bad value."""


def runs(config, progress):
    raise Ran


@pytest.fixture(autouse=True, scope="module")
def example_alone():
    """The one experiment there is says so when it runs."""
    with pytest.MonkeyPatch.context() as patch:
        experiment = dataclasses.replace(example_experiment.install(patch), run=runs)
        patch.setitem(_registry._experiments, experiment.name, experiment)
        yield


@pytest.fixture(autouse=True)
def elsewhere(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)


def ended(*arguments):
    """The exit code, and what was said on standard error; None where the experiment was run."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err), mutations.no_hang():
        try:
            code = cli.main(arguments)
        except SystemExit as end:
            code = end.code
        except Ran:
            code = None
    assert "Traceback" not in err.getvalue()
    return code, err.getvalue()


def refused(*arguments):
    code, message = ended(*arguments)
    assert code == 2 and message.strip()
    return message


def is_whole(word):
    try:
        return -(2**63) < int(word) < 2**63
    except ValueError:
        return False


def is_finite(word):
    try:
        return math.isfinite(float(word))
    except ValueError:
        return False


def test_the_example_runs_where_nothing_is_wrong():
    assert ended("run", "example/tiny", "--steps", "3", "--quiet")[0] is None


@fuzzed
@given(WORDS)
@example("1e3")
@example("-5")
def test_a_whole_number_is_a_whole_number_within_64_bits_or_refused(word):
    code, message = ended("run", "example/tiny", "--inner.substeps", word, "--quiet")
    assert code == (None if is_whole(word) else 2)
    assert code is None or "substeps" in message


@fuzzed
@given(WORDS)
def test_a_number_is_finite_or_refused(word):
    code, message = ended("run", "example/tiny", f"--learning-rate={word}", "--quiet")
    assert code == (None if is_finite(word) else 2)
    assert code is None or "learning" in message


@fuzzed
@given(st.lists(WORDS, max_size=3))
@example([])
def test_lists_hold_numbers(words):
    code, message = ended("run", "example/tiny", "--quiet", "--widths", *words)
    assert code == (None if words and all(map(is_whole, words)) else 2)
    assert code is None or message.strip()


@fuzzed
@given(st.text(st.characters(codec="utf-8"), max_size=12))
@example("example/tinny")
@example("[")
@example("\x00")
def test_names_that_are_none(word):
    if not word.startswith("-"):  # an option, which `run` would take
        assert "*" in word or word in refused("run", word)
        refused("run", f"{word}*nothing")
    refused("run", "example/tiny", f"--{word}no-option", "3")
    refused("run", "example/tiny", "--preset", f"{word} no preset")
    refused(f"no-command{word}")


@pytest.mark.parametrize(
    "arguments",
    [
        ["run", "example/tiny", "--out", "\x00"],
        ["run", "example/tiny", "--out", "a" * 5_000],
        ["run", "example/tiny", "--out", "/dev/null"],
        ["run", "example/tiny", "--out", "/dev/null/x"],
        ["run", "example/tiny", "surplus"],
        ["run", "example/*", "--jobs", "0"],
        ["run", "example/*", "--jobs", "x"],
        ["run", "example/*", "--out", "\x00"],
        ["run", "example/*", "--steps", "3"],
        ["plot"],
        ["plot", ""],
        ["plot", "\x00"],
        ["plot", "a" * 5_000],
        ["plot", "/dev/null"],
        ["list", "surplus"],
        ["--version", "surplus"],
        ["bench", "--rounds", "0"],
        ["bench", "no-benchmark"],
    ],
    ids=lambda arguments: " ".join(arguments).replace("\x00", "NUL")[:40],
)
def test_other_bad_values(arguments):
    refused(*arguments)


@settings(deadline=None, max_examples=60, derandomize=True, database=None)
@given(st.data())
def test_a_broken_result_is_not_drawn(stored, data):
    """Whatever one of its files holds: drawn where it is well-formed, refused with its folder's name otherwise."""
    folder, whole = stored
    name = data.draw(st.sampled_from(sorted(whole)))
    content = data.draw(
        mutations.broken(whole[name]) | mutations.JSON.map(lambda value: json.dumps(value).encode())
    )  # fmt: skip
    for other in whole:
        (folder / other).write_bytes(content if other == name else whole[other])
    code, message = ended("plot", str(folder))
    assert code in (0, 2) and (code == 0 or str(folder) in message or "figure = " in message)
    assert code == 2 or name == "config.json" or content == whole[name]


@pytest.fixture(scope="module")
def stored(tmp_path_factory):
    """A stored result, without the time that drawing takes."""
    folder = tmp_path_factory.mktemp("stored") / "result"
    record = experiments.Record(
        "example/tiny", "tiny", {"steps": 3}, {"commit": None}, example_experiment.data(), (example_experiment.claim(),)
    )
    experiments.save(folder, record)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(experiments, "draw", lambda record, folder: folder / "figure.png")
        yield folder, {name: (folder / name).read_bytes() for name in ("data.nc", "claims.json", "config.json")}
