"""Networks: what they compute, how they start, and the order of their parameters."""

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
