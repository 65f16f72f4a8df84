"""Fig. 2(b) at a tiny size: what is claimed, what must come out, what is stored and drawn."""

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.stats import beta, binom, chi2

from sgdynamics import experiments, plotting
from sgdynamics.experiments import _store
from sgdynamics.experiments.gross2024 import _fig2b


@pytest.fixture(scope="module")
def result():
    config = _fig2b.Fig2bConfig(inputs=5, samples=(20, 400), realisations=400, points=10, label_noise_std=0.5)
    return _fig2b.run(config, experiments.Silence())


def test_every_verdict_is_the_expected_one(result):
    verdicts = {claim.id: claim.verdict for claim in result.claims}
    published = {id for id in verdicts if id.endswith("/published")}
    assert published == {f"P = {P}/factor of 1 over P/published" for P in (20, 400)}
    assert {id for id in verdicts if id.endswith("/control")} == {"P = 20/squared label noise/control"}
    assert {verdict for id, verdict in verdicts.items() if id not in published} == {"reproduced"}
    assert {verdicts[id] for id in published} == {"not reproduced"}


def test_residuals_are_those_of_the_fit_to_any_teacher():
    rng = np.random.default_rng(0)
    x, noise, teacher = rng.normal(size=(9, 4)), rng.normal(size=9), rng.normal(size=4)
    y = x @ teacher + noise
    expected = y - x @ np.linalg.lstsq(x, y, rcond=None)[0]
    np.testing.assert_allclose(_fig2b.residuals(x, noise), expected, atol=1e-12)


@pytest.mark.parametrize(("P", "N"), [(70, 50), (10_000, 50), (8, 4)])
def test_the_law_is_the_integral_over_leverages(P, N):
    value = chi2.ppf(0.7, 1) * (1 - N / P)
    law = beta((P - N) / 2, N / 2)
    width = law.mean() + law.std() * np.array([-12, 12])
    integral = quad(lambda b: law.pdf(b) * chi2.cdf(value / b, 1), *np.clip(width, 1e-12, 1), epsabs=1e-11, limit=200)
    assert _fig2b.cumulative(value, _fig2b.nodes(P, N)) == pytest.approx(integral[0], abs=1e-6)


def test_quantiles_are_those_of_drawn_residuals():
    """False-alarm rate 1e-5 for each: one residual of each data set, so that the count is binomial."""
    P, N, draws, rng = 6, 3, 4000, np.random.default_rng(1)
    first = [_fig2b.residuals(rng.normal(size=(P, N)), rng.normal(size=P))[0] ** 2 for _ in range(draws)]
    for q, threshold in zip((0.2, 0.8), _fig2b.quantiles([0.2, 0.8], P, N), strict=True):
        low, high = binom.interval(1 - 1e-5, draws, q)
        assert low <= np.sum(first < threshold) <= high


def test_the_result_is_described_and_drawn(result):
    _store.check_described(result.data)
    labels = [text.get_text() for text in plotting.draw("gross2024/fig2b", result.data).legends[0].get_texts()]
    assert labels == ["20", "400"]


@pytest.mark.parametrize(
    ("field", "value"),
    [("samples", (51,)), ("samples", ()), ("label_noise_std", 0.0), ("realisations", 1), ("points", 1)],
)
def test_bad_values_are_refused_by_name(field, value):
    with pytest.raises(ValueError, match=field):
        _fig2b.Fig2bConfig(**{field: value})
