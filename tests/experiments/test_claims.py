"""Verdicts follow from the numbers, each rule with its negative control."""

import json
import math

import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from sgdynamics.experiments import Claim, claims_table

HEAD = ("id", "A (2026), Eq. 1", "a statement")


def equality(measured, error, **more):
    return Claim.equality(*HEAD, measured, error, 1.0, **({"resolution": 0.1, "level": 1e-3} | more))


def rejection(measured, error, **more):
    return Claim.rejection(*HEAD, measured, error, 1.0, **({"rejected": 1.2, "level": 1e-3} | more))


@pytest.mark.parametrize(
    ("measured", "error", "verdict"),
    [
        (1.01, 0.01, "reproduced"),
        (1.10, 0.01, "not reproduced"),
        (0.90, 0.01, "not reproduced"),
        (1.10, 0.05, "undecided"),  # agrees, but would not have seen a difference of 0.1
        (9.00, 0.05, "not reproduced"),  # coarse, but wrong beyond doubt
        (math.nan, 0.01, "undecided"),
        (1.0, math.inf, "undecided"),
        (1.0, 0.0, "reproduced"),
        (1.0001, 0.0, "not reproduced"),
    ],
)
def test_equality(measured, error, verdict):
    assert equality(measured, error).verdict == verdict


def test_tolerance_is_a_stated_bias_and_no_more():
    assert equality(1.0001, 0.0, tolerance=1e-3).verdict == "reproduced"
    assert equality(1.0100, 0.0, tolerance=1e-3).verdict == "not reproduced"


@pytest.mark.parametrize(
    ("measured", "error", "verdict"),
    [
        (1.00, 0.01, "reproduced"),
        (1.19, 0.01, "not reproduced"),  # the wrong value stands: a negative control that did not fire
        (1.10, 0.10, "undecided"),
        (1.50, 0.01, "reproduced"),
    ],
)
def test_rejection(measured, error, verdict):
    assert rejection(measured, error).verdict == verdict


def test_rejection_without_an_expected_value_needs_a_resolution():
    claim = Claim.rejection(*HEAD, 1.0, 0.01, rejected=1.2, level=1e-3, resolution=0.1)
    assert claim.verdict == "reproduced" and claim.expected is None
    with pytest.raises(ValueError, match="resolution = None"):
        Claim.rejection(*HEAD, 1.0, 0.01, rejected=1.2, level=1e-3)


@pytest.mark.parametrize(
    ("measured", "side", "verdict"),
    [
        (0.9, "at most", "reproduced"),
        (1.1, "at most", "not reproduced"),
        (1.0, "at most", "undecided"),
        (1.1, "at least", "reproduced"),
        (0.9, "at least", "not reproduced"),
        (1.0, "at least", "undecided"),
    ],
)
def test_bound(measured, side, verdict):
    assert Claim.bound(*HEAD, measured, 0.01, 1.0, side=side, level=1e-3).verdict == verdict


@pytest.mark.parametrize("degrees_of_freedom", [3, 31, None])
def test_the_false_alarm_rate_is_the_level(degrees_of_freedom):
    level, error, trials = 0.05, 0.3, 4000
    law = stats.norm if degrees_of_freedom is None else stats.t(degrees_of_freedom)
    z = law.rvs(size=trials, random_state=np.random.default_rng(0))
    judged = [
        equality(1.0 + error * x, error, level=level, degrees_of_freedom=degrees_of_freedom, resolution=9.0) for x in z
    ]
    alarms = sum(claim.verdict == "not reproduced" for claim in judged)
    assert abs(alarms - level * trials) < 4 * math.sqrt(level * (1 - level) * trials)


def test_student_is_not_normal():
    few = equality(1.0 + 0.01 * 4.5, 0.01, degrees_of_freedom=3)
    many = equality(1.0 + 0.01 * 4.5, 0.01)
    assert (few.verdict, many.verdict) == ("undecided", "not reproduced")


def test_what_an_estimate_holds_is_accepted():
    claim = equality(jnp.float64(1.01), jnp.float32(0.01), degrees_of_freedom=jnp.int32(31))
    assert claim.verdict == "reproduced" and json.dumps(claim.to_json())
    assert equality(1.0, math.inf, degrees_of_freedom=jnp.int32(0)).verdict == "undecided"


@pytest.mark.parametrize("level", [0.0, 1.0, -1.0, math.nan])
def test_a_level_that_is_no_rate_is_refused(level):
    with pytest.raises(ValueError, match="level"):
        equality(1.0, 0.01, level=level)


def test_a_negative_error_is_refused():
    with pytest.raises(ValueError, match="standard_error"):
        equality(1.0, -0.01)


@pytest.mark.parametrize(
    "claim",
    [
        equality(1.01, 0.01, degrees_of_freedom=31, published=1.3, note="printed with a wrong sign"),
        rejection(1.01, 0.01),
        Claim.bound(*HEAD, np.float32(0.5), 0.01, 1.0, side="at most", level=1e-3),
    ],
)
def test_json_round_trip(claim):
    assert Claim.from_json(json.loads(json.dumps(claim.to_json(), allow_nan=False))) == claim


def test_json_of_what_is_not_finite():
    claim = Claim.from_json(json.loads(json.dumps(equality(math.nan, 0.01).to_json(), allow_nan=False)))
    assert math.isnan(claim.measured) and claim.verdict == "undecided"


@pytest.mark.parametrize("entry", [{}, {"id": "a", "colour": "red"}])
def test_json_of_something_else_is_refused(entry):
    with pytest.raises(ValueError, match="lacks the fields"):
        Claim.from_json(entry)


def test_the_table_shows_what_each_claim_was_held_against():
    bound = Claim.bound(*HEAD, 0.5, 0.0, 1.0, side="at most", level=1e-3)
    lines = claims_table([equality(1.01, 0.01), rejection(1.01, 0.01), bound]).splitlines()
    assert [line.split()[1] for line in lines[2:4]] == ["1.010(10)", "1.010(10)"]
    assert "≠ 1.2" in lines[3] and "-19.0" in lines[3]
    assert "≤ 1" in lines[4] and "–" in lines[4]
