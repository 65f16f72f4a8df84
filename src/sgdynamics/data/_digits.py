"""The 1,797 handwritten digits (8 × 8 pixels) that scikit-learn ships, prepared for regression.

Constant pixels are dropped unless told; every other pixel is centred and scaled to variance 1/(their number), so that
the trace of the Hessian (1/P) Σ x xᵀ is 1, as for the teacher-student data of Gross, Raulf and Räth.
"""

from typing import Literal

import jax.numpy as jnp
import numpy as np

from sgdynamics.data._dataset import Dataset


def digits(
    target: Literal["parity", "value", "class"] = "parity", *, pixels: Literal["varying", "all"] = "varying"
) -> Dataset:
    """Handwritten digits with a centred target.

    - "parity": +1 for odd and −1 for even digits, minus the mean; y [samples]
    - "value": the digit itself, minus the mean; y [samples]
    - "class": the digit as a one-hot vector, minus the mean; y [samples, 10]

    With `pixels="varying"` the 3 constant pixels are left out, x [samples, 61]; with "all" they are zeros in their
    places, x [samples, 64], and a row of x is an image, row by row, as `networks.ConvNet` takes it.

    Needs scikit-learn (`pip install "sgdynamics[data]"`); the images come with it, nothing is downloaded.
    """
    try:
        from sklearn.datasets import load_digits
    except ImportError as error:
        raise ImportError('digits() needs scikit-learn: pip install "sgdynamics[data]"') from error
    images, labels = load_digits(return_X_y=True)
    if pixels not in ("varying", "all"):
        raise ValueError(f"pixels = {pixels!r}, but it must be one of 'varying', 'all'.")
    return Dataset(_standardised(images, pixels == "all"), jnp.asarray(_target(labels, target)))


def _standardised(images: np.ndarray, keep_constant: bool):
    varies = images.std(axis=0) > 0
    x = (images - images.mean(axis=0)) / np.where(varies, images.std(axis=0), 1.0) / np.sqrt(varies.sum())
    return jnp.asarray(x if keep_constant else x[:, varies])


def _target(labels: np.ndarray, target: str) -> np.ndarray:
    targets = {
        "parity": lambda: 2.0 * (labels % 2) - 1.0,
        "value": lambda: labels.astype(float),
        "class": lambda: np.eye(10)[labels],
    }
    if target not in targets:
        raise ValueError(f"target = {target!r}, but it must be one of {', '.join(map(repr, targets))}.")
    y = targets[target]()
    return y - y.mean(axis=0)
