"""Other inputs at a tiny size: what is claimed, what must come out; the laws of inputs against their moments."""

import jax
import numpy as np
import pytest
from scipy.stats import norm

from sgdynamics import experiments, plotting
from sgdynamics.experiments import _store
from sgdynamics.experiments.beyond import _input_laws, _inputs

pytestmark = pytest.mark.long

TINY = _inputs.InputsConfig(
    inputs=5, digits=False, replicas=512, steps=1000, realisations=4, large_inputs=4, large_samples=400,
    large_realisations=100,
)  # fmt: skip


@pytest.fixture(scope="module")
def result():
    return _inputs.run(TINY, experiments.Silence())


def test_every_verdict_is_the_expected_one(result):
    ids = [claim.id for claim in result.claims]
    for law in _input_laws.LAWS:
        assert {f"{law}/turning/control", f"{law}/detailed balance/control", f"{law}/covariance"} <= set(ids)
    assert {id for id in ids if id.startswith("many samples") and id.endswith("/control")} == {
        f"many samples/{law}/multiplicative/control" for law in ("elliptical", "independent", "binary")
    }
    assert not [id for id in ids if id.endswith("/published")]
    assert [(claim.id, claim.verdict) for claim in result.claims if claim.verdict == "not reproduced"] == []
    # too few data sets of too few samples for the tails: the rest is decided
    exempt = ("many samples/elliptical", "many samples/independent")
    assert [
        claim.id for claim in result.claims if claim.verdict == "undecided" and not claim.id.startswith(exempt)
    ] == []


def test_the_result_is_described_and_drawn(result):
    _store.check_described(result.data)
    assert all(np.isfinite(variable).all() for variable in result.data.values())
    axes = plotting.draw("beyond/inputs", result.data).axes
    assert [label.get_text() for label in axes[2].get_xticklabels()] == list(_input_laws.LAWS)


def test_moments_of_the_laws_are_those_of_the_drawn_inputs():
    """E x_i², and E[(w·x)² |x|²] with all its terms; false-alarm rate 1e-6 for each law."""
    N, ν, w = 3, 30, np.array([1.0, -2.0, 0.5])
    x = np.asarray(_input_laws.draw(jax.random.key(0), 400_000, N, ν))
    for law, inputs in zip(_input_laws.LAWS, x, strict=True):
        v, (κ, e) = _input_laws.variances(law, N), _input_laws.fourth_moment(law, ν)
        fourth = κ * (2 * w**2 @ v**2 + (w**2 @ v) * v.sum()) + e * w**2 @ v**2
        for values, expected in (((inputs @ w) ** 2, w**2 @ v), ((inputs @ w) ** 2 * (inputs**2).sum(axis=1), fourth)):
            error = values.std() / np.sqrt(len(values))
            assert abs(values.mean() - expected) <= norm.isf(5e-7) * error + 1e-12
            assert error < expected / 100


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("inputs", 0), ("ratio", 1.0), ("degrees_of_freedom", 4), ("large_degrees_of_freedom", 8), ("replicas", 10),
        ("large_samples", 50), ("realisations", 1),
    ],
)  # fmt: skip
def test_bad_values_are_refused_by_name(field, value):
    with pytest.raises(ValueError, match=field):
        _inputs.InputsConfig(**{field: value})
