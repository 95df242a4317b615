"""What a user would run instead; written before the toolkit was tuned, and kept as they are.

Each function notes what it follows. All work on the same planted checkpoint with a warm page cache.
"""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np


def torch_unique(matrix: np.ndarray) -> int:
    """``torch.unique(dim=0)`` on the bits, as the founding notebooks and most scripts find duplicate rows."""
    import torch

    # torch warns that a mapped file cannot be written to, which nobody here does.
    warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
    bits = torch.from_numpy(matrix.view(np.int16))
    unique, _inverse, counts = torch.unique(bits, dim=0, return_inverse=True, return_counts=True)
    return int((counts > 1).sum()) if len(unique) else 0


def numpy_unique(matrix: np.ndarray) -> int:
    """``np.unique`` on a void view of the rows: the usual answer without torch."""
    rows = matrix.view(np.dtype((np.void, matrix.shape[1] * matrix.itemsize))).reshape(-1)
    _unique, _inverse, counts = np.unique(rows, return_inverse=True, return_counts=True)
    return int((counts > 1).sum())


def plain_read(matrix: np.ndarray) -> int:
    """One pass over the bytes on one thread: the floor for anything that looks at every row."""
    return int(matrix.reshape(-1).view(np.uint64).sum())


def notebook_steps(folder: Path, out: Path) -> int:
    """The founding notebooks' sequence: load the model, take the head's weight, then each figure in turn.

    Follows the published order of work: transformers load in bfloat16; unique rows of the bit view; mask,
    ids and one row per hole saved as safetensors; norms of the float32 matrix with a histogram by
    population; raw exponents with a histogram by population; pairwise exponent agreement of the holes;
    centroids of both populations and each hole's angle.
    """
    import matplotlib

    matplotlib.use("Agg")
    import torch
    from matplotlib import pyplot as plt
    from safetensors.torch import save_file
    from transformers import AutoModelForCausalLM

    out.mkdir(parents=True, exist_ok=True)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.bfloat16)
    weight = model.lm_head.weight.detach()
    bits = weight.view(torch.int16)
    _unique, inverse, counts = torch.unique(bits, dim=0, return_inverse=True, return_counts=True)
    hole_of_group = counts > 1
    mask = hole_of_group[inverse]
    groups = torch.nonzero(hole_of_group).flatten()
    groups = groups[torch.argsort(counts[groups], descending=True)]
    first = torch.stack([torch.nonzero(inverse == g).flatten()[0] for g in groups])
    save_file({"mask": mask, "inverse": inverse, "rows": weight[first].contiguous()}, out / "holes.safetensors")

    values = weight.to(torch.float32)
    norms = values.norm(dim=1)
    plt.figure()
    span = (0.0, float(norms.max()))  # the holes' norms are too alike to make bins of their own
    plt.hist(norms[~mask].numpy(), bins=100, range=span, log=True)
    plt.hist(norms[mask].numpy(), bins=100, range=span, log=True)
    plt.savefig(out / "norms.png")

    exponents = (bits.to(torch.int32) >> 7) & 0xFF
    plt.figure()
    for population in (exponents[mask], exponents[~mask]):
        found, n = torch.unique(population, return_counts=True)
        plt.bar(found.numpy(), (n / n.sum()).numpy(), alpha=0.5)
    plt.savefig(out / "exponents.png")
    hole_exponents = exponents[first]
    agreement = [(a == b).sum().item() for i, a in enumerate(hole_exponents) for b in hole_exponents[:i]]

    dead, live = values[mask].mean(dim=0), values[~mask].mean(dim=0)
    angles = torch.rad2deg(torch.acos(torch.nn.functional.cosine_similarity(values[first], live[None])))
    plt.figure()
    plt.bar(range(len(angles)), angles.numpy())
    plt.savefig(out / "angles.png")
    (out / "summary.txt").write_text(f"{agreement} {dead.norm()} {live.norm()} {angles.tolist()}")
    return len(groups)


def nearest_loop(matrix: np.ndarray, members: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """L-infinity distance in bfloat16 steps to the nearest of some rows, and which: numpy broadcasting in blocks.

    Follows what the founding notebooks do for a pair of sets, with the one change that makes it possible at
    this size: blocks of rows whose differences, and their magnitudes, fit 0.3 GB.
    """

    def steps(words: np.ndarray) -> np.ndarray:
        signed = words.astype(np.int32)
        return np.where(signed & 0x8000, -(signed & 0x7FFF), signed)

    targets = steps(members)
    height = max(1, 300_000_000 // (2 * targets.nbytes))
    distance, member = np.empty(len(matrix), np.int32), np.empty(len(matrix), np.int64)
    for start in range(0, len(matrix), height):
        block = steps(matrix[start : start + height])
        table = np.abs(block[:, None, :] - targets[None]).max(axis=2)
        member[start : start + height] = table.argmin(axis=1)
        distance[start : start + height] = table.min(axis=1)
    return distance, member


def published_indicators(values: np.ndarray, unused: np.ndarray) -> dict[str, np.ndarray]:
    """The published under-trained indicators, as the tool that introduced them computes them.

    Follows cohere-ai/magikarp's definitions and way of working: the whole matrix in float32, and a whole copy of it
    for each version (centred, without the first principal component, less the reference mean). The component comes
    from a randomized PCA as scikit-learn runs it for one component: 10 columns more than asked for, 7 power
    iterations made stable by LU. Their rows are loaded by transformers; here they are there already.
    """
    component = randomized_component(values)
    without = values - np.outer(values.dot(component), component)
    centred = values - values.mean(axis=0)
    return {
        "norm": np.linalg.norm(values, axis=1),
        "cosine": cosine_distance(values, values[unused].mean(axis=0)),
        "cosine_centred": cosine_distance(centred, centred[unused].mean(axis=0)),
        "cosine_without_component": cosine_distance(without, without[unused].mean(axis=0)),
        "distance": np.linalg.norm(values - values[unused].mean(axis=0), axis=1),
    }


def cosine_distance(values: np.ndarray, direction: np.ndarray) -> np.ndarray:
    """1 less the cosine, the product of norms clipped at 1e-6 from below."""
    norms = np.linalg.norm(values, axis=1) * np.linalg.norm(direction)
    return 1 - values.dot(direction) / norms.clip(min=1e-6)


def randomized_component(values: np.ndarray, seed: int = 0) -> np.ndarray:
    """The first principal component by randomized SVD of the centred matrix (Halko et al. 2011)."""
    from scipy.linalg import lu, qr

    centred = values - values.mean(axis=0)
    basis = np.random.default_rng(seed).normal(size=(values.shape[1], 11)).astype(np.float32)
    for _ in range(7):
        basis = lu(centred @ basis, permute_l=True)[0]
        basis = lu(centred.T @ basis, permute_l=True)[0]
    rows = qr(centred @ basis, mode="economic")[0]
    return np.linalg.svd(rows.T @ centred, full_matrices=False)[2][0]
