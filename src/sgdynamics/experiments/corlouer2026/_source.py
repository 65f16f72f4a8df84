"""How claims cite the paper."""

PAPER = "Corlouer et al. (2026)"


def source(place: str) -> str:
    """E.g. "Corlouer et al. (2026), Eq. 7"."""
    return f"{PAPER}, {place}"
