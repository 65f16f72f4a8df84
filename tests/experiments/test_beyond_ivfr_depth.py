"""Layers of deep linear networks: closed forms against their definitions, and a tiny run."""

import jax
import numpy as np
import pytest

from sgdynamics import experiments, plotting
from sgdynamics.experiments import _store
from sgdynamics.experiments.beyond import _ivfr, _ivfr_depth

pytestmark = pytest.mark.long


def case(depth=3, inputs=5):
    s = np.geomspace(0.3, 2.0, 4)
    weights = _ivfr.aligned(jax.random.key(1), depth, inputs, s)
    built = _ivfr.at(weights, jax.random.key(2), samples=9, label_noise_std=0.3, learning_rate=0.05, batch_size=10,
                     input_variances=np.full(inputs, 0.2))  # fmt: skip
    return built, s


@pytest.fixture(scope="module")
def result():
    config = _ivfr_depth.IvfrDepthConfig(
        depths=(3,), inputs=4, hidden=3, samples=40, distinct=8, replicas=512, steps=200
    )
    return _ivfr_depth.run(config, experiments.Silence())


def test_every_verdict_is_the_expected_one(result):
    wrong = {c.id: c.verdict for c in result.claims if not c.as_expected}
    # so few replicas need not tell, but nothing may be wrong
    assert set(wrong.values()) <= {"undecided"} and len(wrong) < 6
    kind = lambda ending: {c.id for c in result.claims if c.id.endswith(ending)}
    assert len(kind("/control")) == 5
    assert {id for id in kind("/published") if "exponent" in id} == {
        f"{name}, depth 3/layer 3/exponent is 2/published" for name in ("aligned", "flow")
    }


def test_the_result_is_described_and_drawn(result):
    _store.check_described(result.data)
    labels = [text.get_text() for text in plotting.draw("beyond/ivfr_depth", result.data).legends[0].get_texts()]
    assert labels[:3] == ["layer 1", "layer 2", "layer 3"]


def test_hessian_and_noise_are_those_of_the_examples():
    """By automatic differentiation: C = (σ²/S) H, and no mean gradient."""
    c, _ = case()
    problem = c.descent.problem
    gradients = np.asarray(jax.jit(lambda θ: problem.example_gradients(θ))(problem.parameters))
    np.testing.assert_allclose(gradients.mean(axis=0), 0, atol=1e-12)
    np.testing.assert_allclose(gradients.T @ gradients / len(gradients), 0.09 * c.hessian, atol=1e-12)
    np.testing.assert_allclose(jax.jit(lambda θ: problem.hessian(θ))(problem.parameters), c.hessian, atol=1e-12)


def test_shares_of_all_layers_add_up_to_the_rank():
    c, _ = case()
    shares = [c.shares(l)[0] for l in (1, 2, 3)]
    assert np.sum(np.concatenate(shares)) == pytest.approx(5, abs=1e-5)


@pytest.mark.parametrize("depth", [2, 3, 4])
def test_aligned_layers_in_closed_form(depth):
    c, s = case(depth)
    m, own = _ivfr_depth.aligned_shares(c.weights, s), _ivfr_depth.aligned_curvatures(c.weights, s) * 0.2
    for l in range(2, depth + 1):
        shares, curvatures, _ = c.shares(l)
        np.testing.assert_allclose(np.sort(shares), np.sort(m[l - 1]), rtol=1e-5)
        np.testing.assert_allclose(np.sort(curvatures), np.sort(own[l - 1]), rtol=1e-5)
    assert np.ptp(c.shares(1)[1]) < 1e-10


def test_the_local_exponent_is_the_derivative():
    c, s = case(4)
    up, down = (_ivfr_depth.aligned_shares(c.weights, s * f) for f in (1 + 1e-6, 1 - 1e-6))
    before, δ = np.arange(1, 4)[:, None], np.log((1 + 1e-6) / (1 - 1e-6))
    slope = 2 * np.log(up[1:] / down[1:]) / (before * δ)
    np.testing.assert_allclose(_ivfr_depth.local_exponents(_ivfr_depth.aligned_shares(c.weights, s)), slope, atol=1e-6)


def test_two_layers_are_the_papers():
    """(3.34): m = D₁/(D₁ + D₂), ψ = 2 D₂/(D₁ + D₂)."""
    c, s = case(2)
    m = _ivfr_depth.aligned_shares(c.weights, s)
    np.testing.assert_allclose(m[1], s / (s + 1), atol=1e-12)
    np.testing.assert_allclose(_ivfr_depth.local_exponents(m)[0], 2 / (1 + s), atol=1e-12)


@pytest.mark.parametrize(("field", "value"), [("depths", (1,)), ("replicas", 100), ("strengths", (2.0, 1.0)),
                                              ("hidden", 9), ("learning_rate", 0.0)])  # fmt: skip
def test_bad_values_are_refused_by_name(field, value):
    name = "inputs" if field == "hidden" else field
    with pytest.raises(ValueError, match=name):
        _ivfr_depth.IvfrDepthConfig(**{field: value})
