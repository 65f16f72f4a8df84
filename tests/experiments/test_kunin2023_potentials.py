"""App. H.4 at a tiny size: what is claimed, what must come out, what is stored and drawn."""

import numpy as np
import pytest
import scipy.linalg

from sgdynamics import experiments, plotting
from sgdynamics.experiments import _store
from sgdynamics.experiments.kunin2023 import _potentials, _potentials_theory


@pytest.fixture(scope="module")
def result():
    config = _potentials.PotentialsConfig(replicas=2048, burn_in=200, steps=400, lags=(4, 16))
    return _potentials.run(config, experiments.Silence())


@pytest.mark.long
def test_every_verdict_is_the_expected_one(result):
    assert [claim.id for claim in result.claims if not claim.as_expected] == []
    ids = {claim.id for claim in result.claims}
    assert {id for id in ids if id.endswith("/published")} == {"mean/minimum of the printed backgrounds/published"}
    assert {id for id in ids if id.endswith("/control")} == {
        "covariance/original potential/control",
        "current/detailed balance at lag 0.2/control",
        "current/detailed balance at lag 0.8/control",
    }


@pytest.mark.long
def test_the_result_is_described_and_drawn(result):
    _store.check_described(result.data)
    labels = [text.get_text() for text in plotting.draw("kunin2023/potentials", result.data).legends[0].get_texts()]
    assert len(labels) == len(set(labels)) == 8


def test_the_process_is_that_of_the_appendix():
    A, D, b = _potentials.PotentialsConfig().matrices
    np.testing.assert_allclose(A, [[2.5, -1.5], [-1.5, 2.5]], atol=1e-14)
    np.testing.assert_allclose(D, [[4, 0], [0, 1]])
    # the printed background has its minimum at A⁻¹ b, inside the printed square, where b lies on its edge
    np.testing.assert_allclose(np.linalg.solve(A, b), [-0.04375, -0.00625])


def test_the_swept_area_is_that_of_the_autocovariance():
    config = _potentials.PotentialsConfig(rates=(3.0, 0.7), diffusion=(1.0, 5.0))
    A, D, _ = config.matrices
    M = scipy.linalg.solve_continuous_lyapunov(A, config.noise * D)
    for time in (0.01, 0.6, 4.0):
        C = scipy.linalg.expm(-A * time) @ M
        area = _potentials_theory.swept_area(time, config.rates, config.circulation, config.inverse_temperature)
        np.testing.assert_allclose(area, (C[1, 0] - C[0, 1]) / 2, rtol=1e-10)


@pytest.mark.parametrize(
    ("field", "value"), [("rates", (1.0, 1.0)), ("diffusion", (0.0, 1.0)), ("burn_in", 10), ("lags", (0,)),
                         ("noise", -1.0), ("mean", (0.0, 0.0)), ("replicas", 0)]
)  # fmt: skip
def test_bad_values_are_refused_by_name(field, value):
    with pytest.raises(ValueError, match=field):
        _potentials.PotentialsConfig(**{field: value})
