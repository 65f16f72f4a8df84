"""Networks: what they compute, how they start, and the order of their parameters."""

from itertools import pairwise

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from sgdynamics.networks import MLP, DeepLinear, Linear

KEY = jax.random.key(3)
X = jax.random.normal(jax.random.key(1), (4,))


def test_a_linear_network_is_its_matrix_and_starts_at_zero():
    network = Linear(4, 2)
    assert network.matrix().shape == (2, 4) and not network.matrix().any()
    W = jnp.arange(8.0).reshape(2, 4)
    assert jnp.array_equal(eqx.tree_at(lambda n: n.weight, network, W)(X), W @ X)


def test_a_deep_linear_network_is_the_product_of_its_layers():
    network = DeepLinear((4, 3, 5, 2), key=KEY)
    assert [w.shape for w in network.weights] == [(3, 4), (5, 3), (2, 5)]
    first, second, third = network.weights
    assert jnp.allclose(network.matrix(), third @ second @ first, rtol=1e-14)
    assert jnp.allclose(network(X), network.matrix() @ X, rtol=1e-12)


def test_deep_linear_weights_have_variance_one_over_fan_in():
    weights = DeepLinear((50, 200, 100), key=KEY).weights
    for w in weights:
        assert stats.kstest(np.asarray(w).ravel() * np.sqrt(w.shape[1]), "norm").pvalue > 1e-6


def test_an_mlp_alternates_layers_and_activation():
    network = MLP((4, 3, 2), jax.nn.relu, key=KEY)
    (W1, b1), (W2, b2) = ((layer.weight, layer.bias) for layer in network.layers)
    assert jnp.allclose(network(X), W2 @ jnp.maximum(W1 @ X + b1, 0) + b2, rtol=1e-12)


@pytest.mark.parametrize("network", [lambda k: DeepLinear((4, 3, 2), key=k), lambda k: MLP((4, 3, 2), key=k)])
def test_layers_differ_and_follow_the_key(network):
    one, same, other = (jax.tree.leaves(eqx.filter(network(jax.random.key(k)), eqx.is_array)) for k in (0, 0, 1))
    assert all(jnp.array_equal(a, b) for a, b in zip(one, same, strict=True))
    assert not any(jnp.any(a == b) for a, b in zip(one, other, strict=True))
    assert len({float(a.ravel()[0]) for a in one}) == len(one)


@pytest.mark.parametrize("widths", [(4,), (), (4, 0), (4, 2.5, 1), (4, -1)])
def test_impossible_widths_are_refused(widths):
    for network in (DeepLinear, MLP):
        with pytest.raises((ValueError, TypeError), match="widths"):
            network(widths, key=KEY)


@pytest.mark.parametrize("sizes", [(0, 1), (3, 0), (-1, 1)])
def test_a_linear_network_needs_inputs_and_outputs(sizes):
    with pytest.raises(ValueError, match=r"inputs|outputs"):
        Linear(*sizes)


def imbalance(network):
    pairs = pairwise(network.weights)
    return max(float(jnp.abs(later.T @ later - earlier @ earlier.T).max()) for earlier, later in pairs)


@pytest.mark.parametrize("widths", [(4, 3), (4, 5, 6), (6, 4, 5, 3, 4)])
def test_a_balanced_network_is_balanced_and_is_the_same_map(widths):
    network = DeepLinear.balanced(widths, key=KEY, exponent=1.5)
    assert [w.shape for w in network.weights] == [(after, before) for before, after in pairwise(widths)]
    small = DeepLinear.small(widths, key=KEY, exponent=1.5)
    assert jnp.allclose(network.matrix(), small.matrix(), rtol=1e-10, atol=1e-14)
    if len(widths) > 2:
        assert imbalance(network) < 1e-14 < 1e-2 < imbalance(small)


def test_an_aligned_network_has_the_modes_it_was_given():
    teacher = np.random.default_rng(0).normal(size=(5, 4))
    U, _, Vt = np.linalg.svd(teacher, full_matrices=False)
    network = DeepLinear.aligned(teacher, [0.7, 0.2, 0.1], (4, 6, 3, 5), key=KEY)
    modes = U.T @ np.asarray(network.matrix()) @ Vt.T
    assert np.allclose(modes, np.diag([0.7, 0.2, 0.1, 0.0]), atol=1e-14)
    assert imbalance(network) < 1e-14


def test_hidden_bases_are_drawn_uniformly_and_apart_from_the_weights():
    # the first entry of a uniform unit vector in d = 3 is uniform on [−1, 1]
    entry = lambda key: DeepLinear.aligned(jnp.ones((2, 2)), [1.0], (2, 3, 2), key=key).weights[0][0]
    first = jax.vmap(entry)(jax.random.split(KEY, 2000))
    _, _, Vt = np.linalg.svd(np.ones((2, 2)))
    assert stats.kstest(np.asarray(first) @ Vt[0], stats.uniform(-1, 2).cdf).pvalue > 1e-6
    drawn = DeepLinear.small((3, 3, 3), key=KEY, exponent=0.0).weights[1]
    Q = np.asarray(DeepLinear.balanced((3, 3, 3), key=KEY).weights[0])
    assert not np.allclose(np.abs(np.linalg.qr(drawn)[0]), np.abs(np.linalg.svd(Q)[0]), atol=1e-3)


def test_small_weights_have_the_variance_of_the_narrower_side():
    for w in DeepLinear.small((50, 200, 100), key=KEY, exponent=3.0).weights:
        assert stats.kstest(np.asarray(w).ravel() * min(w.shape) ** 1.5, "norm").pvalue > 1e-6


def test_layers_can_be_given():
    network = DeepLinear.of([np.ones((3, 2)), np.ones((4, 3))])
    assert jnp.array_equal(network.matrix(), jnp.full((4, 2), 3.0))


@pytest.mark.parametrize(
    ("make", "named"),
    [
        (lambda: DeepLinear.of([np.ones((3, 2)), np.ones((3, 4))]), "weights"),
        (lambda: DeepLinear.of([]), "weights"),
        (lambda: DeepLinear.of([np.full((3, 2), np.nan)]), "weights"),
        (lambda: DeepLinear.aligned(np.ones((5, 4)), [1.0], (5, 3, 4), key=KEY), "teacher"),
        (lambda: DeepLinear.aligned(np.ones((5, 4)), [1.0, 1.0, 1.0], (4, 2, 5), key=KEY), "amplitudes"),
        (lambda: DeepLinear.aligned(np.ones((5, 4)), [-1.0], (4, 2, 5), key=KEY), "amplitudes"),
        (lambda: DeepLinear.small((4, 0), key=KEY), "widths"),
    ],
)
def test_impossible_deep_linear_networks_are_refused(make, named):
    with pytest.raises(ValueError, match=named):
        make()
