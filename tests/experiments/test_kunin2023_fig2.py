"""Fig. 2 at a tiny size: what is claimed, what must come out, what is stored and drawn; its mode and its fit."""

import jax.numpy as jnp
import numpy as np
import pytest

import sgdynamics as sgd
from sgdynamics import experiments, plotting
from sgdynamics.experiments import _store
from sgdynamics.experiments.kunin2023 import _fig2, _fig2_case, _fig2_claims
from sgdynamics.theory import momentum

pytestmark = pytest.mark.long

CONFIG = _fig2_case.Fig2Config(momenta=(0.0, 0.9), batch_size=64, replicas=256, steps=100, samples=200)


@pytest.fixture(scope="module")
def result():
    return _fig2.run(CONFIG, experiments.Silence())


def test_every_verdict_is_the_expected_one(result):
    assert [claim.id for claim in result.claims if not claim.as_expected] == []
    assert {claim.id for claim in result.claims if claim.id.endswith("/control")} == {
        "momentum = 0/memory of velocity/control", "momentum = 0/frozen noise/control",
        "momentum = 0.9/overdamped/control", "momentum = 0.9/frozen noise/control",
    }  # fmt: skip


def test_the_result_is_described_and_drawn(result):
    _store.check_described(result.data)
    labels = [text.get_text() for text in plotting.draw("kunin2023/fig2", result.data).legends[0].get_texts()]
    assert "exact mean" in labels


@pytest.mark.parametrize("inputs", [4, 12])
def test_the_mode_is_an_eigenvector_of_the_whole_hessian_and_feels_one_target(inputs):
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(9, inputs)), rng.normal(size=(9, 3))
    problem = sgd.Problem(sgd.networks.Linear(inputs, 3), sgd.data.Dataset(x, y))
    mode = _fig2_case.mode_of(problem.data, batch_size=2)
    start = problem.parameters
    np.testing.assert_allclose(problem.hessian(start) @ mode.theta, mode.curvature * mode.theta, atol=1e-12)
    assert mode.curvature == pytest.approx(np.linalg.eigvalsh(problem.hessian(start))[-1])
    gradient = mode.theta @ np.asarray(problem.gradient(start))
    assert gradient == pytest.approx(-mode.curvature * mode.minimum)
    others = np.linalg.svd(mode.outputs[None])[2][1:]  # along other outputs the start is at the minimum already
    np.testing.assert_allclose(np.kron(others, mode.direction[None]) @ problem.gradient(start), 0, atol=1e-12)
    if inputs < 9:
        θ = jnp.asarray(np.linalg.lstsq(x, y, rcond=None)[0].T.ravel())
        each = np.stack([
            np.asarray(problem.gradient(θ, sgd.data.Dataset(x[i : i + 1], y[i : i + 1]))) @ mode.theta for i in range(9)
        ])  # fmt: skip
        assert mode.noise == pytest.approx(np.mean(each**2) / 2)


def test_the_fit_finds_damping_and_frequency():
    k = np.arange(60)
    found = _fig2_claims.fit(np.exp(-0.05 * k) * (0.3 * np.cos(0.2 * k) - 0.1 * np.sin(0.2 * k)), 0.06, 0.19)
    np.testing.assert_allclose(found, (0.05, 0.2), rtol=1e-6)


@pytest.mark.parametrize("momentum", [0.9, 0.99])
def test_half_a_step_is_the_leading_error_of_the_positions(momentum):
    """(η/2) |ẋ|/|x| in the mean square over all times, of an oscillator released at rest."""
    α = 1e-3
    position, velocity, shifted = (error[0] for error in _fig2.errors_of_sde(np.array([α]), momentum))
    ω2, γ = 2 * α / (1 + momentum), (1 - momentum) / (1 + momentum)
    assert position == pytest.approx(np.sqrt(ω2 / (1 + 4 * γ**2 / ω2)) / 2, rel=0.02)
    assert max(velocity, shifted) < position / 10


def test_second_moments_follow_the_recursion_where_noise_hardly_varies():
    rng = np.random.default_rng(1)
    x = rng.choice([-1.0, 1.0], size=(40, 2))
    y = (x @ np.array([1e-3, 0.0]) + rng.choice([-1.0, 1.0], size=40))[:, None]
    config = _fig2_case.Fig2Config(momenta=(0.9,), batch_size=4, steps=20, replicas=32)
    mode = _fig2_case.mode_of(sgd.data.Dataset(x, y), config.batch_size)
    found = _fig2_case.second_moments(mode, config, 0.9)
    assert found.shape == (5, 2, 2)
    np.testing.assert_array_equal(found[0], 0)
    setting = {"learning_rate": config.learning_rate, "momentum": 0.9}
    frozen = momentum.covariance_after(np.array([5]), mode.curvature, mode.noise, **setting)
    np.testing.assert_allclose(found[1], frozen[0], rtol=0.3)


@pytest.mark.parametrize(
    ("field", "value"),
    [("momenta", (1.0,)), ("momenta", ()), ("learning_rate", 0.0), ("replicas", 40), ("steps", 12), ("samples", 3)],
)
def test_bad_values_are_refused_by_name(field, value):
    with pytest.raises(ValueError, match=field):
        _fig2_case.Fig2Config(**{field: value})
