"""The stochastic dynamics of gradient descent: SGD, its SDE, and exact theory, with error bars.

data → problem → dynamics → ensemble → statistics → comparison with theory → figure and claims
"""

import logging as _logging
from importlib.metadata import version as _version

from sgdynamics import data as data
from sgdynamics import dynamics as dynamics
from sgdynamics import ensemble as ensemble
from sgdynamics import networks as networks
from sgdynamics import noise as noise
from sgdynamics import samplers as samplers
from sgdynamics import statistics as statistics
from sgdynamics import theory as theory
from sgdynamics._compare import Comparison as Comparison
from sgdynamics._compare import compare as compare
from sgdynamics._design import Design as Design
from sgdynamics._design import design as design
from sgdynamics._fit import Fit as Fit
from sgdynamics._fit import fit as fit
from sgdynamics._predict import Prediction as Prediction
from sgdynamics._predict import predict as predict
from sgdynamics._problem import Problem as Problem
from sgdynamics._problem import cross_entropy as cross_entropy
from sgdynamics._problem import squared_error as squared_error
from sgdynamics._sensitivity import Sensitivity as Sensitivity
from sgdynamics._sensitivity import sensitivity as sensitivity
from sgdynamics._sweep import sweep as sweep
from sgdynamics.dynamics import SGD as SGD
from sgdynamics.dynamics import Descent as Descent
from sgdynamics.dynamics import ItoProcess as ItoProcess
from sgdynamics.dynamics import Langevin as Langevin
from sgdynamics.dynamics import LinearModes as LinearModes
from sgdynamics.dynamics import LinearProcess as LinearProcess
from sgdynamics.dynamics import State as State
from sgdynamics.dynamics import UnderdampedLangevin as UnderdampedLangevin
from sgdynamics.dynamics import solve as solve
from sgdynamics.ensemble import Ensemble as Ensemble
from sgdynamics.ensemble import simulate as simulate

__version__ = _version("sgdynamics")
_logging.getLogger("sgdynamics").addHandler(_logging.NullHandler())  # silent until a program asks for messages
