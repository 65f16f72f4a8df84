"""Power spectra: SciPy's Welch, known processes, and what the sums may cost."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import linalg, signal

from sgdynamics.statistics import Groups, PowerSpectrum, Records

SEGMENT = 32


def welch(x, segment=SEGMENT, overlap=SEGMENT // 2, window="hann", detrend=False):
    """SciPy's two-sided density in rad per step, averaged over replicas, of the records after step 0."""
    _, S = signal.welch(
        x[1:], nperseg=segment, noverlap=overlap, window=window, detrend=detrend, return_onesided=False, axis=0
    )
    return S[: segment // 2 + 1].mean(1)


def integral(S, segment=SEGMENT):
    """∫ S dω/2π over both signs."""
    twice = np.full(segment // 2 + 1, 2.0)
    twice[0] = 1
    twice[-1] = 2 if segment % 2 else 1
    return jnp.asarray(twice) @ S / segment


def ar2(records, replicas, seed, modulus=0.95, angle=0.7):
    """x(k) = 2ρ cos φ x(k − 1) − ρ² x(k − 2) + white noise, long after its start; and its autocovariance."""
    a = np.array([2 * modulus * np.cos(angle), -(modulus**2)])
    noise = np.random.default_rng(seed).normal(size=(400 + records, replicas))
    x = signal.lfilter([1.0], [1.0, -a[0], -a[1]], noise, axis=0)[399:]
    M = np.array([[a[0], a[1]], [1.0, 0.0]])
    Σ = linalg.solve_discrete_lyapunov(M, np.diag([1.0, 0.0]))
    R, moved = [], Σ
    for _ in range(SEGMENT):
        R.append(moved[0, 0])
        moved = M @ moved
    return x[:, :, None], np.array(R), lambda ω: 1 / np.abs(1 - a[0] * np.exp(-1j * ω) - a[1] * np.exp(-2j * ω)) ** 2


@pytest.mark.parametrize(
    "options, scipys, dtype",
    [
        ({}, {}, np.float64),
        ({}, {}, np.float32),
        ({"window": "blackman", "overlap": 0.75}, {"window": "blackman", "overlap": 24}, np.float64),
        ({"detrend": True}, {"detrend": "constant"}, np.float64),
        (
            {"segment": 15, "window": "rectangular", "overlap": 0.3},
            {"segment": 15, "window": "boxcar", "overlap": 4},
            np.float64,
        ),
    ],
    ids=["hann", "float32", "blackman", "detrend", "odd"],
)
def test_equals_scipys_welch_segment_by_segment(record, options, scipys, dtype):
    point = np.array([1e4, -0.25])
    x = (record.ar1(0.8, 150, 6, 2, seed=0) + point).astype(dtype)
    about = {} if "detrend" in options else {"about": point}
    S = record.estimate(PowerSpectrum(**{"segment": SEGMENT, **options, **about}), x, groups=3).value
    expected = welch(x.astype(float) - point, **scipys)
    assert S.shape == expected.shape
    assert np.max(np.abs(S / expected - 1)) < (1e-9 if dtype == np.float64 else 1e-5)


def test_the_mean_of_the_ensemble_is_subtracted(record):
    """As if it had been from the start; the oracle's mean is that of the windowed records."""
    x = (record.ar1(0.8, 95, 40, 2, seed=1) + np.array([500.0, -3.0])).astype(np.float32)
    S = record.estimate(PowerSpectrum(SEGMENT), x, groups=1).value
    w = signal.get_window("hann", SEGMENT)
    starts = range(0, 95 - SEGMENT + 1, SEGMENT // 2)
    x = x.astype(float)
    m = np.mean([np.tensordot(w, x[1 + s : 1 + s + SEGMENT], 1) for s in starts], axis=(0, 1)) / w.sum()
    assert np.allclose(S, welch(x - m), rtol=1e-5)
    # not of each segment, which would leave nothing at ω = 0
    assert np.all(S[0] > 3 * welch(x, detrend="constant")[0])


def test_white_noise_is_flat_and_the_integral_is_the_variance(record):
    x = 3 * np.random.default_rng(2).normal(size=(513, 256, 1))
    estimate = record.estimate(PowerSpectrum(SEGMENT), x, groups=32)
    assert np.max(np.abs(estimate.z(9))) < record.worst_allowed(estimate, 17)
    assert np.max(np.abs(estimate.z(10))) > record.worst_allowed(estimate, 17)
    total = estimate.map(integral)
    assert abs(total.z(9)[0]) < record.worst_allowed(total, 1) and total.standard_error[0] < 0.1


def test_without_a_window_the_integral_is_the_variance_of_the_records(record):
    x = record.ar1(0.8, 96, 8, 1, seed=3)
    S = record.estimate(PowerSpectrum(SEGMENT, window="rectangular", overlap=0.0), x, groups=1).value
    assert np.allclose(integral(S), np.var(x[1:]), rtol=1e-12)


def test_a_resonance_with_and_without_leakage(record):
    x, R, exact = ar2(512, 256, seed=3)
    spectrum = PowerSpectrum(SEGMENT)
    estimate = record.estimate(spectrum, x, groups=32)
    leaking = spectrum.expected(R[:, None])
    assert np.max(np.abs(estimate.z(leaking))) < record.worst_allowed(estimate, 17)
    ω = np.asarray(estimate.frequencies)
    assert np.allclose(ω, np.arange(17) * 2 * np.pi / SEGMENT)
    assert abs(ω[np.argmax(estimate.value)] - 0.7) < 2 * np.pi / SEGMENT
    # such short segments smear the peak: the true density is rejected, long segments come close to it
    assert np.max(np.abs(estimate.z(exact(ω)[:, None]))) > record.worst_allowed(estimate, 17)
    n, lags = 2048, np.arange(2048)
    tail = 0.95**lags * (
        R[0] * np.cos(0.7 * lags) + (R[1] / 0.95 - R[0] * np.cos(0.7)) / np.sin(0.7) * np.sin(0.7 * lags)
    )
    assert np.allclose(tail[:SEGMENT], R)
    longer = PowerSpectrum(n)
    assert np.allclose(longer.expected(tail), exact(longer.frequencies()), rtol=0.02)


def test_every_counts_frequencies_in_steps(record):
    x = record.ar1(0.9, 96, 8, 1, seed=4)
    estimate = record.estimate(PowerSpectrum(SEGMENT, detrend=True), x, groups=4, every=5)
    assert np.allclose(estimate.frequencies, 2 * np.pi / (5 * SEGMENT) * np.arange(17))
    assert np.allclose(estimate.value, 5 * welch(x, detrend="constant"))
    assert estimate.groups.shape == (4, 17, 1)


def test_merging(record):
    x = record.ar1(0.8, 128, 16, 2, seed=5) + np.linspace(0, 9, 129)[:, None, None]
    spectrum = PowerSpectrum(SEGMENT, overlap=0.0)
    a, b = record.sums(spectrum, x[:65], groups=4), record.sums(spectrum, x[64:], groups=4)
    whole = record.estimate(spectrum, x, groups=4)
    for pair in ((a, b), (b, a)):
        both = spectrum.finalise(record.merged(spectrum, *pair))
        assert np.allclose(both.value, whole.value) and np.allclose(both.standard_error, whole.standard_error)


def test_the_number_of_steps_may_be_anything_and_memory_does_not_follow():
    states, alive = type("S", (), {"position": jnp.zeros((8, 3)), "velocity": None}), jnp.ones(8, bool)

    def size(records):
        sums = jax.eval_shape(lambda: PowerSpectrum(SEGMENT).init(states, alive, Groups(8, 4), Records(records)))
        return sum(leaf.size for leaf in jax.tree.leaves(sums))

    assert size(100) == size(10**6) < SEGMENT * 8 * 3 + 4 * 3 * 3 * 17 + 50


def test_bad_arguments_are_named(record):
    states, alive = record.States(jnp.zeros((64, 3))), jnp.ones(64, bool)

    def begin(spectrum, records=100):
        return spectrum.init(states, alive, Groups(64), Records(records))

    with pytest.raises(ValueError, match=r"segment = 128, but only 100 records"):
        begin(PowerSpectrum(128))
    with pytest.raises(ValueError, match=r"segment = 3, but it must be a whole number ≥ 4"):
        PowerSpectrum(3)
    with pytest.raises(ValueError, match=r"window = 'hamming', but it must be one of 'rectangular'"):
        PowerSpectrum(8, window="hamming")
    with pytest.raises(ValueError, match=r"overlap = 1.0, but it must be in \[0, 1\)"):
        PowerSpectrum(8, overlap=1.0)
    with pytest.raises(ValueError, match="about is given and detrend = True"):
        PowerSpectrum(8, about=np.zeros(3), detrend=True)
    with pytest.raises(ValueError, match=r"about has shape \(2,\)"):
        begin(PowerSpectrum(8, about=np.zeros(2)))
    with pytest.raises(ValueError, match=r"segment 1000000 x replicas 64 x components 3.*shorter segments"):
        begin(PowerSpectrum(10**6), 10**7)
    with pytest.raises(ValueError, match=r"autocovariance has shape \(3,\)"):
        PowerSpectrum(8).expected(np.zeros(3))
