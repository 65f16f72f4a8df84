"""Fig. 20 at a tiny size: what is claimed, what must come out, what is stored and drawn."""

import pytest

from sgdynamics import experiments, plotting
from sgdynamics.experiments import _pretrained, _store
from sgdynamics.experiments.kuehn2025 import _fig20
from sgdynamics.experiments.kuehn2025._late_phase import Setting

pytestmark = pytest.mark.long


@pytest.fixture(scope="module")
def result(tmp_path_factory):
    config = _fig20.Fig20Config(
        batch_sizes=(4, 8), crossover=0.5, modes=32, replicas=48, burn_in=600, steps=1200, draws=64
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("networks")))
        recipe = _pretrained.Recipe("convolutional", (2, 2), samples=200)
        patch.setitem(_pretrained.RECIPES["quick"], "convolutional", recipe)
        return _fig20.run(config, experiments.Silence())


def test_what_the_numbers_decide(result):
    claims = {claim.id: claim for claim in result.claims}
    # the noise of few replicas' examples leaves velocities coarse
    coarse = [id for id, claim in claims.items() if claim.verdict == "undecided" and id.endswith("/velocities")]
    assert [id for id, claim in claims.items() if not claim.as_expected and id not in coarse] == []
    for quantity in _fig20.QUANTITIES:
        assert {f"S = {S}/{band}/{quantity}" for S in (4, 8) for band in ("above", "at", "below")} <= claims.keys()
    assert {id for id in claims if id.endswith("/control")} == {
        "below/weights as with replacement/control", "below/times as with replacement/control",
    }  # fmt: skip
    assert {id for id in claims if "/asymptote" in id} == {
        "above/weights against S/asymptote not yet reached", "above/times against S/asymptote not yet reached",
        "above/velocities against S/asymptote", "below/weights against S/asymptote",
        "below/velocities against S/asymptote", "below/times against S/asymptote",
    }  # fmt: skip
    assert "λ/λ_cross" in claims["above/weights against S/asymptote not yet reached"].statement
    assert not [id for id in claims if id.endswith("/published")]


def test_the_crossover_is_proportional_to_the_batch_size(result):
    data = result.data
    # 0.5 at S = 4 sets η; that there are M = 50 and then 25 batches does the rest
    assert float(data["crossover_8"]) == pytest.approx(1.0)
    # C ∝ 1/S: the frozen laws' velocities of the stiffest mode
    ratio = float(data["velocities_4_curve"][-1] / data["velocities_8_curve"][-1])
    assert ratio == pytest.approx((196 / 4) / (192 / 8), rel=0.02)


def test_the_result_is_described_and_drawn(result):
    _store.check_described(result.data)
    figure = plotting.draw("kuehn2025/fig20", result.data)
    labels = [text.get_text() for text in figure.legends[0].get_texts()]
    assert labels[:2] == ["$S$ = 4: SGD", "$S$ = 8: SGD"]


def test_steps_are_rounded_up_to_epochs():
    assert [_fig20._epochs(steps, Setting(0.1, 0.5, 4, 400)) for steps in (1, 100, 101)] == [1, 1, 2]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("network", "none"), ("size", "huge"), ("batch_sizes", (4,)), ("batch_sizes", (4, 4)), ("batch_sizes", (0, 2)),
        ("crossover", 0.0), ("momentum", 1.0), ("modes", 4), ("replicas", 3), ("draws", 1), ("burn_in", 0),
        ("steps", 0),
    ],
)  # fmt: skip
def test_bad_values_are_refused_by_name(field, value):
    with pytest.raises(ValueError, match=field):
        _fig20.Fig20Config(**{field: value})
