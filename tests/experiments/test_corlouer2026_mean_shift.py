"""Mean and variance around a balanced minimum in small, and the limit of small steps."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sgdynamics import experiments, plotting
from sgdynamics.experiments import _realisations
from sgdynamics.experiments._store import check_described
from sgdynamics.experiments.corlouer2026 import _mean_shift_runs as runs
from sgdynamics.experiments.corlouer2026._mean_shift import MeanShiftConfig, run
from sgdynamics.experiments.corlouer2026._mean_shift_claims import predicted
from sgdynamics.theory import deep_linear

pytestmark = pytest.mark.long

TINY = MeanShiftConfig(
    singular_values=(1.0, 0.8), widths=(6,), depths=(2,), replicas=(128,), groups=16, burn_in=3.0, window=8.0,
    steps=(0.1, 0.15, 0.3), one_mode_replicas=1024, one_mode_window=10.0, one_mode_learning_rate=0.02,
)  # fmt: skip


@pytest.fixture(scope="module")
def result():
    return run(TINY, experiments.Silence())


def test_the_network_has_its_own_mean_and_the_printed_one_is_rejected(result):
    claims = {claim.id: claim for claim in result.claims}
    assert {id for id in claims if id.endswith("/published")} == {
        f"{kind}, d = 6, L = 2/mean of (17)/published" for kind in ("SGD", "SDE")
    }
    # so few replicas may be too coarse for `resolution`: where values should agree, they must not disagree
    values = {id for id in claims if id.endswith(("/mean", "/variance", "/converged in steps"))}
    assert len(values) == 7
    assert all(claims[id].verdict != "not reproduced" for id in values)
    assert all(claims[id].as_expected for id in set(claims) - values)
    assert sum(id.endswith("/control") for id in claims) == 3


def test_the_data_are_described_and_draw(result):
    check_described(result.data)
    axes = plotting.draw("corlouer2026/mean_shift", result.data).axes
    assert [ax.get_title() for ax in axes[:2]] == ["network, d = 6, L = 2", "one mode alone"]


@pytest.mark.parametrize(
    "bad",
    [
        {"depths": (1, 2)}, {"widths": (2, 12)}, {"widths": (3,)}, {"steps": (0.1, 0.2)}, {"steps": (0.3, 0.2, 0.1)},
        {"replicas": (1000, 128)}, {"one_mode_replicas": 1000}, {"window": 0.0}, {"singular_values": (1.0, 0.0)},
    ],
)  # fmt: skip
def test_bad_values_are_refused(bad):
    with pytest.raises(ValueError, match=next(iter(bad))):
        MeanShiftConfig(**bad)


def test_predictions_of_the_catalogue():
    student = runs.student((1.0,), 12, 2, 0.5, 0.1, jax.random.key(0))
    assert student.learning_rate == pytest.approx(0.1 / (2 * 14))
    values = predicted(student)  # −d/2; −(L−1)/2; (L−1)/(2 σ)
    assert values == pytest.approx({"network": -6.0, "one mode": -0.5, "(17)": 1.0})


def test_the_line_is_that_of_weighted_least_squares():
    x, rng = np.array([0.1, 0.15, 0.3]), np.random.default_rng(0)
    draws = rng.normal(size=(3, 8))
    value, slope = runs.limit(x, [_realisations.over_realisations(values) for values in draws])
    oracle = np.polynomial.polynomial.polyfit(x, draws.mean(axis=1), 1, w=np.sqrt(x))
    assert np.allclose([value.value, slope.value], oracle)
    each = [np.polynomial.polynomial.polyfit(x, column, 1, w=np.sqrt(x))[0] for column in draws.T]
    assert np.isclose(value.standard_error, np.std(each, ddof=1) / np.sqrt(8))


def test_the_bend_is_what_a_parabola_adds():
    x = np.array([0.1, 0.15, 0.3])
    values = [_realisations.over_realisations(np.full(4, 2 + 3 * at - 5 * at**2)) for at in x]
    assert np.isclose(runs.limit(x, values)[0].value + runs.bend(x, values).value, 2.0)


def test_imbalance_is_that_of_the_theory():
    student = runs.student((1.0, 0.5), 3, 3, 1.0, 0.1, jax.random.key(0))
    positions = jax.random.normal(jax.random.key(1), (2, 27))
    theory = np.stack([deep_linear.imbalance(student.weights(θ)) for θ in positions])
    measured = runs.largest_imbalance(student, positions)
    assert np.isclose(measured.value, theory.mean(axis=0).max())
    assert np.allclose(np.sort(measured.groups), np.sort(theory[:, np.argmax(theory.mean(axis=0))]))


def test_amplitudes_are_those_of_the_theory():
    student = runs.student((1.0, 0.5), 3, 2, 1.0, 0.1, jax.random.key(0))
    θ = jax.random.normal(jax.random.key(1), (18,))
    state = type("State", (), {"position": θ})
    theory = deep_linear.mode_amplitudes(student.weights(θ), student.teacher.matrix)[:2]
    assert jnp.allclose(runs.Amplitudes.of(student)(state), theory)
