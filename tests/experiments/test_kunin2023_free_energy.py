"""The free energy at a tiny size: what is claimed, what must come out, what is stored and drawn."""

import numpy as np
import pytest
from scipy import integrate, stats

from sgdynamics import experiments, plotting
from sgdynamics.experiments import _store
from sgdynamics.experiments.kunin2023 import _free_energy, _free_energy_flows

pytestmark = pytest.mark.long

NAMES = [f"{process}, from {start}" for process in ("H.4", "SGD") for start in ("afar", "the tempered law")]


@pytest.fixture(scope="module")
def result():
    return _free_energy.run(_free_energy_flows.FreeEnergyConfig(replicas=16_384, snapshots=16), experiments.Silence())


@pytest.mark.long
def test_every_verdict_is_the_expected_one(result):
    assert [claim.id for claim in result.claims if not claim.as_expected] == []
    ids = {claim.id for claim in result.claims}
    assert {id for id in ids if id.endswith("/control")} == {f"{name}/original loss/control" for name in NAMES[1::2]}
    published = {"H.4, from afar/current without κ⁻¹/published"}
    assert {id for id in ids if id.endswith("/published")} == published
    assert {f"{name}/{what}" for name in NAMES for what in ("monotone", "rate", "minimum")} < ids


@pytest.mark.long
def test_the_result_is_described_and_drawn(result):
    _store.check_described(result.data)
    assert len(plotting.draw("kunin2023/free_energy", result.data).legends[0].get_texts()) == 4


def test_the_free_energy_is_the_integral():
    loss, mean = np.array([[2.0, 0.3], [0.3, 0.5]]), np.array([0.4, -1.0])
    covariance, κ = np.array([[0.5, 0.2], [0.2, 0.8]]), 3.0
    law = stats.multivariate_normal(mean, covariance)

    def density(y, x):
        at = np.array([x, y])
        return law.pdf(at) * (at @ loss @ at / 2 + law.logpdf(at) / κ)

    expected, _ = integrate.dblquad(density, -6, 6, -8, 6, epsabs=1e-8)
    got = _free_energy_flows.free_energy(loss, mean[None], covariance[None], κ)
    np.testing.assert_allclose(got, [expected], rtol=1e-6)


def test_the_original_law_has_the_least_free_energy_of_the_original_loss():
    flows = _free_energy_flows.flows(_free_energy_flows.FreeEnergyConfig(snapshots=4, temperatures=(1.0, 1.0)))
    for flow in [flow for flow in flows if flow.tempered]:
        κ = flow.inverse_temperature

        def at(factor, flow=flow, κ=κ):
            F = _free_energy_flows.free_energy(flow.original, 0 * flow.start[None], factor * flow.spread[None], κ)
            return κ * float(F[0])

        np.testing.assert_allclose(at(1.0), flow.original_minimum, rtol=1e-12)
        assert at(1.1) > at(1.0) < at(0.9)


def test_the_rate_integrates_to_the_fall_and_the_original_loss_turns_before_the_end():
    for flow in _free_energy_flows.flows(_free_energy_flows.FreeEnergyConfig()):
        fall, error = flow.fall(flow.steps[-1])
        assert abs(flow.closed_form[0] - flow.closed_form[-1] - fall) <= max(error, 1e-6)
        assert not flow.tempered or (0 < flow.turn < flow.steps[-1] and flow.rise > 0.1)


@pytest.mark.parametrize(
    ("field", "value"), [("replicas", 1030), ("momentum", 1.0), ("spread", 0.0), ("noise_angle", 0.0),
                         ("curvatures", (1.0, -1.0)), ("snapshots", 0)]
)  # fmt: skip
def test_bad_values_are_refused_by_name(field, value):
    with pytest.raises(ValueError, match=field):
        _free_energy_flows.FreeEnergyConfig(**{field: value})
