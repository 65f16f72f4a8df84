"""Fig. 1 at a tiny size, and the law of resumed training against exact evaluation and its own definitions."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import sgdynamics as sgd
from sgdynamics import experiments, plotting
from sgdynamics.experiments import _store
from sgdynamics.experiments.kunin2023 import _fig1, _resumed

pytestmark = pytest.mark.long


@pytest.fixture(scope="module")
def small():
    """A linear network with two outputs and three inputs, at its minimum with weight decay 0.2."""
    key = jax.random.key(1)
    data = sgd.data.teacher_student(key, samples=30, inputs=3, outputs=2, label_noise_std=0.7)
    problem = sgd.Problem(sgd.networks.Linear(3, 2), data)
    return _resumed.at_minimum(problem, problem.minimum(0.2), 0.2)


@pytest.fixture(scope="module")
def result(small):
    """In place of images, which take long to compile for, the small network."""
    config = _fig1.Fig1Config(
        networks=("linear",), learning_rate=0.01, steps=60, long_learning_rate=0.05, long_batch_size=32,
        long_steps=1000, replicas=2048,
    )  # fmt: skip
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_fig1, "network", lambda name, size: small)
        return _fig1.run(config, experiments.Silence())


def test_every_verdict_is_the_expected_one(result):
    assert [claim.id for claim in result.claims if not claim.as_expected] == []
    assert {claim.id for claim in result.claims if claim.id.endswith("/published")} == {
        "linear, long/power law goes on/published"
    }
    assert {claim.id for claim in result.claims if claim.id.endswith("/control")} == {
        "linear/speed without momentum/control", "linear, long/saturation at tr Cov θ/control",
        "linear/free diffusion/control",
    }  # fmt: skip


def test_the_result_is_described_and_drawn(result):
    _store.check_described(result.data)
    titles = [axes.get_title() for axes in plotting.draw("kunin2023/fig1", result.data).axes]
    assert titles == ["local displacement", "global displacement", "linear network, for longer"]


@pytest.mark.parametrize(
    ("field", "value"),
    [("networks", ("one_hidden",)), ("replicas", 1), ("learning_rate", 0.0), ("momentum", 1.0), ("size", "huge")],
)
def test_bad_values_are_refused_by_name(field, value):
    with pytest.raises(ValueError, match=field):
        _fig1.Fig1Config(**{field: value})


def test_a_linear_networks_law_is_the_exact_one(small):
    """Against `predict`, which solves for all second moments at once."""
    resumed = _resumed.Resumed(small, 0.3, 4, 0.8)
    exact = sgd.predict(resumed.descent)
    V = small.modes
    found = V @ np.asarray(resumed.law.stationary_covariance()) @ V.T
    frozen = V @ np.asarray(resumed._with(small.noise / 4).stationary_covariance()) @ V.T
    scale = np.abs(exact.covariance).max()
    assert np.abs(found - exact.covariance).max() < 1e-3 * scale  # the iteration stops at 1e-4
    assert np.abs(frozen - exact.covariance).max() > 2e-2 * scale  # and has something to do


def test_an_infinite_variance_is_refused(small):
    with pytest.raises(ValueError, match="learning_rate"):
        _ = _resumed.Resumed(small, 2.5, 1, 0.9).law


def test_displacements_agree_where_they_must(small):
    resumed, steps = _resumed.Resumed(small, 0.3, 4, 0.8), np.array([1, 7, 2000])
    stationary = resumed.displacement(steps)
    np.testing.assert_allclose(resumed.displacement_from(resumed, steps), stationary, rtol=1e-10)
    np.testing.assert_allclose(stationary[0], resumed.speed, rtol=1e-10)
    np.testing.assert_allclose(stationary[-1], resumed.saturation, rtol=1e-6)
    np.testing.assert_allclose(resumed.displacement_from_minimum(steps)[-1], resumed.saturation / 2, rtol=1e-6)


def test_replicas_are_drawn_from_the_law(small):
    resumed = _resumed.Resumed(small, 0.3, 4, 0.8)
    state = resumed.start(jax.random.key(3), 40_000)
    drawn = np.concatenate([(np.asarray(state.position) - small.minimum), np.asarray(state.velocity)], axis=1)
    lift = np.kron(np.eye(2), small.modes)
    expected = lift @ np.asarray(resumed.law.phase_covariance()) @ lift.T
    scale = np.sqrt(np.diag(expected))
    np.testing.assert_allclose(
        drawn.T @ drawn / 40_000 / np.outer(scale, scale), expected / np.outer(scale, scale), atol=0.03
    )


def test_a_power_law_is_found_in_the_range():
    k = np.arange(1, 50)
    values = np.where(k < 10, 1.0, 3 * k**0.7)
    assert _resumed.exponent(k, values, 10, 49) == pytest.approx(0.7)


def test_the_squared_step_is_that_of_the_weights():
    state = sgd.dynamics.State(jnp.zeros(2), jnp.array([3.0, 4.0]))
    assert float(_resumed.SquaredStep(jnp.asarray(0.1))(state)) == pytest.approx(0.25)
