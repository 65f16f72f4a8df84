"""Fig. 5(b) at a tiny size: what is claimed, what must come out, what is stored and drawn."""

import pytest

from sgdynamics import experiments, plotting
from sgdynamics.experiments import _store
from sgdynamics.experiments.gross2024 import _fig5b

pytestmark = pytest.mark.long


@pytest.fixture(scope="module")
def result():
    config = _fig5b.Fig5bConfig(inputs=10, ratios=(1.2, 2.0), replicas=256, steps=400, every=20, realisations=4)
    return _fig5b.run(config, experiments.Silence())


def test_every_verdict_is_the_expected_one(result):
    verdicts = {claim.id: claim.verdict for claim in result.claims}
    published = {id for id in verdicts if id.endswith("/published")}
    assert published == {"P/N = 2/detailed balance is reasonable/published"}
    assert {id for id in verdicts if id.endswith("/control")} == {
        f"P/N = {ratio}/{law}/control" for ratio in ("1.2", "2") for law in ("detailed balance", "isotropic")
    }
    assert {verdict for id, verdict in verdicts.items() if id not in published} == {"reproduced"}
    assert {verdicts[id] for id in published} == {"not reproduced"}


def test_the_result_is_described_and_drawn(result):
    _store.check_described(result.data)
    labels = [text.get_text() for text in plotting.draw("gross2024/fig5b", result.data).legends[0].get_texts()]
    assert labels == ["1.2", "2"]


@pytest.mark.parametrize(
    ("field", "value"), [("ratios", (0.9,)), ("replicas", 0), ("learning_rate", 0.0), ("realisations", 1)]
)
def test_bad_values_are_refused_by_name(field, value):
    with pytest.raises(ValueError, match=field):
        _fig5b.Fig5bConfig(**{field: value})
