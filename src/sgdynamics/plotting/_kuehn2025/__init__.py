"""The figures of Kühn and Rosenow (2025), one module each."""

FIGURES = {}
