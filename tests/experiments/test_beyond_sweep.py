"""The grid of learning rates and momenta, in small; its laws by an independent recursion."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import sgdynamics as sgd
from sgdynamics import experiments, plotting
from sgdynamics.experiments._store import check_described
from sgdynamics.experiments.beyond import _sweep
from sgdynamics.experiments.beyond._sweep import Setting, SweepConfig, run

CONFIG = SweepConfig(
    learning_rates=(0.3, 1.5), momenta=(0.0, 0.5), samples=20, inputs=2, replicas=256, steps=200, seed=3
)


@pytest.fixture(scope="module")
def result():
    return run(CONFIG, experiments.Silence())


def test_every_verdict_is_the_expected_one(result):
    assert [claim.as_expected for claim in result.claims] == [True] * 6
    assert sum(claim.kind == "rejection" for claim in result.claims) == 2


def test_the_data_are_described_and_draw(result):
    check_described(result.data)
    assert result.data["exact"].dims == ("momentum", "learning_rate")
    axes = plotting.draw("beyond/sweep", result.data).axes
    assert [ax.get_xlabel() for ax in axes] == ["learning rate η"] * 2


def test_the_exact_excess_loss_is_that_of_the_enumerated_recursion():
    """Without momentum and with b = 1: M = Σ_i ((1 − η a_i a_iᵀ) M (…)ᵀ + η² r_i² a_i a_iᵀ)/P, iterated."""
    case = _sweep._regression.teacher_student(
        jax.random.key(0), samples=12, inputs=2, label_noise_std=0.5, learning_rate=0.3, batch_size=1
    )
    a, w = np.asarray(case.data.x), np.asarray(case.minimum)
    r = np.asarray(case.data.y).reshape(-1) - a @ w
    M = np.zeros((2, 2))
    for _ in range(5000):
        steps = [(np.eye(2) - 0.3 * np.outer(x, x), 0.3 * e * x) for x, e in zip(a, r, strict=True)]
        M = np.mean([F @ M @ F.T + np.outer(f, f) for F, f in steps], axis=0)
    expected = np.trace(a.T @ a / len(a) @ M) / 2
    found = _sweep._excess(case, sgd.predict(Setting(0.3, 0.0).descent(case)))
    assert found == pytest.approx(expected, rel=1e-9)
    assert float(case.problem.loss(case.minimum + 1.0) - case.problem.loss(case.minimum)) == pytest.approx(
        float(jnp.ones(2) @ jnp.asarray(a.T @ a / len(a)) @ jnp.ones(2) / 2), rel=1e-9
    )


@pytest.mark.parametrize("bad", [{"learning_rates": (0.0,)}, {"momenta": (-0.1,)}, {"samples": 5}, {"every": 0}])
def test_bad_values_are_refused(bad):
    with pytest.raises(ValueError, match=next(iter(bad))):
        SweepConfig(**bad)


def test_an_unstable_combination_is_refused_before_anything_runs():
    with pytest.raises(ValueError, match="stable"):
        run(SweepConfig(learning_rates=(1000.0,), momenta=(0.0,)), experiments.Silence())
