"""Discrete and continuous dynamics. The only place that knows diffrax."""

from sgdynamics.dynamics._brownian import StepBrownianPath as StepBrownianPath
from sgdynamics.dynamics._brownian import StepLevyPath as StepLevyPath
from sgdynamics.dynamics._brownian import increment as increment
from sgdynamics.dynamics._descent import SGD as SGD
from sgdynamics.dynamics._descent import Descent as Descent
from sgdynamics.dynamics._gradient_flow import gradient_flow as gradient_flow
from sgdynamics.dynamics._interface import AbstractDynamics as AbstractDynamics
from sgdynamics.dynamics._interface import State as State
from sgdynamics.dynamics._interface import at_step as at_step
from sgdynamics.dynamics._ito import AbstractItoProcess as AbstractItoProcess
from sgdynamics.dynamics._ito import ItoProcess as ItoProcess
from sgdynamics.dynamics._ito import Langevin as Langevin
from sgdynamics.dynamics._linear import LinearProcess as LinearProcess
from sgdynamics.dynamics._linear_modes import LinearModes as LinearModes
from sgdynamics.dynamics._operator import DiffusionOperator as DiffusionOperator
from sgdynamics.dynamics._small_noise import SmallNoiseHeun as SmallNoiseHeun
from sgdynamics.dynamics._solve import solve as solve
from sgdynamics.dynamics._svag import SVAG as SVAG
from sgdynamics.dynamics._transformations import inject_anticorrelated_noise as inject_anticorrelated_noise
from sgdynamics.dynamics._transformations import inject_noise as inject_noise
from sgdynamics.dynamics._transformations import precondition as precondition
from sgdynamics.dynamics._underdamped import UnderdampedLangevin as UnderdampedLangevin
