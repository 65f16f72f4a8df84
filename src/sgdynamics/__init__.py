"""The stochastic dynamics of gradient descent: SGD, its SDE, and exact theory, with error bars.

    data → problem → dynamics → ensemble → statistics → comparison with theory → figure and claims
"""

from sgdynamics import data as data
from sgdynamics import networks as networks
from sgdynamics import noise as noise
from sgdynamics import samplers as samplers
from sgdynamics import theory as theory
from sgdynamics._problem import Problem as Problem
from sgdynamics._problem import cross_entropy as cross_entropy
from sgdynamics._problem import squared_error as squared_error
