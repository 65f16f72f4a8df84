"""Corlouer, Semler, Strang and Gietelink Oldenziel, SGD in the saddle-to-saddle regime (2026): one module a figure."""

from sgdynamics.experiments.corlouer2026._fig1 import FIG1 as FIG1
