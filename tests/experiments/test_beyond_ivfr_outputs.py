"""Two layers with several outputs: closed forms against the projector, and a tiny run."""

import jax
import numpy as np
import pytest

from sgdynamics import experiments, plotting
from sgdynamics.experiments import _store
from sgdynamics.experiments.beyond import _ivfr, _ivfr_outputs

pytestmark = pytest.mark.long


@pytest.fixture(scope="module")
def result():
    config = _ivfr_outputs.IvfrOutputsConfig(
        outputs=(1, 4), inputs=4, hidden=2, samples=40, distinct=8, replicas=512, steps=200, every=20
    )
    return _ivfr_outputs.run(config, experiments.Silence())


def test_every_verdict_is_the_expected_one(result):
    wrong = {c.id: c.verdict for c in result.claims if not c.as_expected}
    # so few replicas need not tell, but nothing may be wrong
    assert set(wrong.values()) <= {"undecided"} and len(wrong) < 8
    ids = {c.id for c in result.claims}
    assert "1 outputs/layer 1/no relation" in ids and "1 outputs/layer 1/exponent" not in ids
    assert {id for id in ids if id.endswith("/published")} == {
        f"{name}/exponent is 2/published" for name in ("1 outputs/layer 2", "4 outputs/layer 1", "4 outputs/layer 2")
    }


def test_the_result_is_described_and_drawn(result):
    _store.check_described(result.data)
    labels = [text.get_text() for text in plotting.draw("beyond/ivfr_outputs", result.data).legends[0].get_texts()]
    assert labels[:2] == ["1 output", "4 outputs"]


@pytest.mark.parametrize("outputs", [1, 3, 5])
@pytest.mark.parametrize("l", [1, 2])
def test_pairs_are_modes_of_the_projector(outputs, l):
    """(3.34) and (3.37) for any number of outputs, below and above the hidden units."""
    rng = np.random.default_rng(outputs)
    weights = [rng.normal(size=(3, 4)), rng.normal(size=(outputs, 3))]
    case = _ivfr.at(weights, jax.random.key(0), samples=9, label_noise_std=0.3, learning_rate=0.05, batch_size=10,
                    input_variances=np.full(4, 0.25))  # fmt: skip
    m, own, V = _ivfr_outputs.pairs(weights, l)
    part = case.layer(l)
    np.testing.assert_allclose(case.projector[part, part] @ V, V * m[None], atol=1e-12)
    np.testing.assert_allclose(case.hessian[part, part] @ V, V * 0.25 * own[None], atol=1e-12)


@pytest.mark.parametrize(("field", "value"), [("outputs", (0,)), ("replicas", 100), ("label_noise_std", 0.0)])
def test_bad_values_are_refused_by_name(field, value):
    with pytest.raises(ValueError, match=field):
        _ivfr_outputs.IvfrOutputsConfig(**{field: value})
