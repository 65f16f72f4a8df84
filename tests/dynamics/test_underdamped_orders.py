"""The orders of the schemes for the underdamped Langevin equation, from exact moments: nothing is sampled.

On a quadratic loss a substep is affine in (θ, v), and linear in its Gaussian increments. Evaluated on basis vectors
it gives matrices; these are iterated on second moments in NumPy, and so is the equation itself.
"""

import diffrax
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import linalg

import sgdynamics as sgd
from sgdynamics import noise
from sgdynamics.data import Dataset
from sgdynamics.dynamics._standard_form import StandardForm

RNG = np.random.default_rng(11)
SAMPLES, BATCH = 5, 2
X, Y = RNG.normal(size=(SAMPLES, 2)), RNG.normal(size=SAMPLES)
ETA, BETA, DECAY, TIME = 0.4, 0.6, 0.2, 1.6
C0 = 2 / (ETA * (1 + BETA))
START = np.array([1.0, -0.5, 0.3, 0.8])
C = np.array([[1.0, -0.6], [-0.6, 0.8]])
HALVINGS = ETA / 2.0 ** np.arange(2, 8)


def problem():
    return sgd.Problem(sgd.networks.Linear(2, 1), Dataset(X, Y))


def underdamped(**options):
    return sgd.UnderdampedLangevin(
        problem(), learning_rate=ETA, sampler=BATCH, momentum=BETA, weight_decay=DECAY, **options
    )


def order(errors):
    """The slope of errors over the halvings, and the last of its local values."""
    slopes = np.diff(np.log(errors)) / np.diff(np.log(HALVINGS[: len(errors)]))
    return slopes[-1], slopes


# --- state-dependent noise: weak order, of all second moments with (1, θ, v) -------------------------------------


def equation_moments():
    """E[z zᵀ] at TIME, z = (1, θ, v): the linear moment equation of the SDE by a matrix exponential."""
    H = X.T @ X / SAMPLES + DECAY * np.eye(2)
    A = np.zeros((5, 5))
    A[1:3, 3:] = np.eye(2)
    A[3:] = -C0 * np.column_stack([-X.T @ Y / SAMPLES, H, (1 - BETA) * np.eye(2)])
    gradients = np.stack([np.column_stack([-y * x, np.outer(x, x)]) for x, y in zip(X, Y, strict=True)])
    N = np.zeros((SAMPLES, 5, 5))
    N[:, 3:, :3] = C0 * np.sqrt(ETA / (BATCH * SAMPLES)) * (gradients - gradients.mean(axis=0))
    I = np.eye(5)
    generator = np.kron(A, I) + np.kron(I, A) + sum(np.kron(n, n) for n in N)
    start = np.outer(np.r_[1, START], np.r_[1, START])
    return (linalg.expm(TIME * generator) @ start.ravel()).reshape(5, 5)


def loop_matrices(scheme):
    """dt ↦ (M, N_i): a substep is z' = M z + Σ_i dW_i N_i z."""
    process = underdamped(scheme=scheme)

    def end(y, dW, dt):
        return jnp.concatenate(process.substep(jnp.int32(0), (y[:2], y[2:]), dt, dW))

    points, sources = np.vstack([np.zeros(4), np.eye(4)]), np.vstack([np.zeros(SAMPLES), np.eye(SAMPLES)])
    each = jax.jit(jax.vmap(jax.vmap(end, (0, None, None)), (None, 0, None)))

    def matrices(dt):
        values = np.array(each(points, sources, jnp.asarray(dt)))  # [sources, points, 4]
        values[1:] -= values[:1]
        affine = np.concatenate([values[:, :1], values[:, 1:] - values[:, :1]], axis=1)
        z = np.zeros((SAMPLES + 1, 5, 5))
        z[:, 1:] = np.swapaxes(affine, 1, 2)
        z[0, 0, 0] = 1
        return z[0], z[1:]

    return matrices


def loop_moments(matrices, dt):
    M, N = matrices(dt)
    P = np.outer(np.r_[1, START], np.r_[1, START])
    for _ in range(round(TIME / dt)):
        P = M @ P @ M.T + dt * np.einsum("iab,bc,idc->ad", N, P, N)
    return P


@pytest.mark.parametrize("scheme, expected", [("euler", 1), ("splitting", 2)])
def test_the_loops_weak_order_with_state_dependent_noise(scheme, expected):
    exact, matrices = equation_moments(), loop_matrices(scheme)
    errors = [np.linalg.norm(loop_moments(matrices, dt) - exact) for dt in HALVINGS]
    last, _ = order(errors)
    assert abs(last - expected) < 0.05 and errors[-1] < 0.05 * np.linalg.norm(exact)


# --- constant noise: weak and strong orders -----------------------------------------------------------------------


class Given(diffrax.AbstractBrownianPath):
    """One step's increment and Lévy areas."""

    W: jax.Array
    H: jax.Array
    K: jax.Array
    dt: jax.Array
    levy_area = diffrax.SpaceTimeTimeLevyArea

    @property
    def t0(self):
        return 0.0

    @property
    def t1(self):
        return jnp.inf

    def evaluate(self, t0, t1=None, left=True, use_levy=False):
        return diffrax.SpaceTimeTimeLevyArea(dt=self.dt, W=self.W, H=self.H, K=self.K) if use_levy else self.W


def one_step(scheme):
    """(θ, v), (W, H, K), dt ↦ (θ, v)."""
    process = underdamped(noise=noise.Constant(C), scheme=scheme if isinstance(scheme, str) else "euler")

    def loop(y, w, dt):
        return jnp.concatenate(process.substep(jnp.int32(0), (y[:2], y[2:]), dt, w[:2]))

    def solver(y, w, dt):
        form = StandardForm(process, y[:2])
        terms, t0, phase = form.terms(Given(w[:2], w[2:4], w[4:], dt)), jnp.zeros(()), form.enter((y[:2], y[2:]))
        state = scheme.init(terms, t0, dt, phase, None)
        return jnp.concatenate(form.leave(scheme.step(terms, t0, dt, phase, None, state, False)[0]))

    return loop if isinstance(scheme, str) else solver


def increments(s):
    """The weights of dW_s, s in units of the step, in W, H and K."""
    return np.stack([1 + 0 * s, 0.5 - s, (s**2 - s) / 2 + 1 / 12])


def errors(scheme):
    """(weak, strong) errors for each dt: of E[y yᵀ], and √E|y − Y|² with Y driven by the same Brownian motion.

    With D = Y − y:   D' = M D + (E − M) Y + ∫ r dW,   Y' = E Y + ∫ k dW,   k = e^{A(dt−s)} G,   r = k − N (W, H, K).
    """
    I = np.eye(2)
    A = np.block([[0 * I, I], [-C0 * (X.T @ X / SAMPLES + DECAY * I), -C0 * (1 - BETA) * I]])
    G = np.vstack([0 * I, C0 * np.sqrt(ETA) * linalg.sqrtm(C)])
    rest = np.r_[np.linalg.solve(X.T @ X / SAMPLES + DECAY * I, X.T @ Y / SAMPLES), 0, 0]
    linear = jax.jit(jax.vmap(one_step(scheme), (0, 0, None)))
    basis = np.eye(10)
    s, weights = (np.polynomial.legendre.leggauss(14)[0] + 1) / 2, np.polynomial.legendre.leggauss(14)[1] / 2
    found = []
    for dt in HALVINGS:
        values = np.asarray(linear(rest[None] + basis[:, :4], basis[:, 4:], jnp.asarray(dt))) - rest[None]
        M, N, E = values[:4].T, values[4:].T, linalg.expm(A * dt)
        k = np.stack([linalg.expm(A * dt * (1 - x)) @ G for x in s])
        r = k - np.einsum("ajb,js->sab", N.reshape(4, 3, 2), increments(s))
        joint = np.concatenate([r, k], axis=1)
        V = dt * np.einsum("s,sab,scb->ac", weights, joint, joint)
        T = np.block([[M, E - M], [0 * M, E]])
        y = np.r_[np.zeros(4), START - rest]
        P = np.outer(y, y)
        for _ in range(round(TIME / dt)):
            P = T @ P @ T.T + V
        DD, DY = P[:4, :4], P[:4, 4:]
        found.append((np.linalg.norm(DD - DY - DY.T), np.sqrt(np.trace(DD))))
    return np.array(found).T


ORDERS = [("euler", 1, 1), ("splitting", 2, 1), (diffrax.ALIGN(0.01), 2, 2), (diffrax.ShOULD(0.01), 3, 3),
          (diffrax.QUICSORT(0.01), 3, 3)]  # fmt: skip


@pytest.mark.parametrize("scheme, weak, strong", ORDERS, ids=str)
def test_the_orders_with_constant_noise(scheme, weak, strong):
    for found, expected in zip(errors(scheme), (weak, strong), strict=True):
        last, _ = order(found)
        assert abs(last - expected) < 0.05
