"""Corrections to Kühn and Rosenow (2025): a row for each entry of `docs/corrections.md`, in its order."""

from sgdynamics.experiments._report._corrections import RANGES, Correction, Part

EPOCHS = (
    Correction(
        entry="A vector is missing in (10)",
        kind="slip",
        equation="(10)",
        printed="η²⟨δg_kδg_k⟩ e₁ᵀ",
        right="η²⟨δg_kδg_k⟩ e₁e₁ᵀ",
        known="by algebra, and tests/theory/test_epochs.py",
    ),
    Correction(
        entry="(19) lacks a factor",
        kind="range",
        equation="(19)",
        printed="σ_θ² = ηC/(2(1 − β)h)",
        right="times 1/(1 − ηh/(2(1 + β)))",
        known="the stationary variance of the autoregression, exact for independent batches",
    ),
    Correction(
        entry="(20) and λ_cross",
        kind="range",
        equation="(20)",
        printed="below λ_cross σ_θ² = η²CM/(6(1 − β)²) and τ = (M/3)(1 + β)/(1 − β), above it no anti-correlation",
        right="(20) is the limit h → 0 and M(1 − β) ≫ 1; 1 − 2(e^{−x} − 1 + x)/x², x = 3λ/λ_cross, leads over",
        known="the sum over (2), and measured",
        see=("kuehn2025/fig17", "kuehn2025/fig18", "kuehn2025/fig20", "kuehn2025/fig21"),
    ),
    Correction(
        entry="(13) in closed form, in flat modes",
        kind="range",
        equation="(13)",
        printed="(14) to (17)",
        right="right, but in floating point with an error of 10⁻¹⁶/(ηh)²; the library sums positive terms",
        known="by evaluation",
    ),
    Correction(
        entry="Examples left out",
        kind="range",
        equation="(2)",
        printed="the correlation where S divides P",
        right="otherwise a share (P mod S)/(P − S) of the noise is white",
        known="by algebra, and measured",
        see=("kuehn2025/fig12_13",),
    ),
    Correction(
        entry="Noise that does not depend on the weights (Assumption 2)",
        kind="range",
        equation="Assumption 2",
        printed="noise that does not depend on the weights",
        right="on finite data the mean moves by −(η/2)H⁻¹E[dH_Bg_B], and flat modes have a floor, (η/4S)(Σh² + h²)/h",
        known="derived, and measured",
        see=("beyond/epochs_regression", "kuehn2025/fig17"),
    ),
    Correction(
        entry=RANGES,
        kind="range",
        equation="Figs. 22, 23",
        printed="principal components of Σ show Σ ∝ H², a finite-size effect",
        right="a finite-time one: components of one replica's path have the exponents 4.1, 3.5, 2.2 in windows of 10, "
        "25, 100 epochs, with replacement too",
        see=("kuehn2025/fig22_23",),
    ),
    Correction(
        entry=RANGES,
        kind="range",
        equation="Fig. 24",
        printed="62 % less excess loss (Fig. 24)",
        right="a property of the spectrum and of η: 73, 51 and 33 % in one network at h₁/λ_cross = 1, 3 and 10",
        see=("kuehn2025/fig24",),
    ),
    Correction(
        entry=RANGES,
        kind="range",
        equation="Fig. 25",
        printed="anti-correlated noise leads to flatter minima (Fig. 25)",
        right="at late times; at equal strength uncorrelated noise is the faster into the flat part, and then leaves "
        "along the other valley",
        see=("kuehn2025/fig25", "beyond/anti_pgd"),
    ),
    Correction(
        entry=RANGES,
        kind="range",
        equation="Fig. 26",
        printed="test accuracy 0.7 % higher with epochs (Fig. 26)",
        right="on the digits 0.04(7) % at the end; 0.7(2) % at epoch 5",
        see=("kuehn2025/fig26",),
    ),
)

PARTS = (Part("Kühn and Rosenow (2025), slides", "kuehn2025", EPOCHS),)
