"""The same configuration again finds its result; another configuration, or other code, does not."""

import importlib.util
import json
from dataclasses import replace

import pytest
import xarray as xr

import example_experiment
from sgdynamics import _versions, experiments
from sgdynamics.experiments import Silence
from sgdynamics.experiments._earlier import source


class Counted:
    """The example's experiment, which counts how often it computes."""

    def __init__(self, monkeypatch):
        self.times, self.told = 0, []
        self.experiment = replace(example_experiment.install(monkeypatch), run=self.run)

    def run(self, config, progress):
        self.times += 1
        return example_experiment.run(config, progress)

    def __call__(self, folder, force=False, figure=False, **fields):
        """The outcome with these parameters."""
        config = replace(self.experiment.preset("quick"), **fields)
        plan = experiments.plan(self.experiment, config, out=folder, figure=figure, force=force)
        return experiments.execute(plan, Silence(), self.told.append)


@pytest.fixture
def example(monkeypatch) -> Counted:
    return Counted(monkeypatch)


def edit(folder, **provenance):
    """Writes over the provenance of a stored result; None leaves an entry out."""
    path = folder / "config.json"
    config = json.loads(path.read_text())
    entries = config["provenance"] | provenance
    config["provenance"] = {name: value for name, value in entries.items() if value is not None}
    path.write_text(json.dumps(config))


def test_the_same_configuration_finds_its_result(example, tmp_path):
    first, second = example(tmp_path / "r"), example(tmp_path / "r")
    assert example.times == 1 and example.told == []
    assert first.found is None and second.found == experiments.load(tmp_path / "r").provenance["started"]
    xr.testing.assert_identical(first.result.data, second.result.data)
    assert list(first.result.claims) == list(second.result.claims)
    assert first.result.ensembles == second.result.ensembles
    assert example.experiment.table(first.result) == example.experiment.table(second.result)


def test_force_repeats_and_says_so(example, tmp_path):
    example(tmp_path / "r")
    assert example(tmp_path / "r", force=True).found is None
    assert example.times == 2 and example.told == ["computed again: --force"]


def test_run_takes_force(example, tmp_path):
    run = lambda **more: experiments.run("example/tiny", out=tmp_path / "r", progress=Silence(), figure=False, **more)
    assert [run().found is None, run().found is None, run(force=True).found is None] == [True, False, True]


def test_another_configuration_replaces_the_result_and_says_what_differs(example, tmp_path):
    example(tmp_path / "r")
    inner = example_experiment.Inner(2)
    example(tmp_path / "r", steps=9, inner=inner, widths=(4,), optional=inner)
    words = "steps 10 → 9, widths [2, 3] → [4], inner.substeps 8 → 2, optional None → –, 1 more"
    assert example.times == 2 and example.told == [f"replaces the result of other parameters: {words}"]
    assert experiments.load(tmp_path / "r").parameters["steps"] == 9


def test_another_experiments_result_is_named(example, tmp_path):
    example(tmp_path / "r")
    example.experiment = replace(example.experiment, name="example/other")
    example(tmp_path / "r")
    assert example.times == 2 and example.told == ["replaces the result of another experiment, example/tiny"]


def test_a_damaged_result_is_computed_again(example, tmp_path):
    example(tmp_path / "r")
    path = tmp_path / "r" / "data.nc"
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    example(tmp_path / "r")
    assert example.times == 2 and "cannot be read" in example.told[0] and "data.nc" in example.told[0]
    assert example(tmp_path / "r").found


def test_a_figure_that_was_not_drawn_is_drawn_from_what_is_stored(example, tmp_path):
    example(tmp_path / "r")
    assert not (tmp_path / "r" / "figure.png").exists()
    example(tmp_path / "r", figure=True)
    assert example.times == 1 and (tmp_path / "r" / "figure.png").read_bytes().startswith(b"\x89PNG")


# --- other code -----------------------------------------------------------------------------------------------

OLD = {"source_sha256": None}  # of before there were digests


@pytest.mark.parametrize(
    ("stored", "now", "told"),
    [
        ({"versions": {"sgdynamics": "0.0.1"}}, "a" * 40, "the result is of sgdynamics 0.0.1, and this is"),
        ({"versions": 3}, "a" * 40, "the result is of sgdynamics None"),
        ({"source_sha256": "0" * 64, "commit": "b" * 40}, "a" * 40, "source has changed since (commit bbbbbbbbb → "),
        ({"source_sha256": "0" * 64, "commit": "a" * 40}, "a" * 40 + "+changes", "→ aaaaaaaaa+changes)"),
        (OLD | {"commit": "b" * 40}, "a" * 40, "may have changed since (commit bbbbbbbbb → aaaaaaaaa)"),
        (OLD | {"commit": "a" * 40}, "a" * 40 + "+changes", "may have changed"),
        (OLD | {"commit": "a" * 40 + "+changes"}, "a" * 40 + "+changes", "may have changed"),
        (OLD | {"commit": None}, "a" * 40, "may have changed since (commit unknown → aaaaaaaaa)"),
    ],
)  # fmt: skip
def test_a_result_of_other_code_is_computed_again(example, tmp_path, monkeypatch, stored, now, told):
    example(tmp_path / "r")
    edit(tmp_path / "r", **stored)
    monkeypatch.setattr(_versions, "commit", lambda: now)
    example(tmp_path / "r")
    assert example.times == 2 and len(example.told) == 1
    assert example.told[0].startswith("computed again: ") and told in example.told[0]


@pytest.mark.parametrize(
    ("stored", "now"),
    [
        ({"commit": "b" * 40}, "a" * 40 + "+changes"),  # the same source by its digest: what else changed is no matter
        (OLD | {"commit": "a" * 40}, "a" * 40),
        (OLD | {"commit": None}, None),
    ],
)
def test_a_result_of_the_same_code_is_found(example, tmp_path, monkeypatch, stored, now):
    example(tmp_path / "r")
    edit(tmp_path / "r", **stored)
    monkeypatch.setattr(_versions, "commit", lambda: now)
    assert example(tmp_path / "r").found and example.times == 1


def test_an_experiment_of_the_users_own_is_known_by_its_file(example, tmp_path):
    def imported(words):
        path = tmp_path / "mine.py"
        path.write_text(f"def run(config, progress):\n    '''{words}'''\n")
        spec = importlib.util.spec_from_file_location("mine", path)
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return replace(example.experiment, run=module.run)

    one, again, other = source(imported("one")), source(imported("one")), source(imported("other"))
    assert one == again != other


def test_an_experiment_without_a_file_is_computed_again(example, tmp_path):
    scope = {"tiny": example_experiment.run}
    exec("def run(config, progress):\n    return tiny(config, progress)", scope)
    example.experiment = replace(example.experiment, run=scope["run"])
    example(tmp_path / "r")
    assert example(tmp_path / "r").found is None and "source cannot be read" in example.told[0]


def test_the_digest_is_that_of_every_file_of_the_library(monkeypatch, tmp_path):
    monkeypatch.setattr(_versions, "_SOURCE", tmp_path)

    def digest(**files):
        for name, text in files.items():
            (tmp_path / f"{name}.py").write_text(text)
        _versions._library.cache_clear()
        return _versions.digest()

    assert len({digest(a="1"), digest(a="2"), digest(b="2"), digest(b="3")}) == 4
    assert digest(a="1", b="2") == digest(a="1", b="2")
    monkeypatch.undo()
    _versions._library.cache_clear()
