"""A strict session: 64-bit floats on, no silent rank or dtype promotion."""

import os

# LAPACK's threads and XLA's would wait for each other: ten times slower where cores are few
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
# most programs here run once: compiling them with every optimisation takes longer than running them without
os.environ.setdefault("JAX_DISABLE_MOST_OPTIMIZATIONS", "1")

import jax

jax.config.update("jax_enable_x64", True)
jax.config.update("jax_numpy_rank_promotion", "raise")
jax.config.update("jax_numpy_dtype_promotion", "strict")
