"""Fig. 7 at a tiny size: what is claimed, what must come out, what is stored and drawn; its formulas."""

import jax
import numpy as np
import pytest

from sgdynamics import experiments, plotting
from sgdynamics.experiments import _store
from sgdynamics.experiments.kunin2023 import _fig7
from sgdynamics.experiments.kunin2023._fig7_theory import displacement_from, exponent
from sgdynamics.experiments.kunin2023._spectrum_case import case, with_curvatures

pytestmark = pytest.mark.long

CONFIG = _fig7.Fig7Config(
    momentum=0.5, digits_rate=0.25, digits_weight_decay=0.02, digits_replicas=128, digits_last=500, stiff=(1.0,),
    soft=(2e-3,) * 3, samples=20, replicas=512, last=2000, spans=6,
)  # fmt: skip


@pytest.fixture(scope="module")
def result():
    return _fig7.run(CONFIG, experiments.Silence())


def test_every_verdict_is_the_expected_one(result):
    assert [claim.id for claim in result.claims if not claim.as_expected] == []
    assert not any(claim.id.endswith("/published") for claim in result.claims)
    assert sum("/growth is not universal: falls from" in claim.id for claim in result.claims) == 3
    assert sum("/grows from" in claim.id for claim in result.claims) == 2
    assert sum(claim.id.endswith("/control") for claim in result.claims) == 3


def test_the_result_is_described_and_drawn(result):
    _store.check_described(result.data)
    texts = [text.get_text() for text in plotting.draw("kunin2023/fig7", result.data).legends[0].get_texts()]
    assert {"digits, stationary", "two bands, resumed away"} <= set(texts)


def test_from_the_stationary_mean_the_displacement_ends_at_the_trace_of_the_covariance_and_begins_with_one_step():
    data = with_curvatures(jax.random.key(1), (1.0, 0.2), 12, 0.5)
    at = case(data, learning_rate=0.2, momentum=0.5, batch_size=4)
    mean = np.asarray(at.prediction.mean)
    D = displacement_from(mean, at, np.array([1, 4000]))
    np.testing.assert_allclose(D[1], at.saturation / 2, rtol=1e-9)
    x, y = np.asarray(data.x), np.asarray(data.y)
    g = x * (x @ mean - y)[:, None]
    np.testing.assert_allclose(D[0], 0.2**2 * np.sum(g**2) / len(g) / 4, rtol=1e-9)
    away = mean + np.array([3.0, 1.0])
    g = x * (x @ away - y)[:, None]
    one = np.sum(g.mean(0) ** 2) + (np.sum(g**2) / len(g) - np.sum(g.mean(0) ** 2)) / 4
    np.testing.assert_allclose(displacement_from(away, at, np.array([1, 4000]))[0], 0.2**2 * one, rtol=1e-9)


def test_the_exponent_of_a_power_law_is_its_own():
    k = np.arange(1, 100)
    assert exponent(k, 3.0 * k**1.3, 90) == pytest.approx(1.3)


@pytest.mark.parametrize(
    ("field", "value"),
    [("momentum", 1.0), ("digits_rate", 0.0), ("soft", ()), ("stiff", (-1.0,)), ("last", 100), ("samples", 10),
     ("digits_replicas", 0)],
)  # fmt: skip
def test_bad_values_are_refused_by_name(field, value):
    with pytest.raises(ValueError, match=field):
        _fig7.Fig7Config(**{field: value})
