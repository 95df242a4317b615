"""Planted matrices for the room's tests: healthy ones, and a healthy one with untrained rows."""

import ml_dtypes
import numpy as np

from forensics.embedding import Embedding

KINDS = ("gaussian", "heavy tail", "zipf", "two scales", "anisotropic", "bfloat16", "rounded")


def healthy(kind, seed, rows=None, dim=None):
    """A matrix of a kind; its size drawn from 2,000 to 50,000 x 16 to 256 where it is not given."""
    rng = np.random.default_rng(seed)
    dim = dim or int(2 ** rng.uniform(4, 8))
    rows = rows or int(2 ** rng.uniform(np.log2(2_000), np.log2(min(50_000, 4_000_000 / dim))))
    values = rng.normal(0, 1, (rows, dim)).astype(np.float32)
    if kind == "heavy tail":
        values *= np.exp(rng.normal(0, rng.uniform(0.1, 1), (rows, 1)))
    elif kind == "zipf":  # the rarer, the shorter, as trained longer
        values *= (1 + np.arange(rows)[:, None]) ** -rng.uniform(0.05, 0.4)
    elif kind == "two scales":
        values *= rng.choice([1, 1.5], (rows, 1), p=[0.6, 0.4]) * np.exp(rng.normal(0, 0.3, (rows, 1)))
    elif kind == "anisotropic":
        values = values * np.exp(rng.normal(0, 1, dim)) + rng.normal(0, 2, dim)
    elif kind == "rounded":
        step = np.abs(values).max(axis=1, keepdims=True) / 15
        values = np.rint(values / step) * step
    return Embedding.from_array(values.astype(ml_dtypes.bfloat16 if kind == "bfloat16" else np.float32))


def with_untrained(n, *, shared=0.4, spread=0.02, seed=0, rows=3_000, dim=64):
    """A matrix whose last ``n`` rows are untrained: all near a vector of norm ``shared``."""
    rng = np.random.default_rng(seed)
    values = rng.normal(0, 1, (rows, dim)) * np.exp(rng.normal(0, 0.2, (rows, 1))) / np.sqrt(dim)
    common = rng.normal(0, 1, dim)
    values[rows - n :] = shared * common / np.linalg.norm(common) + rng.normal(0, spread, (n, dim)) / np.sqrt(dim)
    return values.astype(np.float32)
