"""Learning times of SGD and of the SDEs of the modes, in small."""

from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sgdynamics import experiments, plotting
from sgdynamics.experiments._store import check_described
from sgdynamics.experiments.corlouer2026 import _learning_times
from sgdynamics.networks import DeepLinear
from sgdynamics.theory import deep_linear

pytestmark = pytest.mark.long

# few modes and large amplitudes: short runs
CONFIG = _learning_times.LearningTimesConfig(
    depths=(2,), singular_values=(1.0,), width=3, amplitude=0.02, learning_rate=0.01, replicas=512, sde_replicas=256,
    longer=2.5,
)  # fmt: skip


@pytest.fixture(scope="module")
def result():
    return _learning_times.run(CONFIG, experiments.Silence())


def test_verdicts_data_and_figure(result):
    verdicts = {claim.id: claim.verdict for claim in result.claims}
    assert verdicts["L = 2/s = 1/drift (6)/published"] == "not reproduced"
    assert verdicts["L = 2/s = 1/drift (6)/control"] == "reproduced"
    # what 512 replicas cannot tell may be undecided, but nothing else may be wrong
    assert all(verdict != "not reproduced" for id, verdict in verdicts.items() if not id.endswith("/published"))
    check_described(result.data)
    assert plotting.draw("corlouer2026/learning_times", result.data).axes


def test_gradient_flow_is_logistic(result):
    assert float(result.data["flow"][0, 0]) == pytest.approx(np.log(0.98 / 0.02) / 2, rel=1e-9)


def test_the_observable_gives_the_amplitudes():
    student, _ = _learning_times._student(CONFIG, 3, jax.random.key(1))
    weights = DeepLinear(student.widths, key=jax.random.key(2)).weights
    state = SimpleNamespace(position=jnp.concatenate([W.reshape(-1) for W in weights]))
    expected = deep_linear.mode_amplitudes(weights, student.teacher.matrix)[: student.modes]
    assert np.allclose(_learning_times._amplitudes(student)(state), expected, rtol=1e-12)


@pytest.mark.parametrize(
    "bad", [{"depths": (1,)}, {"share": 1.0}, {"share": 0.01}, {"longer": 1.0}, {"amplitude": 0.0}, {"replicas": 1}]
)
def test_bad_values_are_refused(bad):
    with pytest.raises(ValueError, match=next(iter(bad))):
        _learning_times.LearningTimesConfig(**bad)
