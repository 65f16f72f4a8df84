"""From a dynamics to its stationary law, without simulation."""

from typing import Any

from sgdynamics import _checks
from sgdynamics._predict._epochs import shuffled
from sgdynamics._predict._harmonic import harmonic
from sgdynamics._predict._prediction import Prediction
from sgdynamics._predict._regression import is_regression, regression
from sgdynamics._predict._settings import slowest, symmetric
from sgdynamics._types import Vector
from sgdynamics.dynamics import SGD, AbstractDynamics, Langevin, LinearModes, LinearProcess, UnderdampedLangevin
from sgdynamics.ensemble import fingerprint
from sgdynamics.samplers import Epochs
from sgdynamics.theory.recursion import LinearRecursion

FORMS = (None, "exact", "frozen")


def predict(
    dynamics: AbstractDynamics, at: Any = None, *, form: str | None = None, modes: int | None = None
) -> Prediction:
    """The stationary law of a dynamics about a minimum of its loss.

    Arguments
    - dynamics: an `SGD`, `Langevin` or `UnderdampedLangevin` of any network, or a `LinearProcess` or `LinearModes`.
    - at: a minimum of the loss (plus ½ weight_decay |θ|²) that you have already, [parameters]; it is checked.
      None: the one that `problem.minimum` finds from `problem.parameters`.
    - form: "exact": the model is linear in θ (`networks.Linear`, `squared_error`, a finite data set), and the law
      includes that the noise depends on θ. "frozen": any network, linearised at the minimum, with the noise that it
      has there (Gross et al., App. A): leading order in the learning rate. None: "exact" where it is known. The law
      of SGD with `Epochs` is averaged over the position in the epoch (record every step, over whole epochs) and frozen;
      of linear regression without weight decay, None gives mean and covariance to second order in the
      noise's dependence on θ.
    - modes: of the frozen form, how many leading eigenmodes of the Hessian to solve for; the law in them is exact
      without the others. None: all up to 4,000 parameters, 100 beyond, where products with the Hessian
      find them; negative curvature is then seen as far as these products show it.

    Raises `ValueError` where there is no stationary law (with the largest stable learning rate; or with noise along
    flat directions), where none is known for this dynamics, where `at` is no minimum (its gradient, its negative
    curvature, its distance from one), and where x64 is off.
    """
    _checks.x64()
    if form not in FORMS:
        raise ValueError(f"form = {form!r}, but it must be 'exact', 'frozen' or None.")
    if isinstance(dynamics, LinearProcess):
        return _linear_process(dynamics)
    if isinstance(dynamics, LinearModes):
        return _linear_modes(dynamics)
    if not isinstance(dynamics, SGD | Langevin | UnderdampedLangevin):
        raise ValueError(
            f"dynamics is a {type(dynamics).__name__}, but a law is known for SGD, Langevin, "
            "UnderdampedLangevin, LinearProcess and LinearModes only. Simulate it."
        )
    if isinstance(dynamics, SGD) and isinstance(dynamics.sampler, Epochs):
        if form == "exact":
            raise ValueError(
                "form = 'exact', but of sampler = Epochs no exact law is known. Leave `form` out, or, for a very small "
                "data set, use theory.epochs.regression_moments."
            )
        return shuffled(dynamics, at, modes, form)
    if form == "frozen" or (form is None and (modes is not None or not is_regression(dynamics.problem))):
        return harmonic(dynamics, at, modes)
    if modes is not None:
        raise ValueError(f"modes = {modes}, but the exact form is over all parameters. Use form='frozen'.")
    if not is_regression(dynamics.problem):
        problem = dynamics.problem
        raise ValueError(
            f"dynamics trains a {type(problem.network).__name__} with {problem.example_loss.__name__} on a "
            f"{type(problem.data).__name__}, but the exact law is known of networks.Linear with squared_error on "
            "a finite data set only. Use form='frozen', or simulate."
        )
    return regression(dynamics, at)


def _linear_process(process: LinearProcess) -> Prediction:
    law = LinearRecursion(process.decay, symmetric(process.kick @ process.kick.T))
    rate, M = slowest(process.decay) / process.duration, law.stationary_covariance()
    mean: Vector = process.mean
    return Prediction(mean, law, rate, process.duration, None, M, None, "exact transitions", fingerprint(process))


def _linear_modes(process: LinearModes) -> Prediction:
    F, Q = process.transition()
    law = LinearRecursion(F, symmetric(Q))
    rate, phase, d = slowest(F) / process.duration, law.stationary_covariance(), process.mean.shape[0]
    name = fingerprint(process)
    mean, M = process.mean, phase[:d, :d]
    return Prediction(mean, law, rate, process.duration, None, M, phase, "exact transitions, modes", name)
