"""Fig. 5(a) at a tiny size: what is claimed, what must come out, what is stored and drawn."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sgdynamics import experiments, plotting
from sgdynamics.experiments import _store
from sgdynamics.experiments.gross2024 import _fig5a

pytestmark = pytest.mark.long

TINY = _fig5a.Fig5aConfig(
    samples=30, underparameterised=(24,), overparameterised=(60,), replicas=1024, steps=1000, every=20,
    displaced_replicas=128, displaced_steps=2000, realisations=300,
)  # fmt: skip


@pytest.fixture(scope="module")
def result():
    return _fig5a.run(TINY, experiments.Silence())


def test_every_verdict_is_the_expected_one(result):
    verdicts = {claim.id: claim.verdict for claim in result.claims}
    assert {id for id in verdicts if id.endswith("/control")} == {"N = 24/isotropic/control", "N = 60/lasting/control"}
    assert {id: verdict for id, verdict in verdicts.items() if verdict != "reproduced"} == {}
    names = ("temporal", "spatial", "train", "test")
    assert {f"N = 24/{name}" for name in names} | {f"N = 24/data/{name}" for name in names} <= set(verdicts)


def test_the_result_is_described_and_drawn(result):
    _store.check_described(result.data)
    figure = plotting.draw("gross2024/fig5a", result.data)
    assert [text.get_text() for text in figure.axes[2].get_legend().get_texts()] == ["N = 60"]
    closed = result.data.sel(inputs_theory=30)
    assert np.isinf(closed["test_theory"]) and closed["temporal_theory"] == 0


@pytest.mark.parametrize("inputs", [8, 40])
def test_the_shortcut_through_leverages_is_the_trace_of_the_law(inputs):
    """tr M of (2.30) from H M + M H = η C, and w* from the pseudo-inverse."""
    data = _fig5a.taught(TINY, inputs, jax.random.key(1))
    temporal, spatial, train, test = np.asarray(_fig5a._of_minimum(TINY, data))
    x, y, u = (np.asarray(a) for a in (data.case.data.x, data.case.data.y, data.teacher))
    w = np.linalg.pinv(x) @ y
    if inputs < TINY.samples:
        assert temporal == pytest.approx(float(np.trace(data.case.law("lyapunov"))) / inputs, rel=1e-8)
    else:
        assert temporal == pytest.approx(0, abs=1e-20)
    assert spatial == pytest.approx(np.var(w), rel=1e-8)
    assert train == pytest.approx(np.mean((x @ w - y) ** 2) / 2, rel=1e-8, abs=1e-20)
    assert test == pytest.approx((TINY.label_noise_std**2 + np.sum((w - u) ** 2) / inputs) / 2, rel=1e-8)


def test_exact_means_are_those_of_draws_from_the_law():
    """Spatial variance and losses of 20,000 draws from the exact law: false-alarm rate about 1e-5 each."""
    data = _fig5a.taught(TINY, 10, jax.random.key(2))
    exact, law = _fig5a._exact(TINY, data), data.case.prediction
    rng = np.random.default_rng(0)
    w = rng.multivariate_normal(np.asarray(law.mean), np.asarray(law.covariance), size=20_000)
    levels = _fig5a.Levels(data.case.data.x, data.case.data.y, data.teacher, jnp.asarray(TINY.label_noise_std**2))
    drawn = np.asarray(jax.vmap(lambda w: levels(_State(w)))(jnp.asarray(w)))
    for name, values in zip(("spatial", "train", "test"), drawn.T, strict=True):
        assert abs(values.mean() - exact[name]) < 4.4 * values.std() / np.sqrt(len(values)), name


class _State:
    def __init__(self, position):
        self.position = position


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("underparameterised", (199,)),
        ("overparameterised", (201,)),
        ("overparameterised", ()),
        ("displaced_steps", 10),
        ("learning_rate", 0.0),
    ],
)
def test_bad_values_are_refused_by_name(field, value):
    with pytest.raises(ValueError, match=field):
        _fig5a.Fig5aConfig(**{field: value})
