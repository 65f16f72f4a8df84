"""Kühn and Rosenow, Anti-correlated noise in epoch-based SGD and its implications (slides, Prague, 2025)."""
