"""How claims cite the paper."""

PAPER = "Gross, Raulf and Räth (2024)"


def source(place: str) -> str:
    """E.g. "Gross, Raulf and Räth (2024), Eq. 2.30"."""
    return f"{PAPER}, {place}"
