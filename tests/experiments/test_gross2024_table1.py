"""Table I at a tiny size: what is claimed, what must come out, what is stored and drawn."""

import jax
import numpy as np
import pytest

from sgdynamics import experiments, plotting
from sgdynamics.experiments import _samplings, _store
from sgdynamics.experiments.gross2024 import _table1

pytestmark = pytest.mark.long

TINY = _table1.Table1Config(
    inputs=3, samples=9, overparameterised=60, batch_size=3, label_noise_stds=(0.1, 1.0), replicas=256, records=60,
    learning_rate=0.5, late_replicas=8,
)  # fmt: skip


@pytest.fixture(scope="module")
def result():
    return _table1.run(TINY, experiments.Silence())


def test_every_verdict_is_the_expected_one(result):
    verdicts = {claim.id: claim.verdict for claim in result.claims}
    published = {id for id in verdicts if id.endswith("/published")}
    assert published == {"sampling/without replacement/published", "sampling/epochs/published"}
    assert {id for id in verdicts if id.endswith("/control")} == {
        "N > P/weights/teacher/control", "N < P/loss/vanishing/control", "N < P/fluctuations/vanishing/control",
    }  # fmt: skip
    assert len(verdicts) == 26
    assert {id: verdict for id, verdict in verdicts.items() if verdict == "not reproduced"}.keys() == published
    assert sum(verdict == "undecided" for verdict in verdicts.values()) <= 2  # few replicas


def test_the_result_is_described_and_drawn(result):
    _store.check_described(result.data)
    figure = plotting.draw("gross2024/table1", result.data)
    assert [text.get_text() for text in figure.legends[0].get_texts()] == list(_samplings.WORDS.values())
    assert float(result.data["loss_over"][0]) < 1e-12


def test_laws_are_proportional_to_the_label_noise():
    """Exactly: the same inputs with ten times the label noise have a hundred times the covariance, and ten times
    the shift of the mean, however batches are drawn."""
    for kind in _samplings.KINDS:
        one, ten = (_samplings.law(_table1.taught(TINY, TINY.inputs, σ)[0], kind) for σ in (0.1, 1.0))
        np.testing.assert_allclose(ten.covariance, 100 * one.covariance, rtol=1e-9)
        np.testing.assert_allclose(ten.shift, 10 * one.shift, rtol=1e-9, atol=1e-15)


def test_starts_have_the_law_of_the_beginning_of_an_epoch():
    case, _ = _table1.taught(TINY, TINY.inputs, 1.0)
    law = _samplings.law(case, "epochs")
    start = law.start(case, jax.random.key(1), 100_000) - np.asarray(case.minimum)
    # 5 standard errors of a variance of 10⁵ normal draws: 2.2 %
    np.testing.assert_allclose(np.cov(start.T), law.first_covariance, atol=0.03 * np.trace(law.first_covariance))
    spread = np.sqrt(np.trace(law.first_covariance) / 100_000)
    np.testing.assert_allclose(start.mean(axis=0), law.first_shift, atol=5 * spread)


@pytest.mark.parametrize(("batches", "least", "every"), [(3, 10, 10), (10, 10, 11), (10, 8, 9), (1, 8, 8), (30, 9, 11)])
def test_records_meet_every_position(batches, least, every):
    assert _samplings.spacing(batches, least) == every
    assert len({every * r % batches for r in range(batches)}) == batches


@pytest.mark.parametrize(
    ("field", "value"),
    [("inputs", 30), ("overparameterised", 30), ("batch_size", 7), ("batch_size", 30), ("label_noise_stds", (1.0, 0.1)),
     ("label_noise_stds", (0.0, 1.0)), ("replicas", 1), ("relaxation", 0.0)],
)  # fmt: skip
def test_bad_values_are_refused_by_name(field, value):
    with pytest.raises(ValueError, match=field):
        _table1.Table1Config(**{field: value})
