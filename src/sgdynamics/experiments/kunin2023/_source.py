"""How claims cite the paper."""

PAPER = "Kunin et al. (2023)"


def source(place: str) -> str:
    """E.g. "Kunin et al. (2023), Eq. 13"."""
    return f"{PAPER}, {place}"
