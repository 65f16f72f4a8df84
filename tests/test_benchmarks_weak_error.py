"""The benchmark of weak errors: its exact laws are those of the library's steps, its orders are the theorems', its
fits decide only what the numbers decide."""

import json

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sgdynamics.dynamics import SmallNoiseHeun
from sgdynamics.samplers import WithReplacement
from sgdynamics_benchmarks import weak_error
from sgdynamics_benchmarks.weak_error import cost, exact, regression, sampled, study
from sgdynamics_benchmarks.weak_error.exact import Law
from sgdynamics_benchmarks.weak_error.models import Models
from sgdynamics_benchmarks.weak_error.orders import exact_order, linear_part, sampled_order, shown

η = 2.0**-5
MODELS = Models(regression.problem(), WithReplacement(2))
DESCENT = exact.recursion(MODELS.problem, MODELS.sampler, η)


def point(θ=(1.5, -1.0, 0.5)):
    return Law(np.array(θ), np.outer(θ, θ))


# --- exact laws -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("scheme", ["euler", "heun"])
@pytest.mark.parametrize("name", ["order 1", "order 2"])
def test_a_steps_law_is_that_of_the_librarys_step(name, scheme):
    process, θ, dt = MODELS.equation(name, η), jnp.array([0.3, -0.7, 0.2]), jnp.array(η / 2)
    if scheme == "heun":
        step = lambda dW: SmallNoiseHeun(process).after(jnp.array(0.0), θ, dt, dW)
    else:
        step = lambda dW: θ + process.displacement(jnp.int32(0), jnp.array(0.0), θ, dt, dW)
    still = jnp.zeros(16)
    mean, root = jax.jit(lambda: (step(still), jax.jacfwd(step)(still)))()  # affine in dW
    law = exact.stepped(process, scheme, point(np.asarray(θ)), dt=η / 2, steps=1)[0]
    assert np.allclose(law.mean, mean, rtol=1e-12)
    assert np.allclose(law.covariance, dt * root @ root.T, rtol=1e-10, atol=1e-15)


def test_many_short_steps_approach_the_equations_law():
    process = MODELS.equation("order 2", η)
    limit = exact.evolved(process, point(), np.array([1.0]))[0].second
    distance = lambda n: np.abs(exact.stepped(process, "heun", point(), dt=1 / n, steps=n)[-1].second - limit).max()
    assert distance(256) < 1e-5 and distance(4) > 100 * distance(256)


def test_one_euler_step_per_learning_rate_is_sgd_in_disguise():
    """Its first two moments are SGD's, as those of l steps are SVAG's: no claim on the equation may rest on it."""
    times, process = np.array([1.0, 2.0]), MODELS.equation("order 1", η)
    for l in (1, 4):
        walk = exact.descended(exact.recursion(MODELS.problem, MODELS.sampler, η, l), point(), times)
        euler = exact.stepped(process, "euler", point(), dt=η / l, steps=round(2 * l / η), every=round(l / η))
        for a, b in zip(walk, euler, strict=True):
            assert np.allclose(a.mean, b.mean, atol=1e-13) and np.allclose(a.second, b.second, atol=1e-13)


def test_the_orders_on_the_regression_are_the_theorems():
    rates = [2.0**-k for k in (6, 7, 8)]
    found = [regression.errors(MODELS, rate) for rate in rates]
    order = lambda name, measure: exact_order(rates, [e[name][measure] for e in found])
    for measure in ("mean", "second moments"):
        assert abs(order("order 1", measure)["order"] - 1) < 0.05
        assert abs(order("order 2", measure)["order"] - 2) < 0.05
        assert order("Euler, dt = η", measure)["verdict"] == "zero to rounding"
    expectations = {"order 1": 1, "order 2": 1, "frozen": 1, "isotropic": 0, "no noise": 0, regression.SVAG: 1}
    for name, expected in expectations.items():
        assert abs(order(name, "stationary covariance")["order"] - expected) < 0.05
    # of the fluctuations' own size the modified equation misses twice as much as order 1
    ratio = found[-1]["order 2"]["stationary covariance"] / found[-1]["order 1"]["stationary covariance"]
    assert abs(ratio - 2) < 0.05


def test_svag_approaches_order_one_as_one_over_l():
    times, stretches = np.array([2.0]), (4, 8, 16, 32)
    limit = exact.evolved(MODELS.equation("order 1", η), point(), times)[0].second
    walks = [exact.recursion(MODELS.problem, MODELS.sampler, η, l) for l in stretches]
    errors = [np.abs(exact.descended(walk, point(), times)[0].second - limit).max() for walk in walks]
    assert abs(exact_order([1 / l for l in stretches], errors)["order"] - 1) < 0.05


# --- fits -------------------------------------------------------------------------------------------------------


def test_a_fit_finds_the_order_of_noisy_errors_and_its_error():
    h, rng = 2.0 ** -np.arange(1, 6), np.random.default_rng(0)
    for p in (1.0, 2.0):
        fits = [sampled_order(h, -0.3 * h**p + rng.normal(scale=1e-3, size=5), np.full(5, 1e-3)) for _ in range(60)]
        measured = [fit for fit in fits if fit["verdict"] == "measured"]
        assert len(measured) > 45
        z = [(fit["order"] - p) / fit["error"] for fit in measured]
        assert abs(np.mean(z)) < 0.5 and 0.6 < np.std(z) < 1.4


def test_a_fit_does_not_decide_what_noise_hides_or_what_is_no_power():
    h, σ = 2.0 ** -np.arange(1, 6), np.full(5, 1e-3)
    assert sampled_order(h, σ, σ)["verdict"].startswith("undecided: 0 of 5")
    assert sampled_order(h, 0.3 * h - 0.05, σ)["verdict"].startswith("local slope")
    assert exact_order(h, 0.3 * h - 0.05)["verdict"] == "no single power"


@pytest.mark.parametrize("σ", [1e-5, 1e-4])
@pytest.mark.parametrize("b", [-0.5, 0.1])
def test_two_terms_that_cancel_are_no_order(b, σ):
    """e = 0.01 η − 0.5 η² falls like η^2.1 over sixteenfold η, and like η in the end; the other like η^1.6."""
    h, rng = 2.0 ** -np.arange(1, 6), np.random.default_rng(5)
    fits = [sampled_order(h, 0.01 * h + b * h**2 + rng.normal(scale=σ, size=5), np.full(5, σ)) for _ in range(20)]
    assert not any(fit["verdict"] == "measured" for fit in fits)
    assert shown(fits[0]).startswith("(")
    # seen from its two ends, each term alone is measured
    assert sampled_order(h / 2**12, 0.01 * h - 0.5 * h**2 / 2**12, 1e-2 * h * 1e-2)["verdict"] == "measured"


def test_errors_against_one_estimate_are_fitted_as_correlated_ones():
    """One offset common to all: the fit that knows it finds the order with the right error, the other is misled."""
    h, rng, σ, s = 1 / np.array([1.0, 2.0, 4.0, 8.0]), np.random.default_rng(7), 1e-3, 5e-3
    draws = [0.3 * h + rng.normal(scale=σ, size=4) + rng.normal(scale=s) for _ in range(80)]
    z = lambda fits: np.std([(fit["order"] - 1) / fit["error"] for fit in fits])
    aware = [sampled_order(h, e, np.full(4, σ), s) for e in draws]
    assert 0.8 < z(aware) < 1.25
    assert np.mean([fit["probability"] < 0.01 for fit in aware]) < 0.05
    blind = [sampled_order(h, e, np.full(4, σ)) for e in draws]
    assert z(blind) > 2


def test_a_polynomial_that_does_not_fit_has_no_linear_part():
    h, σ = 2.0 ** -np.arange(1, 6), np.full(5, 1e-4)
    assert linear_part(h, 0.3 * np.sqrt(h), σ)["verdict"].startswith("misfit")


def test_exact_errors_end_where_rounding_begins():
    h = 2.0 ** -np.arange(1, 8)
    e = np.array([*(1e-4 * h[:4] ** 2), 3e-12, 8e-12, 1e-12])
    assert abs(exact_order(h, e)["order"] - 2) < 1e-6
    assert exact_order(h, np.maximum(0.0, h - 0.2))["verdict"] == "undecided: 2 errors above rounding"


def test_the_linear_part_tells_order_one_from_order_two_where_errors_change_sign():
    h, rng = 2.0 ** -np.arange(1, 6), np.random.default_rng(1)
    noisy = lambda e: e + rng.normal(scale=1e-4, size=5)
    fit = lambda a, b: linear_part(h, noisy(a * h + b * h**2), np.full(5, 1e-4))
    first, second = fit(0.1, -0.5), [fit(0.0, -0.5) for _ in range(20)]
    assert first["verdict"] == "not 0" and abs(first["value"] - 0.1) < 5 * first["error"]
    assert sum(part["verdict"] == "0 within its error" for part in second) >= 18


def test_the_cheapest_way_must_be_converged():
    found = {"to_sgd": [0.0, 0.09, 0.1], "to_itself": [0.1, 0.01, 0.0], "seconds": [1.0, 2.0, 4.0], "floor": 0.1}
    assert cost.cheapest(found, 0.1) == 1.0
    assert cost.cheapest(found, 0.05) is None
    assert cost.cheapest(found | {"floor": 0.02, "to_sgd": [0.0, 0.02, 0.02]}, 0.05) == 2.0


# --- sampled ----------------------------------------------------------------------------------------------------


def test_coupled_paths_share_their_brownian_motion():
    """The fine path is that of the scheme itself in twice the substeps; the coarse one takes sums of increments."""
    equation = lambda m: MODELS.equation("order 1", 0.25, m)
    coupled, fine, key = sampled.Coupled(SmallNoiseHeun(equation(1))), SmallNoiseHeun(equation(2)), jax.random.key(1)
    both, alone = coupled.init(coupled.initial_position()), fine.init(fine.initial_position())
    for k in range(2):
        both = eqx.filter_jit(coupled.step)(both, jnp.int32(k), key)
        alone = eqx.filter_jit(fine.step)(alone, jnp.int32(k), key)
    of_fine, of_coarse = jnp.split(both.position, 2)
    assert jnp.abs(of_fine - alone.position).max() < 1e-14
    moved = jnp.linalg.norm(of_fine - MODELS.problem.parameters)
    assert 0 < jnp.linalg.norm(of_coarse - of_fine) < 0.3 * moved


def mean(value, bias=0.0, diverged=0):
    return sampled.Means(np.full((1, 1), value), np.full((1, 1), 1e-3), np.full((1, 1), bias), diverged)


def test_weak_errors_carry_what_dt_may_still_add():
    found = study.compared([mean(1.1, 0.001), mean(1.1, 0.02), mean(1.1, 0.05)], [mean(1.0)] * 3)
    assert [c[0][0] for c in found["usable"]] == [True, True, False]
    assert np.allclose(found["weak_error"], 0.1) and np.allclose(found["sigma"], np.sqrt(2) * 1e-3)


def test_whether_a_value_is_used_does_not_depend_on_itself():
    """A bias that is small beside the largest error may exceed a small one: leaving that out would bend the fit."""
    found = study.compared([mean(1.1, 0.02), mean(1.001, 0.02)], [mean(1.0)] * 2)
    assert np.all(found["usable"])


def test_diverged_ensembles_are_not_used_whichever_they_are():
    found = study.compared(
        [mean(1.4), mean(1.2, diverged=3), mean(np.inf, diverged=1), mean(1.1)],
        [mean(1.0), mean(1.0), mean(1.0), mean(1.0, diverged=2)],
    )
    assert found["diverged"] == [0, 3, 1, 2]
    assert [u[0][0] for u in found["usable"]] == [True, False, False, False]
    fit = study.fitted(sampled_order, (0.4, 0.3, 0.2, 0.1), found)
    assert fit[0][0]["verdict"] == "undecided: 1 of 1 errors resolved"


@pytest.mark.long
def test_the_quick_run_is_complete(tmp_path):
    record = weak_error.run(quick=True)
    record = json.loads(json.dumps(record))
    assert "| order 2 |" in weak_error.table(record) and "two-layer" in weak_error.table(record)
    weak_error.draw(record, tmp_path / "picture.png")
    assert (tmp_path / "picture.png").stat().st_size > 20_000
