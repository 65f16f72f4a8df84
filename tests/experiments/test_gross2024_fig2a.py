"""Fig. 2(a) at a tiny size: what is claimed, what must come out, what is stored and drawn."""

import numpy as np
import pytest

from sgdynamics import experiments, plotting
from sgdynamics.experiments import _store
from sgdynamics.experiments.gross2024 import _fig2a


@pytest.fixture(scope="module")
def result():
    config = _fig2a.Fig2aConfig(
        inputs=(5, 8, 12), ratios=(1.5, 3.0, 6.0, 10.0, 20.0), samples=60, large=6.0, realisations=300
    )
    return _fig2a.run(config, experiments.Silence())


def test_every_verdict_is_the_expected_one(result):
    verdicts = {claim.id: claim.verdict for claim in result.claims}
    published = {id for id in verdicts if id.endswith("/published")}
    assert published == {"exponent of N at P = 60 is −1/published"} | {
        f"N = {N}/{claim}/published" for N in (5, 8, 12) for claim in ("diagonal", "exponent of s")
    }
    assert {id for id in verdicts if id.endswith("/control")} == {
        f"N = {N}/s = 1.5/large samples/control" for N in (5, 8, 12)
    }
    assert {verdict for id, verdict in verdicts.items() if id not in published} == {"reproduced"}
    assert {verdicts[id] for id in published} == {"not reproduced"}


def test_leverages_tell_the_variances_of_all_elements():
    x = np.random.default_rng(0).normal(size=(9, 4))
    projector = x @ np.linalg.pinv(x)
    off = projector[~np.eye(9, dtype=bool)]
    np.testing.assert_allclose(_fig2a.leverages(x), np.diag(projector), rtol=1e-12)
    np.testing.assert_allclose(
        _fig2a.variances(x), [np.mean(off**2), np.mean((np.diag(projector) - 4 / 9) ** 2)], rtol=1e-10
    )


def test_the_exponent_of_a_power_is_found():
    x = np.array([1.0, 2.0, 5.0, 7.0])
    assert float(_fig2a.slope(x, 3 * x**-1.7)) == pytest.approx(-1.7)


def test_the_result_is_described_and_drawn(result):
    _store.check_described(result.data)
    labels = [text.get_text() for text in plotting.draw("gross2024/fig2a", result.data).legends[0].get_texts()]
    assert labels == ["N = 5", "N = 8", "N = 12", "Haar, exact", "printed power laws"]


@pytest.mark.parametrize(
    ("field", "value"),
    [("inputs", (50, 20, 100)), ("ratios", (1.0, 2.0, 100.0)), ("samples", 100), ("large", 90.0), ("realisations", 1)],
)
def test_bad_values_are_refused_by_name(field, value):
    with pytest.raises(ValueError, match=field):
        _fig2a.Fig2aConfig(**{field: value})
