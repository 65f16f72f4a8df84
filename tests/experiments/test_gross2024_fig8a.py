"""Fig. 8(a) at a tiny size: what is claimed, what must come out, what is stored and drawn."""

import jax
import numpy as np
import pytest

from sgdynamics import experiments, plotting
from sgdynamics.experiments import _store
from sgdynamics.experiments.gross2024 import _fig8a, _fig8a_matrix

pytestmark = pytest.mark.long

CONFIG = _fig8a.Fig8aConfig(
    inputs=4, hidden=3, samples=10, trace_samples=(10,), replicas=1024, steps=200, data_sets=32,
    trace_replicas=64, trace_steps=200,
)  # fmt: skip


@pytest.fixture(scope="module")
def result():
    return _fig8a.run(CONFIG, experiments.Silence())


def test_every_verdict_is_the_expected_one(result):
    ids = {claim.id for claim in result.claims}
    assert {id for id in ids if id.endswith("/published")} == {
        "second layer/fully diagonal/published",
        "P = 10/residual variance/published",
    }
    assert {id for id in ids if id.endswith("/control")} == {"matrix/white/control", "second layer/uncoupled/control"}
    assert [claim.id for claim in result.claims if not claim.as_expected] == []


def test_the_result_is_described_and_drawn(result):
    _store.check_described(result.data)
    titles = [axes.get_title() for axes in plotting.draw("gross2024/fig8a", result.data).axes[:3]]
    assert titles == ["SGD", "linear response, exact noise", "white closed form (3.30)"]


def test_linear_response_after_the_start_is_its_recursion():
    case = _fig8a._case(CONFIG, jax.random.key(CONFIG.seed))
    T, noise = np.eye(len(case.hessian)) - 0.1 * np.asarray(case.hessian), np.asarray(case.noise_covariance())
    M = np.asarray(case.covariance("wick"))
    for _ in range(7):
        M = T @ M @ T + 0.01 * noise
    assert np.abs(_fig8a_matrix.relaxed(case, 7) - M).max() < 1e-12 * np.abs(M).max()


def test_the_projected_layers_are_a_minimum():
    case = _fig8a.projected(20, CONFIG, jax.random.key(1))
    assert case.gradient_norm < 1e-12
    assert len(case.rates) == 4


def test_the_mean_trace_over_data_sets():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(20_000, 12, 3)), rng.normal(size=(20_000, 12))
    H = np.einsum("dsi,dsj->dij", x, x)
    best = np.linalg.solve(H, np.einsum("dsi,ds->di", x, y)[..., None])[..., 0]
    e = y - np.einsum("dsi,di->ds", x, best)
    leverage = np.einsum("dsi,dij,dsj->ds", x, np.linalg.inv(H), x)
    traces = np.sum(e**2 * leverage, axis=1) / np.mean(y**2, axis=1) / 3
    assert abs(traces.mean() - _fig8a.average_trace(12, 3)) < 4 * traces.std() / 20_000**0.5
    assert abs(traces.mean() - (1 - 3 / 12)) > 20 * traces.std() / 20_000**0.5


def test_the_coefficient_of_correlations_ignores_the_diagonal():
    M = np.array([[4.0, 1.0], [1.0, 9.0]])
    assert _fig8a_matrix.off_diagonal(M, M) == pytest.approx(1)
    assert _fig8a_matrix.off_diagonal(np.diag(np.diagonal(M)), M) == 0
    assert _fig8a_matrix.off_diagonal(M + np.array([[5.0, 0.5], [0.5, 3.0]]), M) == pytest.approx(1.5)


@pytest.mark.parametrize(
    ("field", "value"),
    [("hidden", 31), ("samples", 30), ("trace_samples", (30,)), ("replicas", 65), ("data_sets", 1), ("steps", 0)],
)
def test_bad_values_are_refused_by_name(field, value):
    with pytest.raises(ValueError, match=field):
        _fig8a.Fig8aConfig(**{field: value})
