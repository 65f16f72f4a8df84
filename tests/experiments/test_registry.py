"""Experiments by name; configurations to JSON and back; runs stored with what it takes to repeat them."""

import json
from dataclasses import dataclass, replace

import jaxtyping
import pytest
import xarray as xr

import example_experiment
from sgdynamics import experiments
from sgdynamics._versions import commit
from sgdynamics.experiments import _config


@pytest.fixture
def example(monkeypatch):
    return example_experiment.install(monkeypatch)


def test_get_and_names(example):
    assert experiments.get("example/tiny") is example
    assert experiments.names() == ["example/tiny"]


def test_an_unknown_name_suggests_near_ones(example):
    with pytest.raises(ValueError, match="Did you mean example/tiny"):
        experiments.get("exmaple/tiny")


def test_a_name_is_given_once(example):
    with pytest.raises(ValueError, match="registered already"):
        experiments.register(example)


def test_presets(example):
    assert example.preset("paper").steps == 20
    with pytest.raises(ValueError, match="quick, paper"):
        example.preset("fast")
    with pytest.raises(ValueError, match="quick"):
        replace(example, presets={})
    with pytest.raises(ValueError, match="dataclass"):
        replace(example, config=dict)


def test_configuration_round_trip():
    config = example_experiment.Config(widths=(4, 5, 6), optional=example_experiment.Inner(2))
    stored = json.loads(json.dumps(_config.to_mapping(config)))
    assert _config.from_mapping(example_experiment.Config, stored) == config


def test_overrides_are_checked_together():
    """Fewer ratios of larger data: each alone does not go with what is there."""
    config = experiments.get("gross2024/fig2a").preset("quick")
    together = {"inputs": (5, 8, 12), "ratios": (1.5, 3.0, 6.0, 10.0, 20.0), "samples": 60, "large": 6.0}
    assert _config.updated(config, together).inputs == (5, 8, 12)
    with pytest.raises(ValueError, match="ratios = "):
        _config.updated(config, {"inputs": (5, 8, 12)})


def test_overrides_reach_nested_fields_and_check_themselves():
    config = _config.updated(example_experiment.Config(), {"inner.substeps": 2, "learning_rate": 0.5})
    assert (config.inner.substeps, config.learning_rate, config.steps) == (2, 0.5, 10)
    with pytest.raises(ValueError, match="Did you mean learning_rate"):
        _config.updated(config, {"learningrate": 0.5})
    with pytest.raises(ValueError, match="Did you mean substeps"):
        _config.updated(config, {"inner.subsets": 2})
    with pytest.raises(ValueError, match="plain value"):
        _config.updated(config, {"steps.more": 2})
    with pytest.raises(ValueError, match="steps = 0"):
        _config.updated(config, {"steps": 0})


def test_a_configuration_that_json_cannot_hold_is_refused():
    @dataclass(frozen=True)
    class Odd:
        law: object = print

    with pytest.raises(ValueError, match="its values must be"):
        _config.to_mapping(Odd())


def test_run_stores_what_is_needed_to_run_again(example, tmp_path):
    overrides = {"inner.substeps": 2}
    outcome = experiments.run(
        "example/tiny",
        preset="paper",
        overrides=overrides,
        out=tmp_path / "r",
        progress=experiments.Silence(),
    )
    stored = experiments.load(outcome.folder)
    assert experiments.configuration(stored) == _config.updated(example.preset("paper"), overrides)
    xr.testing.assert_identical(stored.data, outcome.result.data)
    assert {"python", "jax", "jaxlib", "sgdynamics", "diffrax"} <= set(stored.provenance["versions"])
    assert {"devices", "platform", "commit", "started", "seconds"} <= set(stored.provenance)
    assert stored.provenance["ensembles"] == {"sgd": {"kernel": "reference"}}
    assert (outcome.folder / "figure.png").read_bytes().startswith(b"\x89PNG")


def test_what_can_be_refused_is_refused_before_it_computes(example, tmp_path):
    def never(config, progress):
        raise AssertionError("it computed")

    lazy = replace(example, run=never)
    (tmp_path / "mine.txt").write_text("")
    with pytest.raises(ValueError, match="would be lost"):
        experiments.plan(lazy, lazy.preset("quick"), out=tmp_path)
    with pytest.raises(ValueError, match="figure = none"):
        experiments.plan(replace(lazy, figure="none"), lazy.preset("quick"), out=tmp_path / "r")


def test_redraw_needs_the_folder_alone(example, tmp_path):
    outcome = experiments.run("example/tiny", out=tmp_path / "r", progress=experiments.Silence())
    path = outcome.folder / "figure.png"
    path.unlink()
    assert experiments.redraw(outcome.folder) == path and path.is_file()
    assert sorted(p.name for p in outcome.folder.iterdir()) == [
        "claims.json", "config.json", "data.nc", "figure.png"
    ]  # fmt: skip


class Recorder:
    """A progress that remembers what it was told."""

    def __init__(self):
        self.told = []

    def stage(self, name, steps):
        self.told.append((name, steps))

    def advance(self, steps=1):
        self.told.append(steps)

    def close(self):
        self.told.append("closed")


def test_progress_is_told_and_closed_even_by_an_error(example, tmp_path):
    recorder = Recorder()
    with pytest.raises(ValueError, match="a bug"):
        experiments.run("example/tiny", overrides={"steps": 13}, out=tmp_path / "r", progress=recorder)
    assert recorder.told == [("all", 13), *[1] * 13, "closed"]
    assert not (tmp_path / "r").exists()


def test_bars_write_to_standard_error_only(example, tmp_path, capsys):
    experiments.run("example/tiny", out=tmp_path / "r")
    captured = capsys.readouterr()
    assert "all: 100%" in captured.err and captured.out == ""


def test_the_commit_is_that_of_the_source_or_none():
    assert commit() is None or len(commit().split("+")[0]) == 40


@pytest.mark.parametrize(
    "name, change",
    [
        ("beyond/ivfr_depth", {"strengths": ()}),
        ("gross2024/fig9b", {"substeps": (1, 2, 3)}),
        ("corlouer2026/finite_data", {"singular_values": ()}),
        ("corlouer2026/learning_times", {"singular_values": ()}),
        ("corlouer2026/drift", {"singular_values": ()}),
        ("gross2024/fig3b", {"ratios": ()}),
        ("kuehn2025/fig21", {"momentum": -1.0}),
        ("kunin2023/fig6", {"momentum": float("nan")}),
    ],
)
def test_a_bad_value_is_refused_by_its_own_name(name, change, monkeypatch):
    # the types' own checker, which users do not have, would refuse some of these before the configuration does
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)
    (field,) = change
    with pytest.raises(ValueError, match=rf"^{field} = "):
        replace(experiments.get(name).preset("quick"), **change)
