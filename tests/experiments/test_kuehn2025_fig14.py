"""Fig. 14 at a tiny size: regression from its start; the noise's bookkeeping against direct evaluation."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpy.testing import assert_allclose

import sgdynamics as sgd
from sgdynamics import experiments, plotting
from sgdynamics.experiments import _store
from sgdynamics.experiments.kuehn2025 import _fig14, _fig14_noise
from sgdynamics.samplers import Epochs
from sgdynamics.theory import epochs as theory

pytestmark = pytest.mark.long

TINY = _fig14.Fig14Config(
    network="linear", samples=60, batch_size=10, momenta=(0.0, 0.5), rates=(0.005, 0.01, 0.06), replicas=768
)


@pytest.fixture(scope="module")
def result():
    return _fig14.run(TINY, experiments.Silence())


def test_every_verdict_is_the_expected_one(result):
    assert [claim.id for claim in result.claims if not claim.as_expected] == []
    assert sum(claim.id.endswith("/control") for claim in result.claims) == 2 * (3 + 1)


def test_the_result_is_described_and_drawn(result):
    _store.check_described(result.data)
    figure = plotting.draw("kuehn2025/fig14", result.data)
    assert [axes.get_title() for axes in figure.axes[:2]] == ["β = 0, η = 0.06 [t]", "β = 0.5, η = 0.03 [t]"]


def test_at_fixed_weights_the_path_gives_the_printed_autocorrelation():
    M = 5
    same = jnp.ones((_fig14_noise.EPOCHS * M,) * 2)
    found = _fig14_noise.autocorrelation(_fig14_noise.drifting(same, M), M)
    assert_allclose(found, theory.noise_autocovariance(jnp.arange(1, M + 1), batches_per_epoch=M), atol=1e-15)


def test_the_noise_is_the_batch_gradient_less_the_mean():
    """One replica in a group of its own, its batches drawn by hand."""
    key = jax.random.key(3)
    x, y = jax.random.normal(key, (12, 3)), jnp.arange(12.0)
    problem = sgd.Problem(sgd.networks.Linear(3, 1), sgd.data.Dataset(x, y))
    sampler = Epochs(4)
    dynamics = sgd.SGD(problem, learning_rate=0.1, sampler=sampler, momentum=0.5)
    gram = _fig14_noise.grams(dynamics, key[None, None], 5)[0][0]
    state, memory, noise = dynamics.init(problem.parameters), sampler.init(problem.data), []
    for step in range(5):
        batch, memory = sampler.draw(problem.data, memory, jnp.asarray(step), key)
        noise.append(problem.gradient(state.position, batch) - problem.gradient(state.position))
        state = dynamics.step(state, jnp.asarray(step), key)
    assert_allclose(gram, np.stack(noise) @ np.stack(noise).T, rtol=1e-10)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("network", "unknown"), ("samples", 4000), ("batch_size", 30), ("batch_size", 200), ("momenta", (1.0,)),
        ("rates", (0.1, 0.2)), ("rates", (0.2, 0.1, 0.3)), ("rates", (0.0, 0.1, 0.2)), ("replicas", 33),
    ],
)  # fmt: skip
def test_bad_values_are_refused_by_name(field, value):
    with pytest.raises(ValueError, match=field):
        _fig14.Fig14Config(**{field: value})
