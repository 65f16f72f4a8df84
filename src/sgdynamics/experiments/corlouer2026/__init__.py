"""Corlouer, Semler, Strang and Gietelink Oldenziel, SGD in the saddle-to-saddle regime of deep linear networks (2026)."""

from sgdynamics.experiments.corlouer2026._fig1 import FIG1 as FIG1
