"""How claims cite the slides."""

PAPER = "Kühn and Rosenow (2025)"


def source(place: str) -> str:
    """E.g. "Kühn and Rosenow (2025), Eq. 14"."""
    return f"{PAPER}, {place}"
