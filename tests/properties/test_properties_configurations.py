"""Configurations of every experiment and results of any data come back from files as they were."""

import json
import math
import typing

import matrices
import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

import example_experiment
from sgdynamics import experiments
from sgdynamics.experiments import _config

varied = settings(deadline=None, max_examples=100, derandomize=True, database=None, phases=matrices.PHASES)


@pytest.mark.parametrize("preset", ["quick", "paper"])
def test_every_preset_comes_back(preset):
    for name in experiments.names():
        experiment = experiments.get(name)
        config = experiment.presets.get(preset, experiment.presets["quick"])
        stored = json.dumps(_config.to_mapping(config), allow_nan=False)
        assert _config.from_mapping(experiment.config, json.loads(stored)) == config


@varied
@given(st.data())
def test_every_experiments_configuration_with_a_changed_field_comes_back(data):
    """Of what its own check lets pass; ints, floats, words and tuples near the preset's."""
    experiment = experiments.get(data.draw(st.sampled_from(experiments.names())))
    config = experiment.preset("quick")
    name = data.draw(st.sampled_from(sorted(typing.get_type_hints(experiment.config))))
    value = data.draw(changed(getattr(config, name)))
    try:
        config = _config.updated(config, {name: value})
    except ValueError:
        return
    again = _config.from_mapping(experiment.config, json.loads(json.dumps(_config.to_mapping(config))))
    assert again == config and getattr(again, name) == value


def changed(value):
    """Values like this one; configurations within it as they are."""
    if isinstance(value, bool):
        return st.booleans()
    if isinstance(value, int):
        return st.integers(max(value - 3, 0), value + 10)
    if isinstance(value, float):
        return st.floats(0.5, 2).map(lambda factor: value * factor)
    if isinstance(value, str):
        return st.text(st.characters(codec="utf-8"), max_size=8)
    if isinstance(value, tuple):
        return st.tuples(*map(changed, value)) | st.just(value[:1])
    return st.just(value)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("results") / "result"


words = st.text(st.characters(codec="utf-8", exclude_characters="\x00"), min_size=1, max_size=12)
numbers = st.floats() | st.sampled_from([math.nan, math.inf, -math.inf, -0.0, 5e-324])


@settings(varied, max_examples=20)
@given(words, words, st.lists(numbers, max_size=5), st.sampled_from([float, np.float32, int, bool]), st.integers(0, 3))
def test_a_result_of_any_data_comes_back(folder, label, note, values, kind, empty):
    """Names of any alphabet, numbers that are not finite, axes without entries, other types than floats."""
    finite = kind in (int, bool)
    with np.errstate(over="ignore"):
        array = np.array([int(math.isfinite(x)) if finite else x for x in values], kind)
    described = {"units": label, "long_name": note}
    data = xr.Dataset(
        {"größe": ("zeit", array, described), "leer": (("a", "b"), np.zeros((empty, 0)), described)},
        {"zeit": ("zeit", np.arange(len(array)), described)},
    )
    parameters = {"word": note, "numbers": [x for x in values if math.isfinite(x)]}
    claim = example_experiment.claim(note=note)
    record = experiments.Record(label, label, parameters, {"commit": None}, data, (claim,))
    experiments.save(folder, record)
    again = experiments.load(folder)
    xr.testing.assert_identical(again.data, data)
    assert all(again.data[name].dtype == data[name].dtype for name in data)
    assert (again.experiment, again.parameters, again.claims) == (label, parameters, (claim,))
