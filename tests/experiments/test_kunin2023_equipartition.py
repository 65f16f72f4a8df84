"""App. G.3 at a tiny size: what is claimed, what must come out, what is stored and drawn; its formulas."""

import numpy as np
import pytest

from sgdynamics import experiments, plotting
from sgdynamics.experiments import _store
from sgdynamics.experiments.kunin2023 import _equipartition
from sgdynamics.theory import momentum

pytestmark = pytest.mark.long

CONFIG = _equipartition.EquipartitionConfig(
    inputs=3, samples=30, momenta=(0.5, 0.9), weight_decays=(0.0, 0.3), batch_size=8, replicas=1024, steps=600
)


@pytest.fixture(scope="module")
def result():
    return _equipartition.run(CONFIG, experiments.Silence())


def test_every_verdict_is_the_expected_one(result):
    assert [claim.id for claim in result.claims if not claim.as_expected] == []
    published = {claim.id for claim in result.claims if claim.id.endswith("/published")}
    assert published >= {f"momentum = {β}, weight decay = 0.3/constant/published" for β in (0.5, 0.9)}
    assert sum(claim.id.endswith("/control") for claim in result.claims) == 8


def test_the_result_is_described_and_drawn(result):
    _store.check_described(result.data)
    legend = plotting.draw("kunin2023/equipartition", result.data).legends[0]
    assert {"SGD, λ = 0", "SGD, λ = 0.3", "as printed"} <= {text.get_text() for text in legend.get_texts()}


def test_the_exact_law_obeys_equipartition_and_the_printed_energy_is_its_limit(result):
    exact = result.data["at_0.3_offset_exact"].values
    printed = result.data["at_0.3_offset_printed"].values
    assert np.all(exact > printed + 0.01)
    np.testing.assert_allclose(result.data["at_0_offset_exact"], result.data["at_0_offset_printed"])
    h = np.array([0.2, 0.5])
    small = momentum.equipartition(h, 0.25 * h / 8, learning_rate=1e-6, momentum=0.9).kinetic.sum()
    np.testing.assert_allclose(small, 1e-6 * 0.25 * h.sum() / (4 * 8 * (1 - 0.9)), rtol=1e-5)


@pytest.mark.parametrize(
    ("field", "value"),
    [("momenta", (1.0,)), ("momenta", (0.5, 0.0)), ("weight_decays", (-0.1,)), ("rate", 0.0), ("replicas", 0)],
)
def test_bad_values_are_refused_by_name(field, value):
    with pytest.raises(ValueError, match=field):
        _equipartition.EquipartitionConfig(**{field: value})
