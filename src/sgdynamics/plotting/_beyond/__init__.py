"""The figures beyond the papers, one module each."""

from sgdynamics.plotting._beyond._anti_pgd import anti_pgd
from sgdynamics.plotting._beyond._any_network import any_network
from sgdynamics.plotting._beyond._commuting import commuting
from sgdynamics.plotting._beyond._detailed_balance import detailed_balance
from sgdynamics.plotting._beyond._diffusion_peak import diffusion_peak
from sgdynamics.plotting._beyond._double_descent import double_descent
from sgdynamics.plotting._beyond._epochs_regression import epochs_regression
from sgdynamics.plotting._beyond._gaussianity import gaussianity
from sgdynamics.plotting._beyond._inputs import inputs
from sgdynamics.plotting._beyond._ivfr_depth import ivfr_depth
from sgdynamics.plotting._beyond._ivfr_nonlinear import ivfr_nonlinear
from sgdynamics.plotting._beyond._ivfr_outputs import ivfr_outputs
from sgdynamics.plotting._beyond._learning_rate import learning_rate
from sgdynamics.plotting._beyond._nonlinear_students import nonlinear_students
from sgdynamics.plotting._beyond._sampling import sampling
from sgdynamics.plotting._beyond._second_order_sde import second_order_sde
from sgdynamics.plotting._beyond._sweep import sweep

FIGURES = {
    "beyond/anti_pgd": anti_pgd,
    "beyond/any_network": any_network,
    "beyond/commuting": commuting,
    "beyond/detailed_balance": detailed_balance,
    "beyond/diffusion_peak": diffusion_peak,
    "beyond/double_descent": double_descent,
    "beyond/epochs_regression": epochs_regression,
    "beyond/gaussianity": gaussianity,
    "beyond/inputs": inputs,
    "beyond/ivfr_depth": ivfr_depth,
    "beyond/ivfr_nonlinear": ivfr_nonlinear,
    "beyond/ivfr_outputs": ivfr_outputs,
    "beyond/learning_rate": learning_rate,
    "beyond/nonlinear_students": nonlinear_students,
    "beyond/sampling": sampling,
    "beyond/second_order_sde": second_order_sde,
    "beyond/sweep": sweep,
}
