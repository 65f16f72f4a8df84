"""What `beyond/diffusion_peak` claims about the ensembles that it has seen.

The paper's statement is that the maximal diffusion along a mode precedes its being learned (abstract, Sec. 4, Fig. 3);
(10), as the paper has it, is enough for that. It is not: D(s) may be higher than D(w*), and where it is a little lower,
SGD's fluctuations about s carry D beyond D(w*) sooner or later.
"""

from collections.abc import Iterator

import jax.numpy as jnp
import numpy as np

from sgdynamics.experiments._claims import Claim, evidence
from sgdynamics.experiments._realisations import over_realisations
from sgdynamics.experiments.beyond._peaks import BEGUN, STARTS, Seen, over_learned
from sgdynamics.statistics import Estimate

SMALL, BALANCED, ALIGNED = range(len(STARTS))
CLEAR, LOW = 1.5, 1.3  # height of the peak over the plateau, by (7): beyond, within SGD's fluctuations
DEEP = 4  # layers
PAPER = "Corlouer et al. (2026), Sec. 4"
OURS = "ours, on Corlouer et al. (2026), Sec. 4"


def claims(seen: list[Seen], correction: float) -> list[Claim]:
    """All claims; `correction` is β(d+2)/2, that of SGD to rates and times for each layer."""
    quiet = [one for one in seen if one.noise == 0]
    noisy = [one for one in seen if one.noise > 0]
    found = [claim for one in seen for claim in _aligned_leads(one, correction)]
    found += [claim for one in quiet for claim in _unaligned_leads(one)]
    found += [claim for one in quiet for claim in _ranks(one)]
    found += _weakest([one for one in quiet if one.depth >= DEEP])
    return found + [claim for one in noisy for claim in _label_noise(one)]


def _aligned_leads(one: Seen, correction: float) -> Iterator[Claim]:
    """Where the peak stands clear of the plateau, gradient flow's lead."""
    tolerance = one.depth * correction
    for α in np.flatnonzero(one.height > CLEAR).tolist():
        lead = over_learned(one.leads[ALIGNED, :, α] / one.predicted[α])
        yield Claim.equality(
            f"{_name(one)}, s = {one.s[α]:g}/aligned/lead", f"{PAPER}, Eq. 9",
            "from the maximal diffusion to learned, over gradient flow's time from (9), "
            f"within SGD's corrections βL(d+2)/2 ≈ {tolerance:.3f}",
            **evidence(lead), expected=1.0, resolution=0.1, tolerance=tolerance, note=_missing(one, ALIGNED, α),
        )  # fmt: skip


def _unaligned_leads(one: Seen) -> Iterator[Claim]:
    """The strongest mode from weights that are not aligned."""
    leads = [over_learned(one.leads[start, :, 0] / one.predicted[0]) for start in (SMALL, BALANCED)]
    for start, lead in zip((SMALL, BALANCED), leads, strict=True):
        yield Claim.bound(
            f"{_name(one)}, s = {one.s[0]:g}/{STARTS[start]}/peak before learned", PAPER,
            "without label noise the maximal diffusion precedes learning: lead over gradient flow's",
            **evidence(lead), expected=0.0, side="at least", note=_missing(one, start, 0),
        )  # fmt: skip
        if one.depth > 2:
            yield Claim.rejection(
                f"{_name(one)}, s = {one.s[0]:g}/{STARTS[start]}/lead of aligned weights/control", OURS,
                "where weights are not aligned, be their layers balanced or not, the lead is not that of one mode",
                **evidence(lead), rejected=1.0, resolution=0.3, note=_missing(one, start, 0),
            )  # fmt: skip


def _ranks(one: Seen) -> Iterator[Claim]:
    """The strongest mode, without label noise."""
    name, ranks = f"{_name(one)}, s = {one.s[0]:g}", one.ranks
    for start, words in enumerate(STARTS):
        rank = ranks["diffusion"].map(lambda rank, start=start: rank[start, 0])
        yield Claim.bound(
            f"{name}/{words}/rank correlation", OURS,
            "replicas whose diffusion peaks later learn later: rank correlation of the two times",
            **evidence(rank), expected=0.4, side="at least", note=_missing(one, start, 0),
        )  # fmt: skip
    more = _less(ranks["diffusion"], ranks["amplitude"]).map(lambda rank: jnp.mean(rank[:, 0]))
    yield Claim.bound(
        f"{name}/no more than the amplitude", OURS,
        "rank correlation of the maximal diffusion less that of reaching the amplitude (9), mean over starts",
        **evidence(more), expected=0.05, side="at most",
    )  # fmt: skip
    more = _less(ranks["diffusion"], ranks["start"]).map(lambda rank: rank[SMALL, 0])
    yield Claim.bound(
        f"{name}/small/more than the amplitude at the start", OURS,
        "rank correlation of the maximal diffusion less that of the mode's amplitude at the start",
        **evidence(more), expected=0.0, side="at least",
    )  # fmt: skip


def _weakest(deep: list[Seen]) -> list[Claim]:
    """The weakest mode in deep networks without label noise, where weights are not aligned: all such runs together."""
    if not deep or len(deep[0].s) < 2:
        return []
    name = f"L ≥ {DEEP}, σ = 0, s = {deep[0].s[-1]:g}/not aligned"
    shares = np.stack([one.premature[[SMALL, BALANCED], :, -1] for one in deep]).mean(axis=(0, 1))
    less = np.stack([_less(one.ranks["amplitude"], one.ranks["diffusion"]).groups[:, :2, -1] for one in deep])
    return [
        Claim.bound(
            f"{name}/maximum before the mode begins", OURS,
            f"the maximal diffusion is no sign of learning where it comes at less than {BEGUN:.0%} of the mode, at the "
            "start or while a stronger mode is learned: share of replicas, in which the mode is learned later",
            **evidence(over_realisations(shares)), expected=0.0, side="at least",
        ),
        Claim.bound(
            f"{name}/less than the amplitude", OURS,
            "rank correlation of reaching the amplitude (9) less that of the maximal diffusion, mean over runs",
            **evidence(over_realisations(less.mean(axis=(0, 2)))), expected=0.0, side="at least",
        ),
    ]  # fmt: skip


def _label_noise(one: Seen) -> Iterator[Claim]:
    for α in np.flatnonzero(~(one.height > LOW)).tolist():
        name = f"{_name(one)}, s = {one.s[α]:g}/aligned"
        if one.threshold[α] < 1:  # (10) holds
            yield Claim.bound(
                f"{name}/peak before learned/published", f"{PAPER}, Eq. 10",
                f"σ² is {one.threshold[α]:.2f} of (10), so that the maximal diffusion precedes learning: lead in "
                f"units of t; the plateau is {1 / one.height[α]:.2f} of the peak (7)",
                **evidence(over_learned(one.leads[ALIGNED, :, α])), expected=0.0, side="at least",
            )  # fmt: skip
        late = over_realisations(one.late[ALIGNED, :, α].astype(float))
        yield Claim.bound(
            f"{name}/maximum after learned", OURS,
            f"with σ² at {one.threshold[α]:.2f} of (10), the diffusion is highest on the plateau, after the mode is "
            "learned, in most of the replicas: their share",
            **evidence(late), expected=0.5, side="at least", note=_missing(one, ALIGNED, α),
        )  # fmt: skip
    less = _less(one.ranks["amplitude"], one.ranks["diffusion"])
    yield Claim.bound(
        f"{_name(one)}, s = {one.s[-1]:g}/less than the amplitude", OURS,
        "rank correlation of reaching the amplitude (9) less that of the maximal diffusion, mean over starts",
        **evidence(less.map(lambda rank: jnp.mean(rank[:, -1]))), expected=0.1, side="at least",
    )  # fmt: skip


def _less(a: Estimate, b: Estimate) -> Estimate:
    """a − b of the same replicas: pseudo-values differ one by one."""
    return over_realisations(np.asarray(a.groups) - np.asarray(b.groups))


def _name(one: Seen) -> str:
    return f"L = {one.depth}, σ = {one.noise:g}"


def _missing(one: Seen, start: int, mode: int) -> str:
    column = one.learned[start, :, mode]
    count = int(np.isnan(column).sum())
    return f"{count} of {len(column)} replicas do not learn the mode within the run" if count else ""
