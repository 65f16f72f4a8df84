"""The figures of Kunin et al. (2023), one module each."""

from collections.abc import Callable

FIGURES: dict[str, Callable] = {}
