"""What an installed wheel must be able to do, run as a script by an interpreter that has nothing else of the project.

Prints the folder that the library was imported from.
"""

import pathlib

import jax
import numpy as np

import sgdynamics as sgd

jax.config.update("jax_enable_x64", True)
data = sgd.data.teacher_student(jax.random.key(0), samples=12, inputs=2, label_noise_std=0.5)
descent = sgd.SGD(sgd.Problem(sgd.networks.Linear(2, 1), data), learning_rate=0.1, sampler=4)
law = sgd.predict(descent)
run = sgd.simulate(
    descent, sgd.statistics.Covariance(), replicas=64, steps=20, groups=8, initial=law, key=jax.random.key(1)
)
trace, expected = np.trace(run.estimates.value), np.trace(law.covariance)
assert run.alive.all() and 0.5 * expected < trace < 2 * expected, (trace, expected)
print(pathlib.Path(sgd.__file__).parent)
