"""The experiment on any network, tiny: claims, data, picture."""

import pytest

from sgdynamics import experiments, plotting
from sgdynamics.experiments import _store
from sgdynamics.experiments.beyond._any_network import AnyNetworkConfig, run

pytestmark = pytest.mark.long

TINY = AnyNetworkConfig(
    hidden=2, samples=40, learning_rates=(0.02, 0.06), time=40.0, records=20, modes=6, replicas=1024, weight_decay=0.01
)


@pytest.fixture(scope="module")
def result():
    return run(TINY, experiments.Silence())


def test_the_verdicts(result):
    verdicts = {claim.id: claim.verdict for claim in result.claims}
    assert verdicts["small learning rate/law"] == "reproduced"
    assert verdicts["small learning rate/isotropic noise/control"] == "reproduced"
    assert verdicts["limit of small learning rates/whole covariance"] == "reproduced"
    assert verdicts["limit of small learning rates"] == "reproduced"
    assert verdicts["large learning rate/frozen noise errs"] != "not reproduced"


def test_the_data_and_the_picture(result):
    _store.check_described(result.data)
    assert result.data.attrs["tested"] >= 1
    assert plotting.draw("beyond/any_network", result.data)


def test_bad_settings_are_refused():
    with pytest.raises(ValueError, match=r"learning_rates = \(0\.1,\)"):
        AnyNetworkConfig(learning_rates=(0.1,))
    with pytest.raises(ValueError, match="time"):
        AnyNetworkConfig(time=-1.0)
