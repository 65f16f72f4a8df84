"""The figures beyond the papers, one module each."""

from sgdynamics.plotting._beyond._double_descent import double_descent

FIGURES = {
    "beyond/double_descent": double_descent,
}
