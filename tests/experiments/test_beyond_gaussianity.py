"""Kurtosis and tails at a tiny size: what is claimed, what must come out, what is stored and drawn."""

import numpy as np
import pytest

from sgdynamics import experiments, plotting
from sgdynamics.experiments import _store
from sgdynamics.experiments.beyond import _gaussianity

pytestmark = pytest.mark.long

TINY = _gaussianity.GaussianityConfig(
    inputs=2, batch_sizes=(3,), fractions=(0.6,), wide_inputs=4, wide_samples=20, wide_modes=2, replicas=512,
    burn_in=200, steps=400, realisations=1000,
)  # fmt: skip


@pytest.fixture(scope="module")
def result():
    return _gaussianity.run(TINY, experiments.Silence())


def test_every_verdict_is_the_expected_one(result):
    verdicts = {claim.id: claim.verdict for claim in result.claims}
    published = {id for id in verdicts if id.endswith("/published")}
    assert published == {
        "no label noise/κ = 2⟨x²⟩²/published", "no label noise/decay/published", "finite P/κ/published",
    }  # fmt: skip
    assert {id for id in verdicts if id.endswith("/control")} == {
        "N = 1, S = 1/normal tail/control", "N = 2, S = 1, η = 0.5/normal/control",
    }  # fmt: skip
    # so few replicas leave some questions open, but get nothing wrong
    right = {id for id, verdict in verdicts.items() if verdict != "not reproduced"}
    assert right == set(verdicts) - {id for id in published if verdicts[id] == "not reproduced"}
    decided = {"finite P/κ", "N = 1, S = 1/normal tail/control", "N = 1, S = 1/tail exponent"}
    assert {id: verdicts[id] for id in decided} == dict.fromkeys(decided, "reproduced")
    assert {verdicts[id] for id in ("finite P/κ/published", "no label noise/decay/published")} == {"not reproduced"}


def test_the_result_is_described_and_drawn(result):
    _store.check_described(result.data)
    figure = plotting.draw("beyond/gaussianity", result.data)
    assert len(figure.axes) == 3


def test_the_largest_rate_is_where_the_moment_diverges():
    x = np.array([[0.5], [1.0], [-2.0]])
    η = _gaussianity.largest_rate(x, 1, 8)
    assert np.mean((1 - η * x**2) ** 8) == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize(
    ("field", "value"),
    [("inputs", 17), ("fractions", (1.0,)), ("tail_exponent", 2.0), ("wide_modes", 101), ("every", 0)],
)
def test_bad_values_are_refused_by_name(field, value):
    with pytest.raises(ValueError, match=field):
        _gaussianity.GaussianityConfig(**{field: value})
