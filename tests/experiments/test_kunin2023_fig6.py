"""Fig. 6 at a tiny size: a small linear network in place of those that see images."""

import jax
import numpy as np
import pytest

import sgdynamics as sgd
from sgdynamics import experiments, plotting
from sgdynamics.experiments import _store
from sgdynamics.experiments.kunin2023 import _fig6, _resumed

pytestmark = pytest.mark.long


@pytest.fixture(scope="module")
def small():
    """A linear network with two outputs and three inputs, at its minimum with weight decay 0.05."""
    data = sgd.data.teacher_student(jax.random.key(1), samples=30, inputs=3, outputs=2, label_noise_std=0.7)
    problem = sgd.Problem(sgd.networks.Linear(3, 2), data)
    return _resumed.at_minimum(problem, problem.minimum(0.05), 0.05)


@pytest.fixture(scope="module")
def result(small):
    config = _fig6.Fig6Config(
        networks=(_fig6.RESUMED,), learning_rate=0.003, learning_rates=(0.003, 0.2), batch_size=16,
        batch_sizes=(8, 16, 64), momenta=(0.5, 0.9), replicas=1024, steps=200, every=10,
    )  # fmt: skip
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_fig6, "network", lambda name, size: small)
        return _fig6.run(config, experiments.Silence())


def test_every_verdict_is_the_expected_one(result):
    assert [(claim.id, claim.verdict) for claim in result.claims if not claim.as_expected] == []
    assert {claim.id for claim in result.claims if claim.id.endswith("/published")} == {
        "one_hidden/learning rate/slower transport/published",
        "one_hidden/learning rate = 0.2/Eq. 12 matches exactly/published",
    }
    assert {claim.id for claim in result.claims if claim.id.endswith("/control")} == {
        "one_hidden/momentum/speed without momentum/control", "one_hidden/resumed/distance ∝ 1∕S/control",
    }  # fmt: skip


def test_the_result_is_described_and_drawn(result):
    _store.check_described(result.data)
    labels = [axes.get_ylabel() for axes in plotting.draw("kunin2023/fig6", result.data).axes[::3]]
    assert labels == ["|δ|²  [w²]", "|δ|² / (12)", "exponent c of |Δ_k|²"]


def test_after_a_change_of_batch_size_the_way_back_adds_to_new_noise(small):
    """A/S₀ + B/S with frozen noise, against the moments of the recursion itself."""
    before, after = (_resumed.Resumed(small, 0.05, S, 0.8) for S in (4, 32))
    law, k = after.law.recursion(), 9
    P, T, m = np.asarray(before.law.phase_covariance()), np.asarray(law.transition), len(small.curvatures)
    M, moved = np.zeros_like(P), np.linalg.matrix_power(T, k) - np.eye(2 * m)
    for _ in range(k):
        M = T @ M @ T.T + np.asarray(law.noise)
    expected = np.trace((moved @ P @ moved.T + M)[:m, :m])
    np.testing.assert_allclose(after.displacement_from(before, np.array([k]))[0], expected, rtol=1e-9)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("learning_rates", (1e-4,)), ("batch_sizes", (32, 128)), ("momenta", (0.9, 1.0)), ("momenta", (0.9, 0.8)),
        ("networks", ("perceptron",)), ("replicas", 1), ("steps", 10),
    ],
)  # fmt: skip
def test_bad_values_are_refused_by_name(field, value):
    with pytest.raises(ValueError, match=field):
        _fig6.Fig6Config(**{field: value})
