"""Kunin et al., The limiting dynamics of SGD: modified loss, phase space oscillations, anomalous diffusion (2023)."""
