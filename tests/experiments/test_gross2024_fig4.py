"""Fig. 4 at a tiny size: what is claimed, what must come out, what is stored and drawn."""

import jax
import numpy as np
import pytest

from sgdynamics import experiments, plotting
from sgdynamics.experiments import _store
from sgdynamics.experiments.gross2024 import _fig4
from sgdynamics.theory import recursion, regression

pytestmark = pytest.mark.long

TINY = _fig4.Fig4Config(
    inputs=20, samples=21, modes=(1, 3, 12), replicas=256, steps=20_000, every=50, final_steps=200, realisations=20,
    edge_inputs=60, edge_realisations=8,
)  # fmt: skip

# of 20 modes the slowest carries too much of the loss, and 256 short runs do not tell it from that of the mean
AT_FULL_SIZE_ONLY = {"settling/loss", "loss/on the way", "loss/of the mean/control"}


@pytest.fixture(scope="module")
def result():
    return _fig4.run(TINY, experiments.Silence())


def test_every_verdict_is_the_expected_one(result):
    verdicts = {claim.id: claim.verdict for claim in result.claims}
    published = {id for id in verdicts if id.endswith("/published")}
    assert published == {
        "final loss/published", "slowest rate/published",
    }  # fmt: skip
    assert {id for id in verdicts if id.endswith("/control")} == {
        "mode 12/additive noise/control",
        "loss/of the mean/control",
    }
    assert verdicts["loss/on the way"] != "not reproduced"
    others = set(verdicts) - published - AT_FULL_SIZE_ONLY
    assert {id: verdicts[id] for id in others if verdicts[id] != "reproduced"} == {}
    assert {verdicts[id] for id in published} == {"not reproduced"}


def test_the_result_is_described_and_drawn(result):
    _store.check_described(result.data)
    figure = plotting.draw("gross2024/fig4", result.data)
    assert [text.get_text() for text in figure.axes[0].get_legend().get_texts()] == ["k = 1", "k = 3", "k = 12"]
    assert np.isfinite(result.data["loss_mean"]).all()


def test_the_loss_on_the_way_is_that_of_the_recursion_over_weights():
    """E L after 200 steps from `theory.recursion`, whose basis is the weights', not the modes'."""
    case = TINY.data(jax.random.key(3))
    relaxation, d = _fig4.Relaxation(TINY, case), TINY.inputs
    start = np.concatenate([-np.asarray(case.minimum), np.zeros(d)])
    moments = recursion.MinibatchMoments(
        case.data.x, case.data.y, learning_rate=TINY.learning_rate, sampling_factor=1 / TINY.batch_size
    )
    _, second = moments.after(200, start, np.outer(start, start))
    expected = relaxation.floor + np.sum(np.asarray(regression.hessian(case.data.x)) * np.asarray(second)[:d, :d]) / 2
    assert relaxation.loss()[4] == pytest.approx(expected, rel=1e-10)
    of_mean = regression.relaxation_after(200, np.zeros(d), case.data.x, case.data.y, learning_rate=TINY.learning_rate)
    expected = float(regression.loss(case.data.x, case.data.y, of_mean))
    assert relaxation.loss(fluctuations=False)[4] == pytest.approx(expected, rel=1e-10)


@pytest.mark.parametrize(
    ("field", "value"),
    [("samples", 50), ("modes", (0, 1)), ("modes", (5,)), ("edge_ratio", 1.0), ("steps", 20), ("realisations", 1)],
)
def test_bad_values_are_refused_by_name(field, value):
    with pytest.raises(ValueError, match=field):
        _fig4.Fig4Config(**{field: value})
