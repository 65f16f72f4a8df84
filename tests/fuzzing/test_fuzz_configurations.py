"""A configuration from a file: it is made, or a `ValueError` names the field, its value and what is allowed."""

import dataclasses
import json
import typing

import mutations
import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

import example_experiment
from sgdynamics import experiments
from sgdynamics.experiments import _config

CONFIG = example_experiment.Config
WHOLE = json.dumps(_config.to_mapping(CONFIG(optional=example_experiment.Inner(3)))).encode()
NAMES = experiments.names()
fuzzed = settings(deadline=None, max_examples=120, derandomize=True, database=None)


def read(kind, entries):
    """The configuration, checked to be one; None where it was refused as it should be."""
    with mutations.no_hang():
        try:
            config = _config.from_mapping(kind, entries)
        except ValueError as error:
            assert "must be" in str(error) or "has no field" in str(error) or "lacks the fields" in str(error)
            return None
    for field in dataclasses.fields(config):
        assert well_formed(typing.get_type_hints(kind)[field.name], getattr(config, field.name))
    json.dumps(_config.to_mapping(config), allow_nan=False)
    return config


def well_formed(hint, value):
    """Whether a value is what an annotation says, by rules of its own."""
    if isinstance(value, tuple):
        kinds = typing.get_args(hint)
        kinds = kinds[:1] * len(value) if kinds[1:] == (...,) else kinds
        return len(kinds) == len(value) and all(map(well_formed, kinds, value))
    return type(value) in (typing.get_args(hint) or (hint,))


@fuzzed
@given(st.dictionaries(st.sampled_from([*CONFIG.__dataclass_fields__, "stepz"]) | st.text(max_size=8), mutations.JSON))
@example({"inner": None})
def test_any_json_is_a_configuration_or_refused(entries):
    read(CONFIG, entries)


@fuzzed
@given(st.sampled_from(["steps", "learning_rate", "widths", "inner", "optional", "inner.substeps"]), mutations.JSON)
def test_any_value_of_a_field(path, value):
    entries = {"inner": {"substeps": value}} if path == "inner.substeps" else {path: value}
    read(CONFIG, entries)
    with mutations.no_hang():
        try:
            config = _config.updated(CONFIG(), {path: value})
        except ValueError:
            return
    assert well_formed(CONFIG, config)


@fuzzed
@given(mutations.broken(WHOLE))
def test_a_broken_file_that_is_still_json(content):
    try:
        entries = json.loads(content)
    except ValueError:
        return
    read(CONFIG, entries)


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ({"steps": "many"}, r"^steps = 'many', but it must be a whole number of at most 64 bits\.$"),
        ({"steps": 1.5}, "steps = 1.5, but it must be a whole number"),
        ({"steps": True}, "steps = True"),
        ({"steps": 2**63}, "steps = 9223372036854775808, but it must be a whole number of at most 64 bits"),
        ({"learning_rate": float("nan")}, "learning_rate = nan, but it must be a finite number"),
        ({"learning_rate": None}, "learning_rate = None, but it must be a finite number"),
        ({"widths": 3}, "widths = 3, but it must be a list"),
        ({"widths": [2, "x"]}, "widths = 'x', but it must be a whole number"),
        ({"inner": {"substeps": []}}, r"inner\.substeps = \[\], but it must be a whole number"),
        ({"inner": 3}, "inner = 3, but it must be a mapping of the fields of Inner"),
        ({"optional": 3}, "optional = 3, but it must be a mapping"),
        ({"stepz": 3}, "Did you mean steps"),
    ],
)
def test_what_is_wrong_is_named(entries, message):
    with pytest.raises(ValueError, match=message):
        _config.from_mapping(CONFIG, entries)


def test_a_field_without_a_default_must_be_there():
    @dataclasses.dataclass(frozen=True)
    class Bare:
        steps: int
        pair: tuple[float, int] = (1.0, 2)
        word: typing.Literal["a", "b"] = "a"

    with pytest.raises(ValueError, match=r"Bare lacks the fields \['steps'\]"):
        _config.from_mapping(Bare, {})
    with pytest.raises(ValueError, match=r"pair = \[1\], but it must be a list of 2 values"):
        _config.from_mapping(Bare, {"steps": 1, "pair": [1]})
    with pytest.raises(ValueError, match="word = 'c', but it must be one of 'a', 'b'"):
        _config.from_mapping(Bare, {"steps": 1, "word": "c"})
    read_back = _config.from_mapping(Bare, {"steps": 3.0, "pair": [1, 2]})
    assert read_back == Bare(3) and type(read_back.steps) is int and type(read_back.pair[0]) is float


@pytest.mark.parametrize("value", [float("nan"), float("-inf"), 2**63, "\ud800"])
def test_what_json_cannot_hold_is_refused_before_a_run(value):
    @dataclasses.dataclass(frozen=True)
    class Odd:
        inner: typing.Any = None

    for config in (Odd(value), Odd((value,)), Odd(Odd(value))):
        with pytest.raises(ValueError, match=r"inner = .* must be"):
            _config.to_mapping(config)


@settings(deadline=None, max_examples=150, derandomize=True, database=None)
@given(st.data())
def test_every_experiments_fields_refuse_what_is_not_of_their_type(data):
    experiment = experiments.get(data.draw(st.sampled_from(NAMES)))
    hints = typing.get_type_hints(experiment.config)
    name = data.draw(st.sampled_from(sorted(hints)))
    value = data.draw(mutations.JSON)
    assume(not taken(hints[name], value))
    with pytest.raises(ValueError, match=name), mutations.no_hang():
        _config.updated(experiment.preset("quick"), {name: value})


def taken(hint, value) -> bool:
    """Whether JSON's value may be one of that type: then the experiment's own check has the word."""
    if typing.get_origin(hint) is tuple or dataclasses.is_dataclass(hint):
        return isinstance(value, list | dict)
    kinds = typing.get_args(hint) or (hint,)
    numbers = isinstance(value, int | float) and not isinstance(value, bool) and (int in kinds or float in kinds)
    return numbers or type(value) in kinds
