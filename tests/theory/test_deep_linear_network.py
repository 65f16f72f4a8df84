"""The whole network against its definitions: derivatives of the loss of one sample and of the amplitudes,
and moments over the stream. All are polynomials: differences and Gauss-Hermite quadrature give them exactly."""

from functools import cache
from itertools import pairwise
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpy.polynomial.hermite_e import hermegauss

from sgdynamics.theory import deep_linear

CASES = {
    "one layer": (3, 2),
    "bottleneck": (3, 2, 4),
    "rectangular": (2, 3, 4, 3),
    "balanced": (2, 3, 2, 4, 2),
    "rank-deficient": (3, 2, 3, 2, 3, 2),
}
SQUARE = (2, 2, 2)
DEEP = [name for name in CASES if name != "one layer"]
NOISE = {"batch_size": 4.0, "label_noise_std": 0.7}
SETTINGS = NOISE | {"learning_rate": 0.3}


class Case(NamedTuple):
    """A network, its teacher, and what differences and quadrature say of it; gradients are [nodes, parameters]."""

    weights: list
    teacher: np.ndarray
    probabilities: np.ndarray
    gradients: np.ndarray
    jacobian: np.ndarray
    amplitude_gradients: np.ndarray
    amplitude_hessians: np.ndarray

    def mean(self):
        return self.probabilities @ self.gradients

    def covariance(self):
        noise = self.gradients - self.mean()
        return noise.T @ (self.probabilities[:, None] * noise)


def network(name):
    """Random layers and teacher; "balanced" layers share their singular values and vectors, not with the teacher."""
    rng, widths = np.random.default_rng(len(name)), CASES.get(name, SQUARE)
    weights = [rng.normal(size=(after, before)) * 0.8 for before, after in pairwise(widths)]
    teacher = rng.normal(size=(widths[-1], widths[0]))
    if name == "balanced":
        bases = [np.linalg.qr(rng.normal(size=(width, 2)))[0] for width in widths]
        weights = [after @ np.diag([1.2, 0.8]) @ before.T for before, after in pairwise(bases)]
    if name == "rank-deficient":
        teacher = np.outer(*np.split(rng.normal(size=5), [2]))
    return weights, teacher


def flat(weights):
    return np.concatenate([W.reshape(-1) for W in weights])


def unflat(vectors, weights):
    """Vectors of parameters, [..., parameters], as layers shaped as those of `weights`."""
    parts = np.split(vectors, np.cumsum([W.size for W in weights])[:-1], axis=-1)
    return [part.reshape(*vectors.shape[:-1], *W.shape) for part, W in zip(parts, weights, strict=True)]


def product(weights):
    W = weights[0]
    for layer in weights[1:]:
        W = layer @ W
    return W


def stream(teacher, std, nodes=3):
    """(probabilities, x, y) of a quadrature exact for polynomials of degree 2·nodes − 1 in x and 3 in ε."""
    outputs, inputs = teacher.shape
    points, mass = hermegauss(nodes)
    positions = [points] * inputs + [np.array([-1.0, 1.0])] * outputs
    masses = [mass / mass.sum()] * inputs + [np.array([0.5, 0.5])] * outputs
    grid, p = (np.stack(np.meshgrid(*axes, indexing="ij"), -1).reshape(-1, len(axes)) for axes in (positions, masses))
    x = grid[:, :inputs]
    return p.prod(axis=1), x, x @ teacher.T + std * grid[:, inputs:]


@cache
def case(name, std=NOISE["label_noise_std"], nodes=3):
    weights, teacher = network(name)
    p, x, y = stream(teacher, std, nodes)
    # a choice where singular values are 0; `test_modes_and_their_diffusion` checks it
    U, _, V = theory(name)["triplets"]
    θ, unit = flat(weights), np.eye(flat(weights).size)

    def matrix(θ):
        return product(unflat(θ, weights))

    def amplitudes(θ):
        return np.einsum("om,...oi,im->...m", U, matrix(θ), V)

    # the network is linear in each single parameter, the loss of a sample quadratic: differences are derivatives
    up, down = (y[:, None, :] - np.einsum("koi,ni->nko", matrix(θ + sign * unit), x) for sign in (1, -1))
    gradients = np.sum(up**2 - down**2, axis=2) / 4
    one = amplitudes(θ + unit)
    both = amplitudes(θ + unit[:, None] + unit[None])
    hessians = both - one[:, None] - one[None] + amplitudes(θ)
    jacobian = matrix(θ + unit) - matrix(θ)
    return Case(weights, teacher, p, gradients, jacobian, (one - amplitudes(θ)).T, np.moveaxis(hessians, 2, 0))


@cache
def theory(name):
    """All that is asked of one network, compiled at once."""
    weights, teacher = network(name)
    a, b = np.random.default_rng(1).normal(size=(2, flat(weights).size))

    @jax.jit
    def asked():
        of = weights, teacher
        return {
            "loss": deep_linear.population_loss(*of, label_noise_std=0.7),
            "gradient": deep_linear.population_gradient(*of),
            "jacobians": deep_linear.jacobians(weights),
            "tangents": deep_linear.neural_tangents(weights),
            "covariance": deep_linear.noise_covariance(*of, **NOISE),
            "applied": deep_linear.apply_noise_covariance(*of, a, **NOISE),
            "forms": [deep_linear.noise_quadratic_form(*of, a, v, **NOISE) for v in (None, b)],
            "triplets": deep_linear.singular_triplets(teacher),
            "amplitudes": deep_linear.mode_amplitudes(*of),
            "crossed": deep_linear.cross_mode_amplitudes(*of),
            "sensitivities": deep_linear.mode_sensitivities(*of),
            "diffusion": deep_linear.mode_diffusion(*of, **SETTINGS),
            "tangent_diffusion": deep_linear.neural_tangent_mode_diffusion(*of, **SETTINGS),
            "crossed_diffusion": deep_linear.cross_amplitude_diffusion(*of, **SETTINGS),
            "isotropic": deep_linear.isotropic_mode_diffusion(*of, learning_rate=0.3, noise_variance=2.0),
            "drift": deep_linear.mode_drift(*of, **SETTINGS),
            "drift_without_labels": deep_linear.mode_drift(*of, **SETTINGS | {"label_noise_std": 0.0}),
            "discretisation": deep_linear.discretisation_drift(*of, learning_rate=0.3),
            "balance": _balance(weights, teacher, SETTINGS) if len(weights) > 1 else None,
        }

    return jax.tree.map(np.asarray, asked())


def _balance(weights, teacher, settings):
    return {
        "matrices": deep_linear.balances(weights),
        "imbalance": deep_linear.imbalance(weights),
        "sde": deep_linear.balance_drift(weights, teacher, **settings),
        "sgd": deep_linear.balance_drift(weights, teacher, **settings | {"batch_size": 1}, form="sgd"),
    }


def close(actual, expected, rtol=1e-12):
    """Within rtol of the largest entry."""
    np.testing.assert_allclose(actual, expected, rtol=0, atol=rtol * max(np.max(np.abs(expected)), 1e-2))


@pytest.mark.parametrize("name", CASES)
def test_loss_gradient_and_jacobians(name):
    it, said = case(name), theory(name)
    p, x, y = stream(it.teacher, 0.7)
    close(said["loss"], p @ np.sum((y - x @ product(it.weights).T) ** 2, axis=1) / 2)
    close(said["gradient"], it.mean())
    J = it.jacobian.reshape(len(it.jacobian), -1).T
    close(np.concatenate(said["jacobians"], axis=1), J)
    close(said["tangents"].sum(axis=0), J @ J.T)
    close(said["tangents"], np.stack([block @ block.T for block in said["jacobians"]]))


def test_the_published_jacobian():
    """Columns stacked, J_l is W_<lᵀ ⊗ W_>l; the printed W_<lᵀ ⊗ W_>lᵀ has another shape, or is wrong all the same."""
    for name, fits in (("bottleneck", False), ("square", True)):
        first, second = network(name)[0]
        W, unit = second @ first, np.eye(first.size)
        # vec of W with respect to vec W_1, both by columns
        steps = [second @ (first + e.reshape(first.shape, order="F")) - W for e in unit]
        derivative = np.stack([step.reshape(-1, order="F") for step in steps], axis=1)
        close(np.kron(np.eye(first.shape[1]), second), derivative)
        published = np.kron(np.eye(first.shape[1]), second.T)
        assert (published.shape == derivative.shape) == fits
        assert not fits or np.max(np.abs(published - derivative)) > 0.1


@pytest.mark.parametrize("name", CASES)
def test_noise_covariance(name):
    it, said = case(name), theory(name)
    Σ = it.covariance() / 4
    a, b = np.random.default_rng(1).normal(size=(2, len(Σ)))
    close(said["covariance"], Σ)
    close(said["applied"], Σ @ a)
    close(said["forms"][0], a @ Σ @ a)
    assert abs(said["forms"][1] - a @ Σ @ b) < 1e-13 * np.linalg.norm(a) * np.linalg.norm(b) * np.linalg.norm(Σ)


@pytest.mark.parametrize("name", CASES)
def test_modes_and_their_diffusion(name):
    it, said = case(name), theory(name)
    u, s, v = said["triplets"]
    close(s, np.linalg.svd(it.teacher, compute_uv=False))
    close((u * s) @ v.T, it.teacher)
    close(u.T @ u, np.eye(len(s)))
    close(v.T @ v, np.eye(len(s)))
    np.testing.assert_array_equal(np.max(u, axis=0), np.max(np.abs(u), axis=0))
    close(said["crossed"], u.T @ product(it.weights) @ v)
    a, Σ = it.amplitude_gradients, it.covariance()
    close(said["amplitudes"], np.diag(said["crossed"]))
    close(said["sensitivities"], a)
    close(said["diffusion"], 0.3 / 4 * a @ Σ @ a.T)
    close(said["tangent_diffusion"], 0.3 / 4 * a @ Σ @ a.T)
    close(said["isotropic"], 0.6 * a @ a.T)
    # the Remark's Itô drift, ∝ tr Hess w
    assert np.max(np.abs(np.trace(it.amplitude_hessians, axis1=1, axis2=2))) < 1e-12
    noise = np.einsum("np,poi->noi", it.gradients - it.mean(), it.jacobian)
    crossed = np.einsum("n,nac->ac", it.probabilities, (u.T @ noise @ v) ** 2)
    close(said["crossed_diffusion"], 0.3 / 4 * crossed)


@pytest.mark.parametrize("std", [0.7, 0.0])
@pytest.mark.parametrize("name", CASES)
def test_drift_of_the_modes(name, std):
    """−a·∇L and (β/2) tr(Σ Hess w), by differences and quadrature."""
    it, said = case(name, std), theory(name)
    gradient, ito = said["drift" if std else "drift_without_labels"]
    close(gradient, -it.amplitude_gradients @ it.mean())
    close(ito, 0.3 / 8 * np.einsum("ij,mij->m", it.covariance(), it.amplitude_hessians))


def test_the_published_drift():
    """The same test rejects the printed sign: off by twice the drift."""
    it = case("bottleneck")
    drift = jax.jit(lambda: deep_linear.mode_drift(it.weights, it.teacher, **SETTINGS, form="published"))
    gradient, ito = drift()
    close(ito, theory("bottleneck")["drift"][1])
    with pytest.raises(AssertionError):
        close(gradient, -it.amplitude_gradients @ it.mean(), rtol=1.0)


@pytest.mark.parametrize("name", CASES)
def test_discretisation_drift(name):
    it, g = case(name), case(name).mean()
    close(theory(name)["discretisation"], 0.15 * np.einsum("i,mij,j->m", g, it.amplitude_hessians, g))


@pytest.mark.parametrize("name", ["one layer", "bottleneck", "rectangular"])
def test_the_mean_step_of_sgd(name):
    """Flow, Itô (for a batch of one, four times that of four) and discretisation together are exact for up to two
    layers, and to O(η²) for three: there the mean is a polynomial of degree 6 in x, for which four nodes are exact."""
    it, said = case(name, nodes=4), theory(name)
    U, _, V = said["triplets"]
    gradient, ito = said["drift"]
    second_order = (4 * ito + said["discretisation"]) / 0.3

    def change_and_rest(η):
        after = product(unflat(flat(it.weights) - η * it.gradients, it.weights))
        change = np.einsum("n,noi,om,im->m", it.probabilities, after - product(it.weights), U, V) / η
        return change, change - gradient - η * second_order

    change, rest = change_and_rest(0.1)
    if len(it.weights) <= 2:
        close(rest + change, change)
    else:
        np.testing.assert_allclose(change_and_rest(0.05)[1], rest / 4, rtol=1e-9)
        assert np.max(np.abs(rest)) > 1e-3 * np.max(np.abs(change))


@pytest.mark.parametrize("name", DEEP)
def test_balance_and_its_drift(name):
    """The SDE's drift is the quadratic variation of its noise. That of SGD follows node by node from B_l after a step:
    pathwise, it changes by η² (g_l g_lᵀ − g_{l+1}ᵀ g_{l+1})."""
    it, said = case(name), theory(name)["balance"]
    noise, g, after = (unflat(v, it.weights) for v in (
        it.gradients - it.mean(), it.gradients, flat(it.weights) - 0.3 * it.gradients
    ))  # fmt: skip
    for l, (W, V) in enumerate(pairwise(it.weights)):
        sizes = np.linalg.norm(W @ W.T) + np.linalg.norm(V.T @ V)
        close(said["matrices"][l], _difference(it.weights, l))
        close(said["imbalance"][l], np.linalg.norm(_difference(it.weights, l)) / sizes)
        change = _difference(after, l) - _difference(it.weights, l)
        close(change, 0.09 * _difference(g, l))
        close(said["sgd"][l], np.einsum("n,nij->ij", it.probabilities, change) / 0.3)
        close(said["sde"][l], 0.3 / 4 * np.einsum("n,nij->ij", it.probabilities, _difference(noise, l)))
        # "balance is preserved" holds for neither, not even on the manifold
        assert np.max(np.abs(said["sde"][l])) > 1e-3


def _difference(layers, l):
    W, V = layers[l], layers[l + 1]
    return W @ np.swapaxes(W, -1, -2) - np.swapaxes(V, -1, -2) @ V


@pytest.mark.parametrize(("widths", "kept"), [((3, 3, 3), True), ((3, 3, 2), False), ((2, 2, 2, 2), False)])
def test_at_the_minimum_only_two_layers_of_equal_ends_keep_their_balance(widths, kept):
    rng = np.random.default_rng(3)
    bases = [np.linalg.qr(rng.normal(size=(width, 2)))[0] for width in widths]
    weights = [after @ np.diag([1.2, 0.6]) @ before.T for before, after in pairwise(bases)]
    drift, imbalance = jax.jit(
        lambda: (
            deep_linear.balance_drift(weights, product(weights), **SETTINGS),
            deep_linear.imbalance(weights),
        )
    )()
    assert np.max(imbalance) < 1e-15
    assert (max(np.max(np.abs(D)) for D in drift) < 1e-15) == kept


def test_derivatives():
    """Forward and backward, with respect to layers and label noise, against central differences."""
    weights, teacher = network("square")
    rng = np.random.default_rng(4)
    point = jax.tree.map(jnp.asarray, (weights, 0.7))
    direction = jax.tree.map(lambda x: jnp.asarray(rng.normal(size=x.shape)), point)

    def f(weights, label_noise_std):
        settings = SETTINGS | {"label_noise_std": label_noise_std}
        drift = deep_linear.mode_drift(weights, teacher, **settings)
        return jnp.sum(drift[0]) + jnp.sum(drift[1]) + jnp.sum(deep_linear.imbalance(weights))

    # forward, and its transpose: one program
    both = jax.jit(lambda *point: (*jax.jvp(f, point, direction), jax.grad(f, argnums=(0, 1))(*point)))
    value = lambda h: both(*jax.tree.map(lambda x, d: x + h * d, point, direction))[0]
    _, forward, backward = both(*point)
    np.testing.assert_allclose(forward, (value(1e-5) - value(-1e-5)) / 2e-5, rtol=1e-7)
    pairs = zip(jax.tree.leaves(backward), jax.tree.leaves(direction), strict=True)
    np.testing.assert_allclose(sum(np.sum(b * d) for b, d in pairs), forward, rtol=1e-11)


def test_where_derivatives_meet_edges():
    """At exact balance |B_l| has none and 0 is given; equal singular values of the teacher do no harm to those with
    respect to the layers."""
    weights = [np.eye(2), np.eye(2)]
    asked = lambda W: (jnp.sum(deep_linear.imbalance(W)), jnp.sum(deep_linear.mode_amplitudes(W, np.eye(2))))
    slopes = jax.jit(jax.jacfwd(asked))(weights)
    np.testing.assert_array_equal(slopes[0], 0)
    np.testing.assert_allclose(slopes[1], [np.eye(2)] * 2)


def test_errors():
    weights, teacher = network("bottleneck")
    with pytest.raises(ValueError, match="weights have shapes"):
        deep_linear.mode_amplitudes(weights[::-1], teacher)
    with pytest.raises(ValueError, match="weights have shapes"):
        deep_linear.imbalance([])
    with pytest.raises(ValueError, match=r"teacher has shape \(3, 4\).*\(4, 3\)"):
        deep_linear.mode_drift(weights, teacher.T, **SETTINGS)
    with pytest.raises(ValueError, match="neighbouring layers"):
        deep_linear.balance_drift(weights[:1], teacher[:2], **SETTINGS)
    with pytest.raises(ValueError, match="no two neighbouring layers are 0"):
        deep_linear.imbalance([np.zeros((2, 2))] * 2)
    with pytest.raises(ValueError, match="finite"):
        deep_linear.mode_amplitudes(weights, teacher * np.nan)
    for wrong in ({"learning_rate": 0.0}, {"batch_size": -1.0}, {"label_noise_std": -0.1}, {"form": "printed"}):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            deep_linear.mode_drift(weights, teacher, **SETTINGS | wrong)
    with pytest.raises(ValueError, match="vector has shape"):
        deep_linear.apply_noise_covariance(weights, teacher, np.ones(3), **NOISE)
