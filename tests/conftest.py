"""A strict session: 64-bit floats on, no silent rank or dtype promotion."""

import os
import pathlib
import signal

# LAPACK's threads and XLA's would wait for each other: ten times slower where cores are few
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
# most programs here run once: compiling them with every optimisation takes longer than running them without
os.environ.setdefault("JAX_DISABLE_MOST_OPTIMIZATIONS", "1")

import jax
import jaxtyping
import pytest

import processor_seconds

jax.config.update("jax_enable_x64", True)
jax.config.update("jax_numpy_rank_promotion", "raise")
jax.config.update("jax_numpy_dtype_promotion", "strict")
jax.devices()  # JAX starts with one device, whatever a command line under test would ask for


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
    """Tests that were long when they were last measured, or took longest, are marked so beside those that say so
    themselves. What must hold is not left to those that nobody waits for."""
    listed = processor_seconds.listed()
    for item in items:
        if item.nodeid in listed:
            longest = listed[item.nodeid] >= processor_seconds.LONGEST and not item.get_closest_marker("must_hold")
            item.add_marker(pytest.mark.longest if longest else pytest.mark.long)


@pytest.fixture
def interrupts_are_heard():
    """SIGINT as a terminal's processes have it: those that a script has put into the background ignore it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture
def without_type_checks():
    """The library as its users have it: what is of a wrong type meets the library's own errors."""
    before = jaxtyping.config.jaxtyping_disable
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", before)


MOST_MAPPINGS = 30_000
"""Half of what Linux allows a process: every program compiled takes several memory mappings, and keeps them."""


@pytest.fixture(autouse=True, scope="module")
def programs_do_not_pile_up():
    """After a file of tests, compiled programs are dropped where they are too many for the process to go on."""
    yield
    mappings = pathlib.Path("/proc/self/maps")
    if mappings.exists() and mappings.read_bytes().count(b"\n") > MOST_MAPPINGS:
        jax.clear_caches()
