"""From a dynamics to its stationary law, without simulation."""

from sgdynamics._predict._predict import predict as predict
from sgdynamics._predict._prediction import Flatness as Flatness
from sgdynamics._predict._prediction import Modes as Modes
from sgdynamics._predict._prediction import Prediction as Prediction
