"""One-dimensional processes: known laws, SciPy's quadrature, simulated paths, and what must be refused."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.integrate
import scipy.stats

from sgdynamics.theory import deep_linear, fokker_planck
from sgdynamics.theory.fokker_planck import FiniteVolume, local_exponent, stationary_density

OU = (lambda w: -1.5 * (w - 0.3)), (lambda w: 0.12)


def mode(depth, s, beta, noise):
    """One mode of a deep linear network, `noise` the variance of the labels: catalogue 1.4, corrected."""
    L = depth

    def drift(w):
        ito = beta / 2 * L * (L - 1) * w ** (3 - 4 / L) * (2 * (s - w) ** 2 + noise)
        return L * w ** (2 - 2 / L) * (s - w) + ito

    return drift, lambda w: beta * L**2 * (2 * (s - w) ** 2 + noise) * w ** (4 - 4 / L)


def test_ornstein_uhlenbeck():
    law = stationary_density(*OU, lower=-2, upper=3)
    np.testing.assert_allclose([law.mean, law.mode, law.variance], [0.3, 0.3, 0.04], rtol=1e-13)
    np.testing.assert_allclose(law.moment(4, about=0.3), 3 * 0.04**2, rtol=1e-12)
    known = scipy.stats.norm(0.3, 0.2)
    edges = np.linspace(-0.5, 1.0, 40)
    np.testing.assert_allclose(law.probability(edges), np.diff(known.cdf(edges)), atol=1e-13)
    np.testing.assert_allclose(law.density, known.pdf(law.points), atol=1e-12)
    assert law.normalisable and np.isnan(law.atom) and np.all(law.tails < 1e-20) and law.error < 1e-12


@pytest.mark.parametrize("shape", [0.3, 0.9, 4.0])
def test_square_root_process_has_a_gamma_law(shape):
    """dw = (a − w) dt + √(c w) dB: shape 2a/c, scale c/2. The density is infinite at 0 for shapes below 1."""
    law = stationary_density(lambda w: 0.4 * shape - w, lambda w: 0.8 * w, lower=0, upper=40)
    known = scipy.stats.gamma(shape, scale=0.4)
    np.testing.assert_allclose([law.mean, law.variance], [known.mean(), known.var()], rtol=1e-9)
    at = np.geomspace(1e-12, 5, 40)
    np.testing.assert_allclose(law.cdf(at), known.cdf(at), atol=1e-9)
    np.testing.assert_allclose(law.tails, 0, atol=1e-20)


def test_geometric_process_has_an_inverse_gamma_law():
    """dw = (a − b w) dt + c w dB: shape 1 + 2b/c², scale 2a/c²; a power law as tail, which `tails` sees."""
    a, b, c = 0.7, 2.0, 1.1
    known = scipy.stats.invgamma(1 + 2 * b / c**2, scale=2 * a / c**2)
    process = (lambda w: a - b * w), (lambda w: c**2 * w**2)
    law = stationary_density(*process, lower=0, upper=1e5)
    np.testing.assert_allclose(law.mean, known.mean(), rtol=1e-11)
    np.testing.assert_allclose(law.mode, 2 * a / c**2 / (2 + 2 * b / c**2), rtol=1e-13)
    np.testing.assert_allclose(law.cdf(np.array([0.1, 0.3, 1, 4])), known.cdf([0.1, 0.3, 1, 4]), atol=1e-12)
    short = stationary_density(*process, lower=0, upper=5)
    assert known.sf(5) / 2 < short.tails[1] < 2 * known.sf(5) and short.tails[0] == 0
    np.testing.assert_allclose(short.cdf(1.0), known.cdf(1.0) / known.cdf(5.0), rtol=1e-12)


@pytest.mark.long
@pytest.mark.parametrize("label_noise_std", [3e-2, 1e-3, 1e-5])
def test_a_mode_with_little_label_noise_on_a_wide_domain(label_noise_std):
    """The diffusion varies on the scale of the label noise, far below the domain's; against a quadrature around s."""
    settings = {"depth": 2, "learning_rate": 0.005, "batch_size": 1, "label_noise_std": label_noise_std}
    one = np.array([1.0])
    law = stationary_density(
        lambda w: deep_linear.modewise_drift(w[..., None], one, **settings)[..., 0],
        lambda w: deep_linear.modewise_diffusion(w[..., None], one, **settings)[..., 0],
        lower=0, upper=3,
    )  # fmt: skip
    mean, variance = deep_linear.stationary_moments(1.0, **settings)
    assert law.normalisable and law.error < 1e-7
    np.testing.assert_allclose(law.mean - 1, mean - 1, rtol=1e-7, atol=1e-15)
    np.testing.assert_allclose(law.variance, variance, rtol=1e-7)


def by_quad(drift, diffusion, s, deviation, n_deviations=9):
    """(mean − s, variance) by nested adaptive quadrature about the peak."""

    def density(w):
        potential = scipy.integrate.quad(lambda z: 2 * drift(z) / diffusion(z), s, w, epsabs=0, epsrel=1e-12)[0]
        return np.exp(potential) * diffusion(s) / diffusion(w)

    a, b = s - n_deviations * deviation, s + n_deviations * deviation
    total, first, second = (
        scipy.integrate.quad(lambda w, n=n: (w - s) ** n * density(w), a, b, epsabs=0, epsrel=1e-11, limit=200)[0]
        for n in range(3)
    )
    return first / total, second / total - (first / total) ** 2


@pytest.mark.parametrize(
    ("depth", "s", "beta", "noise"), [(2, 1.0, 1e-5, 0.1), (4, 1.3, 1e-6, 0.4), (3, 0.7, 2e-3, 0.1)]
)
def test_mode_of_a_deep_linear_network(depth, s, beta, noise):
    """The peak is found and resolved on a domain that is up to a thousand times as wide."""
    process = mode(depth, s, beta, noise)
    law = stationary_density(*process, lower=0, upper=2 * s)
    mean, variance = by_quad(*process, s, np.sqrt(beta * depth / 2 * noise * s ** (2 - 2 / depth)))
    np.testing.assert_allclose(law.mean - s, mean, rtol=1e-8)
    np.testing.assert_allclose(law.variance, variance, rtol=1e-9)
    shift = beta / 2 * (depth - 1) * s ** (1 - 2 / depth) * noise
    np.testing.assert_allclose((s - law.mean) / shift, 1, atol=50 * beta)
    np.testing.assert_allclose((s - law.mode) / shift, 3, atol=50 * beta)
    if (depth, s) == (2, 1.0):
        np.testing.assert_allclose((law.mean - 1) / beta, -0.050001, atol=1e-8)
        np.testing.assert_allclose((law.mode - 1) / beta, -0.149994, atol=1e-8)
        np.testing.assert_allclose(law.variance / beta, 0.100002, atol=1e-7)


def test_heavy_tail():
    """p ~ w^{−5+3/L} beyond s."""
    law = stationary_density(*mode(2, 1.0, 0.3, 0.1), lower=0, upper=1e6)
    beyond = 1 - law.cdf(np.array([1e3, 1e4]))
    np.testing.assert_allclose(np.log10(beyond[0] / beyond[1]), 2.5, atol=5e-3)


@pytest.mark.parametrize("depth", [2, 4])
def test_without_label_noise_the_law_is_a_point_mass(depth):
    drift, diffusion = mode(depth, 0.9, 0.01, 0.0)
    law = stationary_density(drift, diffusion, lower=0, upper=2)
    assert not law.normalisable
    np.testing.assert_allclose([law.atom, law.mean, law.mode, law.expectation(lambda w: w)], 0.9, rtol=1e-15)
    assert law.variance == 0 and np.all(law.density == 0) and not np.any(np.isnan(law.log_density))
    np.testing.assert_array_equal(law.probability(np.array([0.0, 0.5, 1.0, 1.5])), [0, 1, 0])
    exponent = -2 - 1 / (0.01 * depth * 0.9 ** (2 - 2 / depth))
    for side in (1e-6, -1e-6):
        np.testing.assert_allclose(local_exponent(drift, diffusion, 0.9, distance=side), exponent, rtol=1e-4)
    np.testing.assert_allclose(local_exponent(*mode(2, 0.9, 0.01, 0.1), 0.9, distance=1e-6), 0, atol=1e-4)


def test_other_point_masses():
    extinct = stationary_density(lambda w: 0.1 * w, lambda w: w**2, lower=0, upper=3)
    assert not extinct.normalisable and extinct.atom == 0 and extinct.mean == 0 and extinct.variance == 0
    settled = stationary_density(lambda w: 2.0 - w, lambda w: 0.0, lower=0, upper=3)
    np.testing.assert_allclose([settled.atom, settled.cdf(2.1), settled.cdf(1.9)], [2, 1, 0], rtol=1e-15)
    with pytest.raises(ValueError, match="depends on its start"):
        stationary_density(lambda w: w * (1 - w**2), lambda w: 0.0, lower=-2, upper=2)


@pytest.mark.long
def test_derivatives_and_transformations():
    """Of mean, mode and a probability with respect to β, s and the upper end; of the atom with respect to s."""

    def results(beta, s, upper):
        law = stationary_density(*mode(3, s, beta, 0.3), lower=0.1, upper=upper)
        return jnp.stack([law.mean, law.mode, law.cdf(1.1)])

    weights = jnp.asarray([1.0, -2.0, 0.6])
    everything = jax.jit(jax.vmap(jax.value_and_grad(lambda x: weights @ results(*x))))
    h = 1e-4
    moves = h * jnp.concatenate([jnp.zeros((1, 3)), jnp.eye(3), -jnp.eye(3)])
    values, slopes = everything(jnp.asarray([[0.2, 1.0, 2.0]]) + moves)
    np.testing.assert_allclose(slopes[0], (values[1:4] - values[4:]) / (2 * h), rtol=1e-6)

    def atom(s):
        law = stationary_density(*mode(3, s, 0.2, 0.0), lower=0.1, upper=2.0)
        return law.mean, law.variance

    (mean, variance), slopes = jax.jvp(atom, (0.8,), (1.0,))
    np.testing.assert_allclose([mean, variance, *slopes], [0.8, 0, 1, 0], atol=1e-14)


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"upper": -2.0}, "upper"),
        ({"lower": np.nan}, "lower"),
        ({"diffusion": lambda w: -0.1}, "diffusion"),
        ({"drift": lambda w: 1 / (w - w)}, "drift"),
        ({"drift": lambda w: w[:1]}, "shape"),
        ({"panels": 2}, "panels"),
        ({"diffusion": lambda w: jnp.where(w > 1.5, 0.0, 1.0)}, "diffusion"),
        ({"drift": lambda w: 1.0 + 0 * w, "diffusion": lambda w: jnp.abs(w - 0.51234) ** 0.5}, "error"),
    ],
)
def test_stationary_density_refuses(change, match):
    arguments = {"drift": OU[0], "diffusion": OU[1], "lower": -2.0, "upper": 2.0} | change
    with pytest.raises(ValueError, match=match):
        stationary_density(arguments.pop("drift"), arguments.pop("diffusion"), **arguments)


def test_transient_of_ornstein_uhlenbeck():
    """Orders: 2 in the width of the cells, 1 in time, against the exact Gaussian."""
    t, start = 0.4, scipy.stats.norm(-0.1, 0.15)
    F = np.exp(-1.5 * t)
    later = scipy.stats.norm(0.3 - 0.4 * F, np.sqrt(0.0225 * F**2 + 0.04 * (1 - F**2)))

    def error(cells, steps):
        scheme = FiniteVolume(*OU, np.linspace(-1.3, 1.7, cells + 1))
        law = scheme.evolve(scheme.cells(start.cdf), np.array([t / 2, t]), steps=steps)
        return np.abs(law[1] - np.diff(later.cdf(scheme.edges))).sum()

    in_time = np.log2(error(600, 10) / error(600, 20))
    in_space = np.log2(error(30, 8000) / error(60, 8000))
    np.testing.assert_allclose([in_time, in_space], [1, 2], atol=0.12)
    assert error(600, 2000) < 3e-4


def test_uneven_cells():
    """Cells that grow with w: second order towards the stationary law, and the mean of CIR relaxes as e^{−t}."""
    process = (lambda w: 1.5 - w), (lambda w: 0.8 * w)
    law = stationary_density(*process, lower=1e-2, upper=12)
    errors = []
    for cells in (60, 120):
        scheme = FiniteVolume(*process, np.geomspace(1e-2, 12, cells + 1))
        errors.append(np.abs(scheme.stationary() - law.probability(scheme.edges)).sum())
    np.testing.assert_allclose(np.log2(errors[0] / errors[1]), 2, atol=0.1)
    later = scheme.evolve(scheme.point(4.0), np.array([0.5, 1e9]), steps=400)
    np.testing.assert_allclose(scheme.centres @ later[0], 1.5 + 2.5 * np.exp(-0.5), rtol=2e-3)
    np.testing.assert_allclose(later[1], scheme.stationary(), atol=1e-12)


@pytest.mark.parametrize("steps", [1, 100])
@pytest.mark.parametrize("case", ["no noise", "fast", "zeros", "mode"])
def test_probability_is_kept_and_positive(case, steps):
    process, edges = {
        "no noise": ((lambda w: 1 - w, lambda w: 0.0), np.linspace(0, 3, 91)),
        "fast": ((lambda w: 1e8 * np.sin(40) * w * (1 - w), lambda w: 1e-9 * w), np.geomspace(1e-8, 3, 91)),
        "zeros": ((lambda w: w * (1 - w) * (w - 2), lambda w: w**2 * (1 - w) ** 2), np.linspace(-1, 3, 91)),
        "mode": (mode(4, 1.0, 1e-4, 0.0), np.geomspace(1e-4, 2, 91)),
    }[case]
    scheme = FiniteVolume(*process, edges)
    for start in (scheme.point(0.4), jnp.full(90, 1 / 90)):
        law = np.asarray(scheme.evolve(start, np.array([1e-9, 1e-3, 1.0, 1e12]), steps=steps))
        np.testing.assert_allclose(law.sum(axis=1), 1, atol=1e-12)
        assert np.all(law >= 0) and np.all(np.isfinite(law))


def test_against_simulated_paths():
    """χ² of 4,000 Euler-Maruyama paths in 25 cells; the drift as published, and Stratonovich's, fail the same test.

    A false alarm has the probability 1e-4.
    """
    depth, s, beta, noise, t, start = 3, 1.0, 0.05, 0.5, 1.1, 0.15
    drift, diffusion = mode(depth, s, beta, noise)
    rng = np.random.default_rng(7)
    w = np.full(4000, start)
    steps = 2000
    for dB in rng.normal(0, np.sqrt(t / steps), (steps, w.size)):
        w = np.maximum(w + drift(w) * t / steps + np.sqrt(diffusion(w)) * dB, 1e-6)
    bins = np.quantile(w, np.arange(1, 25) / 25)

    def published(w):
        gradient = depth * w ** (2 - 2 / depth) * (s - w)
        return gradient + beta * depth * (depth - 1) * w ** (2 - 4 / depth) * (s - w + np.sqrt(noise))

    def stratonovich(w):
        a, q, c = 4 - 4 / depth, 2 * (s - w) ** 2 + noise, beta * depth**2
        return drift(w) - (c * a * w ** (a - 1) * q - 4 * c * w**a * (s - w)) / 4

    def chi_squared(drift):
        scheme = FiniteVolume(drift, diffusion, np.linspace(1e-3, 3.5, 701))
        law = scheme.evolve(scheme.point(start), t, steps=1000)
        cdf = np.concatenate([[0], np.cumsum(law)])
        expected = w.size * np.diff(np.interp(fixed, scheme.edges, cdf))
        return np.sum((counts - expected) ** 2 / expected)

    # cells of about equal counts, by the paths' own quantiles: the limit law of χ² is that of fixed cells
    fixed = np.concatenate([[1e-3], np.round(bins, 2), [3.5]])
    counts = np.histogram(w, fixed)[0]
    assert counts.sum() == w.size
    allowed = scipy.stats.chi2(24).isf(1e-4)
    assert chi_squared(drift) < allowed
    assert chi_squared(published) > 3 * allowed
    assert chi_squared(stratonovich) > 3 * allowed


def test_derivatives_of_the_scheme():
    def mean(beta):
        scheme = FiniteVolume(*mode(3, 1.0, beta, 0.3), np.linspace(0, 2, 61))
        return scheme.evolve(scheme.point(0.3), 1.0, steps=50) @ scheme.centres

    both = jax.jit(lambda x: (mean(x), jax.grad(mean)(x), jax.jvp(mean, (x,), (1.0,))[1]))
    (up, *_), (_, reverse, forward), (down, *_) = both(0.1001), both(0.1), both(0.0999)
    np.testing.assert_allclose([reverse, forward], (up - down) / 2e-4, rtol=1e-5)


def test_finite_volume_refuses():
    with pytest.raises(ValueError, match="increasing"):
        FiniteVolume(*OU, np.array([0.0, 1.0, 1.0, 2.0]))
    with pytest.raises(ValueError, match="two cells"):
        FiniteVolume(*OU, np.array([0.0, 1.0]))
    with pytest.raises(ValueError, match="diffusion"):
        FiniteVolume(OU[0], lambda w: -w, np.array([0.0, 1.0, 2.0]))
    scheme = FiniteVolume(*OU, np.linspace(0, 1, 5))
    with pytest.raises(ValueError, match="add up to 1"):
        scheme.evolve(np.full(4, 0.3), 1.0)
    with pytest.raises(ValueError, match="times"):
        scheme.evolve(np.full(4, 0.25), np.array([1.0, 0.5]))
    with pytest.raises(ValueError, match="between the outer edges"):
        scheme.point(2.0)
    with pytest.raises(ValueError, match="Move the edges"):
        scheme.cells(lambda w: 0 * w)
    assert fokker_planck.FiniteVolume is FiniteVolume
