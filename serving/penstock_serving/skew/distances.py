"""How far apart two counts over the same cells are. Arrays of shape [..., cells] give results of shape [...]."""

import numpy as np

HALF = 0.5
"""Added to every cell, so that one which was never hit has a logarithm (Jeffreys' prior)."""


def psi(expected: np.ndarray, found: np.ndarray) -> np.ndarray:
    """The population stability index: the symmetric Kullback-Leibler divergence in nats; 0 for equal shares."""
    p, q = _smoothed(expected), _smoothed(found)
    return ((p - q) * np.log(p / q)).sum(-1)


def jensen_shannon(expected: np.ndarray, found: np.ndarray) -> np.ndarray:
    """The Jensen-Shannon distance to base 2: the root of the divergence, from 0 (equal) to 1 (no cell in common)."""
    p, q = _smoothed(expected), _smoothed(found)
    middle = (p + q) / 2
    divergence = (p * np.log2(p / middle) + q * np.log2(q / middle)).sum(-1) / 2
    return np.sqrt(np.maximum(divergence, 0.0))


def l_infinity(expected: np.ndarray, found: np.ndarray) -> np.ndarray:
    """The largest difference of a cell's share, from 0 to 1."""
    return np.abs(_shares(expected) - _shares(found)).max(-1)


def _smoothed(counts: np.ndarray) -> np.ndarray:
    return _shares(counts + HALF)


def _shares(counts: np.ndarray) -> np.ndarray:
    return counts / counts.sum(-1, keepdims=True)
