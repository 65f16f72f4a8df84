"""Beyond the papers: where a published theory ends."""

from sgdynamics.experiments.beyond._anti_pgd import ANTI_PGD as ANTI_PGD
from sgdynamics.experiments.beyond._any_network import ANY_NETWORK as ANY_NETWORK
from sgdynamics.experiments.beyond._commuting import COMMUTING as COMMUTING
from sgdynamics.experiments.beyond._detailed_balance import DETAILED_BALANCE as DETAILED_BALANCE
from sgdynamics.experiments.beyond._diffusion_peak import DIFFUSION_PEAK as DIFFUSION_PEAK
from sgdynamics.experiments.beyond._double_descent import DOUBLE_DESCENT as DOUBLE_DESCENT
from sgdynamics.experiments.beyond._epochs_regression import EPOCHS_REGRESSION as EPOCHS_REGRESSION
from sgdynamics.experiments.beyond._gaussianity import GAUSSIANITY as GAUSSIANITY
from sgdynamics.experiments.beyond._inputs import INPUTS as INPUTS
from sgdynamics.experiments.beyond._ivfr_depth import IVFR_DEPTH as IVFR_DEPTH
from sgdynamics.experiments.beyond._ivfr_nonlinear import IVFR_NONLINEAR as IVFR_NONLINEAR
from sgdynamics.experiments.beyond._ivfr_outputs import IVFR_OUTPUTS as IVFR_OUTPUTS
from sgdynamics.experiments.beyond._learning_rate import LEARNING_RATE as LEARNING_RATE
from sgdynamics.experiments.beyond._nonlinear_students import NONLINEAR_STUDENTS as NONLINEAR_STUDENTS
from sgdynamics.experiments.beyond._sampling import SAMPLING as SAMPLING
from sgdynamics.experiments.beyond._second_order_sde import SECOND_ORDER_SDE as SECOND_ORDER_SDE
from sgdynamics.experiments.beyond._sweep import SWEEP as SWEEP
