"""Modes of balanced and aligned networks, against their definitions: derivatives and moments of data."""

import jax
import jax.numpy as jnp
import jax.test_util
import numpy as np
import pytest
from jaxtyping import TypeCheckError

from sgdynamics.theory import deep_linear

rng = np.random.default_rng(4)
SETTINGS = dict(learning_rate=0.03, batch_size=2.0, label_noise_std=0.4)
β, σ = 0.015, 0.4


def orthonormal(rows, columns):
    return np.linalg.qr(rng.normal(size=(rows, columns)))[0]


class Network:
    """A balanced, aligned network with rectangular layers; θ row by row; all from definitions."""

    def __init__(self, amplitudes, singular_values, widths):
        self.w, self.s, self.widths = np.asarray(amplitudes), np.asarray(singular_values), widths
        Q = [orthonormal(d, len(self.w)) for d in widths]
        self.teacher, L = Q[-1] @ np.diag(self.s) @ Q[0].T, len(widths) - 1
        self.U, self.V = Q[-1], Q[0]
        layers = [Q[l] @ np.diag(self.w ** (1 / L)) @ Q[l - 1].T for l in range(1, L + 1)]
        self.θ = np.concatenate([layer.ravel() for layer in layers])

    def product(self, θ):
        W, start = jnp.eye(self.widths[0]), 0
        for inputs, outputs in zip(self.widths[:-1], self.widths[1:], strict=True):
            W = θ[start : start + inputs * outputs].reshape(outputs, inputs) @ W
            start += inputs * outputs
        return W

    def amplitudes(self, θ):
        """All u_αᵀ W v_γ."""
        return self.U.T @ self.product(θ) @ self.V

    def loss(self, θ):
        return jnp.sum((self.product(θ) - self.teacher) ** 2) / 2

    def derivatives(self):
        """J [outputs inputs, parameters], gradient, J and Hessian of the amplitudes."""

        def all_of_them(θ):
            return (jax.jacobian(self.product)(θ), jax.grad(self.loss)(θ), jax.jacobian(self.amplitudes)(θ),
                    jax.hessian(lambda x: jnp.diagonal(self.amplitudes(x)))(θ))  # fmt: skip

        J, gradient, modes, hessian = (np.asarray(x) for x in jax.jit(all_of_them)(self.θ))
        return J.reshape(-1, len(self.θ)), gradient, modes, hessian

    def residual_covariance(self, noise):
        """Covariance of vec((Δx + ξ) xᵀ), row by row, by Wick's theorem entry by entry."""
        Δ = self.teacher - np.asarray(self.product(self.θ))
        second, one = Δ @ Δ.T + noise**2 * np.eye(len(Δ)), np.eye(Δ.shape[1])
        C = np.einsum("ik,jl->ijkl", second, one) + np.einsum("il,kj->ijkl", Δ, Δ)
        return C.reshape(Δ.size, Δ.size)


W, S = np.array([0.7, 0.25, 0.06]), np.array([1.0, 0.8, 0.1])
NETWORKS = [[3, 5, 4], [4, 3, 5, 3], [3, 4, 3, 5, 4], [3, 3, 4, 3, 3, 4]]


@pytest.fixture(scope="module", params=NETWORKS, ids=lambda widths: f"L={len(widths) - 1}")
def network(request):
    net = Network(W, S, request.param)
    net.J, net.gradient, net.modes, net.hessian = net.derivatives()
    net.noise = β * net.J.T @ net.residual_covariance(σ) @ net.J
    net.depth = len(request.param) - 1
    return net


def ito(network):
    return np.einsum("ij,aij->a", network.noise, network.hessian) / 2


def test_the_drift_is_that_of_the_network(network):
    aligned = np.diagonal(network.modes, axis1=0, axis2=1)
    gradient = -network.gradient @ aligned
    exact = deep_linear.modewise_drift(W, S, depth=network.depth, **SETTINGS)
    np.testing.assert_allclose(
        deep_linear.modewise_gradient_drift(W, S, depth=network.depth), gradient, rtol=1e-12, atol=1e-14
    )
    part = deep_linear.modewise_ito_drift(W, S, depth=network.depth, **SETTINGS)
    np.testing.assert_allclose(part, ito(network), rtol=1e-11)
    np.testing.assert_allclose(exact, gradient + ito(network), rtol=1e-11)


@pytest.mark.parametrize("form", ["published_6", "published_14"])
def test_the_printed_drifts_are_not(network, form):
    printed = deep_linear.modewise_ito_drift(W, S, depth=network.depth, form=form, **SETTINGS)
    assert np.all(np.abs(printed / ito(network) - 1) > 0.2)


def test_the_modes_and_the_crossed_modes_diffuse_independently(network):
    aligned = network.modes.reshape(9, -1)
    C = aligned @ network.noise @ aligned.T
    expected = deep_linear.modewise_cross_diffusion(W, S, depth=network.depth, **SETTINGS)
    np.testing.assert_allclose(np.diagonal(C).reshape(3, 3), expected, rtol=1e-11)
    diagonal = C[::4, ::4]
    np.testing.assert_allclose(
        diagonal, np.diag(deep_linear.modewise_diffusion(W, S, depth=network.depth, **SETTINGS)), atol=1e-15
    )


def test_finite_steps_add_their_drift(network):
    expected = 0.03 / 2 * np.einsum("i,aij,j->a", network.gradient, network.hessian, network.gradient)
    value = deep_linear.modewise_discretisation_drift(W, S, depth=network.depth, learning_rate=0.03)
    np.testing.assert_allclose(value, expected, rtol=1e-11)


def test_by_hand():
    """Without label noise, in units of β, what the coupling does: L = 2 by hand, L = 4 from an exact enumeration."""
    w, s = np.array([0.6, 0.2, 0.05]), np.array([1.0, 0.7, 0.4])
    units = dict(learning_rate=1.0, batch_size=1, label_noise_std=0)
    two = 2 * (s - w) * np.sum((s - w) * w) / 2 + w * (s - w) ** 2
    np.testing.assert_allclose(deep_linear.modewise_ito_drift(w, s, depth=2, **units), two, rtol=1e-13)
    assert round(two[2], 3) == 0.131
    four = deep_linear.modewise_ito_drift(w, s, depth=4, **units)
    np.testing.assert_allclose(four[np.array([0, 2])], [0.814, 0.115], atol=5e-4)
    printed = deep_linear.modewise_ito_drift(w, s, depth=4, form="published_6", **units)
    np.testing.assert_allclose(printed[np.array([0, 2])], [2.88, 0.21], rtol=1e-12)


def test_forms_as_printed():
    w, s, L = 0.3, 0.9, 3
    β, σ = 0.01, 0.5
    printed = {6: β * (s - w) * L * (L - 1) * w ** (2 / 3) + β * L * (L - 1) * w ** (2 / 3) * σ}
    printed[14] = β * L * (L - 1) * w ** (2 / 3) * (s - w + σ / 2)
    for number, value in printed.items():
        given = deep_linear.modewise_ito_drift(
            np.array([w]),
            np.array([s]),
            depth=L,
            learning_rate=0.01,
            batch_size=1,
            label_noise_std=σ,
            form=f"published_{number}",
        )
        np.testing.assert_allclose(given, [value], rtol=1e-14)


def test_batches_of_states_and_of_settings():
    w = rng.uniform(0.1, 1, size=(4, 1, 3))
    rates = np.array([0.01, 0.02])
    arguments = dict(depth=3, batch_size=2, label_noise_std=0.3)
    value = deep_linear.modewise_drift(w, S, learning_rate=rates, **arguments)
    assert value.shape == (4, 2, 3)
    one = deep_linear.modewise_drift(w[1, 0], S, learning_rate=0.02, **arguments)
    np.testing.assert_allclose(value[1, 1], one, rtol=1e-14)
    mapped = jax.vmap(lambda x: deep_linear.modewise_cross_diffusion(x, S, learning_rate=0.02, **arguments))(w[:, 0])
    assert mapped.shape == (4, 3, 3)
    batch = deep_linear.modewise_cross_diffusion(w, S, learning_rate=rates, **arguments)
    np.testing.assert_allclose(batch[:, 1], mapped, rtol=1e-13)


def test_one_layer_has_no_ito_drift():
    drift = deep_linear.modewise_drift(W, S, depth=1, **SETTINGS)
    np.testing.assert_allclose(drift, S - W, rtol=1e-14)


def test_derivatives_in_both_modes():
    def value(w, s, η, b, σ):
        settings = dict(depth=3, learning_rate=η, batch_size=b, label_noise_std=σ)
        return jnp.sum(deep_linear.modewise_drift(w, s, **settings) * deep_linear.modewise_diffusion(w, s, **settings))

    point = (W, S, 0.1, 2.0, 0.4)
    jax.test_util.check_grads(jax.jit(value), point, order=1, modes=("fwd", "rev"))


@pytest.mark.parametrize(
    "change, message",
    [
        (dict(amplitudes=np.array([0.1, 0.0, 0.2])), "amplitudes"),
        (dict(singular_values=np.array([1.0, -0.1, 0.2])), "singular_values"),
        (dict(amplitudes=W[:2]), "singular_values"),
        (dict(depth=0), "depth"),
        (dict(learning_rate=0.0), "learning_rate"),
        (dict(batch_size=-1), "batch_size"),
        (dict(label_noise_std=-0.1), "label_noise_std"),
        (dict(form="printed"), "form"),
    ],
)
def test_bad_input_is_named(change, message):
    arguments = dict(amplitudes=W, singular_values=S, depth=2, **SETTINGS) | change
    with pytest.raises((ValueError, TypeCheckError), match=message):
        deep_linear.modewise_drift(**arguments)
