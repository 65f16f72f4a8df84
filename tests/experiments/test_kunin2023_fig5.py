"""Fig. 5 at a small size: what is claimed, what must come out, what is stored and drawn; its formulas."""

import numpy as np
import pytest

from sgdynamics import experiments, plotting
from sgdynamics.experiments import _store
from sgdynamics.experiments._realisations import over_realisations
from sgdynamics.experiments.kunin2023 import _fig5, _fig5_case, _fig5_peaks
from sgdynamics.statistics import PowerSpectrum
from sgdynamics.theory import momentum
from sgdynamics.theory.recursion import LinearRecursion

pytestmark = pytest.mark.long

CONFIG = _fig5_case.Fig5Config(modes=(1, 10, 45), replicas=128, steps=768, segment=256, network=None)
ADDED = "digits/rates proportional to eigenvalues/published"


@pytest.fixture(scope="module")
def result():
    return _fig5.run(CONFIG, experiments.Silence())


def test_every_verdict_is_the_expected_one(result):
    verdicts = {claim.id: claim.verdict for claim in result.claims}
    assert [claim.id for claim in result.claims if not claim.as_expected] == []
    assert {id for id in verdicts if id.endswith("/published")} == {ADDED}
    assert {f"digits/mode {k}/detailed balance/control" for k in CONFIG.modes} <= set(verdicts)
    assert "digits/mode 45/no peak of position" in verdicts


def test_the_result_is_described_and_drawn(result):
    _store.check_described(result.data)
    labels = [text.get_text() for text in plotting.draw("kunin2023/fig5", result.data).legends[0].get_texts()]
    assert "∝ K, as printed" in labels


@pytest.mark.parametrize("K", [0.001, 0.02, 0.3])
def test_the_law_of_a_mode_is_that_of_its_recursion(K):
    η, β = 0.5, 0.9
    F = np.array([[1 - η * K, η * β], [-K, β]])
    law = np.asarray(LinearRecursion(F, np.outer([η, 1], [η, 1])).stationary_covariance())
    np.testing.assert_allclose(law / law[1, 1], _fig5_case.stationary(K, η, β), rtol=1e-9)
    Σ, C = law, F @ law  # the formula of `statistics.AngularVelocity`, in the original coordinates
    swept = (C[1, 0] - C[0, 1]) * np.sqrt(np.linalg.det(Σ))
    along = Σ[1, 1] * C[0, 0] + Σ[0, 0] * C[1, 1] - Σ[0, 1] * (C[0, 1] + C[1, 0])
    assert _fig5_case.rotation(K, η, β) == pytest.approx(np.arctan2(swept, along))


@pytest.mark.parametrize("β", [0.5, 0.9])
def test_slow_modes_turn_at_their_natural_frequency_and_clockwise(β):
    K = 1e-6
    natural = float(momentum.natural_frequency(K, learning_rate=1.0, momentum=β))
    assert _fig5_case.rotation(K, 1.0, β) == pytest.approx(-natural, rel=0.01 if β == 0.9 else 0.2)


@pytest.mark.parametrize("kind", ["position", "velocity"])
def test_the_fitted_peak_of_an_exact_spectrum_is_the_predicted_one(kind):
    K, setting = 0.1, {"learning_rate": 1.0, "momentum": 0.9}
    spectrum = PowerSpectrum(256)
    S = np.asarray(momentum.power_spectrum(spectrum.frequencies(), K, 1.0, of=kind, **setting))[:, None]

    found, theory = _fig5_peaks.fitted_peak(spectrum, over_realisations(np.stack([S, S])), S, 0, kind)
    expected = float(momentum.peak_frequency(K, of=kind, **setting))
    assert float(found.value) == pytest.approx(expected)
    assert theory == pytest.approx(expected)


@pytest.mark.parametrize(
    ("field", "value"),
    [("momentum", 0.0), ("modes", (2, 1, 3)), ("network", "vgg"), ("replicas", 0), ("segment", 4), ("steps", 100)],
)
def test_bad_values_are_refused_by_name(field, value):
    with pytest.raises(ValueError, match=field):
        _fig5_case.Fig5Config(**{field: value})
