"""Where the second-order SDE leaves SGD, at a tiny size: what is claimed, what must come out, what is drawn."""

import jax.numpy as jnp
import numpy as np
import pytest

from sgdynamics import experiments, plotting
from sgdynamics.experiments import _store
from sgdynamics.experiments.beyond import (
    _second_order_sde,
    _second_order_sde_boundaries,
    _second_order_sde_map,
    _second_order_sde_runs,
)
from sgdynamics.theory import momentum as theory
from sgdynamics.theory.recursion import LinearRecursion

SOFT, STIFF = "β = 0.5, ηK = 0.02", "β = 0, ηK = 1.5"
pytestmark = pytest.mark.long


@pytest.fixture(scope="module")
def result():
    config = _second_order_sde_runs.SecondOrderConfig(
        grid=12, momenta=(0.5, 0.0), stiffnesses=(0.02, 1.5), replicas=4096, steps=100, samples=8
    )
    return _second_order_sde.run(config, experiments.Silence())


def test_every_verdict_is_the_expected_one(result):
    assert [claim.id for claim in result.claims if not claim.as_expected] == []
    ids = {claim.id for claim in result.claims}
    published = {f"{STIFF}/θ(ηk) ≈ θ_k, {name}/published" for name in ("variance", "memory")}
    assert {id for id in ids if id.endswith("/published")} == published
    controls = {f"{STIFF}/SGD is not the SDE, {name}/control" for name in ("variance", "memory")}
    controls |= {f"{SOFT}/Euler is not SGD/control"}
    assert {id for id in ids if id.endswith("/control")} == controls
    assert {f"{SOFT}/θ(ηk) ≈ θ_k, {name}" for name in ("variance", "memory")} < ids
    assert {f"{point}/SDE and SGD, {name}" for point in (SOFT, STIFF) for name in ("variance", "memory")} < ids


def test_the_result_is_described_and_drawn(result):
    _store.check_described(result.data)
    figure = plotting.draw("beyond/second_order_sde", result.data)
    assert len([ax for ax in figure.axes if ax.get_title(loc="left")]) == 7


def test_variances_and_correlation_are_the_closed_forms():
    α, β = np.array([0.01, 0.5, 1.5]), np.array([0.9, 0.0, 0.99])
    ratios, sgd = _second_order_sde_map.ratios(α, β), _second_order_sde_map.descent(α, β)
    for name in ("variance", "speed"):
        np.testing.assert_allclose(ratios[name], 1 - α / (2 * (1 + β)), rtol=1e-10)
    np.testing.assert_allclose(sgd.memory, β - α / 2, rtol=1e-8)
    np.testing.assert_allclose(
        _second_order_sde_map.equation(α, β).memory,
        theory.velocity_correlation(1.0, α, learning_rate=1.0, momentum=β), rtol=1e-10,
    )  # fmt: skip


@pytest.mark.parametrize("form", ["exact", "sde"])
def test_displacements_are_those_of_theory(form):
    α, β = 0.3, 0.9
    mode = {"exact": _second_order_sde_map.descent, "sde": _second_order_sde_map.equation}[form]([α], [β])
    setting = {"learning_rate": 1.0, "momentum": β, "form": form}
    expected = np.asarray(theory.displacement(np.array([1, 10]), np.array([α]), np.ones(1), **setting))
    np.testing.assert_allclose([mode.step[0], mode.persistence[0]], expected, rtol=1e-9)


# --- limits of the map that the modules' docstrings state, for β → 1 at NEAR and for ηK → 0 at SMALL ---------------

NEAR, SMALL = 1 - 1e-10, 1e-5
MOMENTA = np.array([0.0, 0.3, 0.5, 0.8, 0.9, 0.99])
ratio, crossing, x = (getattr(_second_order_sde_boundaries, name) for name in ("ratio", "crossing", "x"))


def test_displacement_in_one_step_without_curvature():
    """2∫₀¹(1 − s) e^{−2xs} ds in units of η² Var v: within 10 % for β > 0.72."""
    free = lambda x: (2 * x + np.expm1(-2 * x)) / (2 * x**2)
    here = crossing(lambda β: ratio("step", SMALL, β) - 0.9, 0.3, 0.95)
    assert here == pytest.approx(crossing(lambda β: free(x(β)) - 0.9, 0.3, 0.95), abs=10 * SMALL)
    assert here == pytest.approx(0.72, abs=0.005)


def test_memory_without_friction():
    """cos √(ηK), where SGD has 1 − ηK/2: within 10 % for ηK < 1.07."""
    here = crossing(lambda α: ratio("memory", α, NEAR) - 1.1, 0.1, 1.8)
    limit = crossing(lambda α: np.cos(np.sqrt(α)) / (1 - α / 2) - 1.1, 0.1, 1.8)
    assert here == pytest.approx(limit, abs=1e-6)
    assert here == pytest.approx(1.07, abs=0.005)


@pytest.mark.parametrize("α", [0.1, 0.5, 1.0, 2.0, 3.0])
def test_frequency_without_friction(α):
    assert ratio("frequency", α, NEAR) == pytest.approx(np.sqrt(α) / (2 * np.arcsin(np.sqrt(α) / 2)), abs=1e-6)


def test_frequency_is_within_a_tenth_below_2():
    here = crossing(lambda α: ratio("frequency", α, NEAR) - 0.9, 0.5, 3.5)
    limit = 4 * crossing(lambda y: y / np.arcsin(y) - 0.9, 0.3, 0.95) ** 2
    assert here == pytest.approx(limit, abs=1e-6)
    assert here == pytest.approx(2.0, abs=0.01)


@pytest.mark.parametrize("β", MOMENTA)
def test_overdamped_decay_has_no_error_of_first_order_and_that_of_the_first_order_sde_has(β):
    unit = (1 + β) / (2 * (1 - β) ** 2)
    α = SMALL / unit
    assert (ratio("decay", α, β) - 1) / SMALL == pytest.approx(0, abs=10 * SMALL)
    first = float(_second_order_sde_map.first_order_decay(α, β) / _second_order_sde_map.descent([α], [β]).decay[0])
    assert (first - 1) / SMALL == pytest.approx(-1, abs=10 * SMALL)


@pytest.mark.parametrize("β", MOMENTA)
def test_euler_is_stable_below_one_minus_momentum(β):
    radius = lambda α: np.max(np.abs(np.linalg.eigvals(_second_order_sde_map.euler_transition(α, β))))
    assert radius((1 - β) * (1 - 1e-3)) < 1 < radius((1 - β) * (1 + 1e-3))


def test_what_is_unstable_has_no_value():
    assert np.isnan(_second_order_sde_map.descent([2.0], [0.0]).variance[0])
    assert np.isnan(_second_order_sde_map.euler_variance(0.2, 0.9))


@pytest.mark.parametrize(("α", "β"), [(0.02, 0.0), (0.3, 0.5), (0.05, 0.9)])
def test_eulers_law_is_that_of_its_recursion(α, β):
    F = _second_order_sde_map.euler_transition(α, β)
    noise = np.diag([0.0, (2 / (1 + β)) ** 2])
    P = np.asarray(LinearRecursion(F, noise).stationary_covariance())
    np.testing.assert_allclose(_second_order_sde_map.euler_variance(α, β), P[0, 0], rtol=1e-9)
    got = np.asarray(_second_order_sde_map.from_lags(jnp.asarray(np.stack([P, F @ P]))))
    slowest = np.max(np.abs(np.linalg.eigvals(F)))
    np.testing.assert_allclose(got[[0, 1, 3, 5]], [P[0, 0], P[1, 1], -np.log(slowest), F[1, 1]], rtol=1e-7)


@pytest.mark.parametrize(
    ("field", "value"), [("grid", 1), ("samples", 7), ("replicas", 0), ("stiffnesses", (0.1,)), ("smallest", 5.0),
                         ("momenta", (1.0,) * 9), ("steps", 100), ("largest_momentum", 1.0)]
)  # fmt: skip
def test_bad_values_are_refused_by_name(field, value):
    with pytest.raises(ValueError, match=field):
        _second_order_sde_runs.SecondOrderConfig(**{field: value})
