"""The figures beyond the papers, one module each."""

FIGURES = {}
