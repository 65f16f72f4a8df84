"""Streaming statistics over replicas and time, with honest errors."""

from ._base import AbstractAccumulator as AbstractAccumulator
from ._base import AbstractStatistic as AbstractStatistic
from ._base import Records as Records
from ._covariance import Covariance as Covariance
from ._estimate import Estimate as Estimate
from ._estimate import format_with_error as format_with_error
from ._groups import Groups as Groups
from ._moments import Kurtosis as Kurtosis
from ._moments import Loss as Loss
from ._moments import Mean as Mean
from ._moments import Variance as Variance
from ._observables import Norm as Norm
from ._observables import Projection as Projection
from ._observables import position as position
from ._observables import velocity as velocity
