"""The convolutional network: what it computes, how blocks start, and that it is a network like any other."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.signal import correlate2d

import sgdynamics as sgd
from sgdynamics.data import Dataset, digits
from sgdynamics.networks import ConvNet

KEY = jax.random.key(3)
IMAGE = np.asarray(jax.random.normal(jax.random.key(1), (1, 5, 4)))


def convolved(conv, x, stride):
    """What Conv2d does, by SciPy: correlation with zeros outside, every `stride`-th pixel."""
    W, b = np.asarray(conv.weight), np.asarray(conv.bias)
    full = [sum(correlate2d(x[c], W[o, c], mode="same") for c in range(len(x))) for o in range(len(W))]
    return np.stack(full)[:, ::stride, ::stride] + b


def test_a_plain_network_is_convolutions_and_a_linear_layer():
    network = ConvNet((2, 3), 2, image=(1, 5, 4), key=KEY)
    hidden = IMAGE
    for stage in network.stages:
        hidden = np.tanh(convolved(stage, hidden, 2))
    assert hidden.shape == (3, 2, 1)
    expected = np.asarray(network.readout.weight) @ hidden.ravel() + np.asarray(network.readout.bias)
    assert jnp.allclose(network(jnp.asarray(IMAGE.ravel())), expected, rtol=1e-12)


def test_a_block_starts_as_the_identity_and_is_the_formula_elsewhere():
    network = ConvNet((2,), 1, image=(1, 5, 4), activation=jax.nn.relu, blocks=2, key=KEY)
    plain = eqx.tree_at(lambda n: n.blocks, network, ((),))
    x = jnp.asarray(IMAGE.ravel())
    assert jnp.array_equal(network(x), plain(x))
    first, second = network.blocks[0]
    assert not jnp.any(first.first.weight == second.first.weight)
    moved = eqx.tree_at(lambda b: (b.second.weight, b.second.bias), first, (second.first.weight, second.first.bias))
    hidden = np.asarray(jax.random.normal(KEY, (2, 3, 4)))
    inner = np.maximum(convolved(moved.first, np.maximum(hidden, 0), 1), 0)
    assert jnp.allclose(moved(jnp.asarray(hidden)), hidden + convolved(moved.second, inner, 1), rtol=1e-12)


@pytest.mark.parametrize("loss", [sgd.squared_error, sgd.cross_entropy])
def test_it_learns_the_digits_with_either_loss(loss):
    every = digits("class", pixels="all")
    hot = every.y - every.y.min()
    data = Dataset(every.x[:50], hot[:50] if loss is sgd.squared_error else jnp.argmax(hot[:50], axis=1))
    problem = sgd.Problem(ConvNet((3,), 10, blocks=1, key=KEY), data, loss)
    θ = problem.parameters
    again = jax.tree.leaves(eqx.filter(problem.unflatten(θ), eqx.is_inexact_array))
    assert sum(leaf.size for leaf in again) == θ.size == 30 + 2 * 84 + 10 * (3 * 16 + 1)
    descent = sgd.SGD(problem, learning_rate=0.2, sampler=10)
    end = sgd.simulate(descent, (), replicas=2, steps=200, key=KEY).state.position
    assert all(problem.loss(one.astype(float)) < 0.9 * problem.loss(θ) for one in end)


def test_images_of_the_wrong_size_are_refused():
    with pytest.raises(ValueError, match=r"image is \(1, 8, 8\)"):
        sgd.Problem(ConvNet((2,), 1, key=KEY), digits("value"))


@pytest.mark.parametrize(
    ("name", "bad"),
    [
        ("channels", ()), ("channels", (0,)), ("outputs", 0), ("image", (8, 8)), ("image", (1, 8, 0)), ("blocks", -1),
        ("stride", 0),
    ],
)  # fmt: skip
def test_impossible_sizes_are_refused_by_name(name, bad):
    with pytest.raises(ValueError, match=name):
        ConvNet(**({"channels": (2,), "outputs": 1, "key": KEY} | {name: bad}))


def test_all_pixels_are_the_varying_ones_and_zeros():
    few, all_of_them = digits(), digits(pixels="all")
    constant = np.flatnonzero(~np.asarray(all_of_them.x).any(axis=0))
    assert (few.x.shape[1], all_of_them.x.shape[1], constant.size) == (61, 64, 3)
    assert np.array_equal(few.x, np.delete(np.asarray(all_of_them.x), constant, axis=1))
