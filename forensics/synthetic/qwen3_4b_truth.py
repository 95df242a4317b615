"""What the planted Qwen3-4B holds, as plain JSON values with their definitions."""

from __future__ import annotations

from typing import Any

import numpy as np

from forensics.formats import BFLOAT16, FloatFormat
from forensics.measures import Measure
from forensics.synthetic.qwen3_4b_dead import DeadRows
from forensics.synthetic.qwen3_4b_graph import tell_graph
from forensics.synthetic.qwen3_4b_live import LiveRows
from forensics.synthetic.qwen3_4b_published import Published

POPULATIONS = {
    "in-hole": "tokens whose stored row another token's row equals bit for bit",
    "rest": "all other tokens: the live ones and the singletons",
    "singletons": "tokens in no hole whose exponents are all within 5 of hole 1's",
    "live": "tokens of the rest that are not singletons",
    "hole 1": "the row of the most populated hole",
    "all": "every token",
}


def tell_truth(
    said: Published, dead: DeadRows, plan: LiveRows, *, rows: int, seed: int, fmt: FloatFormat
) -> dict[str, Any]:
    """Everything planted, as JSON values."""
    dim = dead.holes.shape[1]
    figures = [*_counts(dead, rows), *_hole_figures(dead), *_norm_figures(plan, dead), *_centroids(said, dead)]
    return {
        "name": "qwen3-4b",
        "format": fmt.name,
        "rows": rows,
        "dim": dim,
        "seed": seed,
        "notes": _notes(said, plan, dim),
        "populations": POPULATIONS,
        "figures": {m.name: {k: v for k, v in m.to_dict().items() if k != "name"} for m in figures},
        "holes": _holes(dead),
        "singletons": [
            {"token_id": int(token), "exponent_distance": int(distance)}
            for token, distance in sorted(zip(dead.singleton_ids, dead.distances, strict=True))
        ],
        "tokens_within_exponent_distance": _cumulative(dead),
        "exponent_histogram": _histogram(dead),
        "neighbour_graph": tell_graph(said, dead),
        **_words(said, dead),
    }


def _notes(said: Published, plan: LiveRows, dim: int) -> list[str]:
    notes = [
        "Words, signs and exponents are bfloat16's; in float32 they are the same numbers widened.",
        "Planted is what is listed here. All else is not the model's: which tokens are dead, the singletons' own "
        "steps, the live rows' exponents and principal directions.",
    ]
    if dim < said.dim:
        notes.append(
            f"{dim} of {said.dim} dimensions: the holes' published words are kept on {len(said.varying_dims)} of "
            f"them, the other exponents are quantiles of the published histogram, and every norm is the "
            f"published one times sqrt({dim}/{said.dim}) = {said.scale(dim):.9f}."
        )
    if plan.over == "live":
        notes.append(
            "Too few live rows for the published mean and deviation of the norms over the rest, 112 of which "
            "are singletons: they hold over the live rows, times the same factor; those of the rest follow."
        )
    return notes


def _counts(dead: DeadRows, rows: int) -> list[Measure]:
    in_hole, n_holes = sum(map(len, dead.hole_ids)), len(dead.hole_ids)
    return [
        Measure("n_holes", n_holes, "holes", "all", "groups of two or more equal rows"),
        Measure("n_hole_tokens", in_hole, "tokens", "in-hole", "sum of the populations"),
        Measure("n_unique_rows", rows - in_hole + n_holes, "rows", "all", "distinct bit patterns"),
        Measure("n_singletons", len(dead.singletons), "tokens", "singletons", "number of them"),
    ]


def _hole_figures(dead: DeadRows) -> list[Measure]:
    norms = np.sqrt((dead.hole_values() ** 2).sum(axis=1))
    positive = float((BFLOAT16.split(dead.holes[0])[0] == 0).mean())
    singleton_norms = np.sqrt((dead.singleton_values() ** 2).sum(axis=1))
    return [
        Measure("hole_1_norm", float(norms[0]), "value", "hole 1", "Euclidean norm in float64"),
        Measure("hole_norm_min", float(norms.min()), "value", "in-hole", "least norm of the 13 rows"),
        Measure("hole_norm_max", float(norms.max()), "value", "in-hole", "greatest norm of the 13 rows"),
        Measure("positive_share", positive, "share", "hole 1", "numbers with a clear sign bit; none is zero"),
        Measure("singleton_norm_min", float(singleton_norms.min()), "value", "singletons", "least norm"),
        Measure("singleton_norm_max", float(singleton_norms.max()), "value", "singletons", "greatest norm"),
    ]


def _norm_figures(plan: LiveRows, dead: DeadRows) -> list[Measure]:
    norms = np.concatenate([plan.norms, np.sqrt((dead.singleton_values() ** 2).sum(axis=1))])
    aim = "before rounding: measured, it agrees to 5 digits"
    return [
        Measure("live_norm_mean", float(plan.norms.mean()), "value", "live", f"mean norm, {aim}"),
        Measure("live_norm_std", float(plan.norms.std()), "value", "live", f"population deviation, {aim}"),
        Measure("rest_norm_mean", float(norms.mean()), "value", "rest", f"mean norm, {aim}"),
        Measure("rest_norm_std", float(norms.std()), "value", "rest", f"population deviation, {aim}"),
        Measure("live_norm_min", float(plan.norms.min()), "value", "live", f"least norm, {aim}"),
        Measure("live_norm_max", float(plan.norms.max()), "value", "live", f"greatest norm, {aim}"),
    ]


def _centroids(said: Published, dead: DeadRows) -> list[Measure]:
    in_hole = dead.in_hole_centroid()
    inside = float(np.sqrt((in_hole**2).sum()))
    outside = said.rest_centroid_norm * said.scale(len(in_hole))
    cosine = said.centroid_cosine
    distance = float(np.sqrt(inside**2 + outside**2 - 2 * inside * outside * cosine))
    mean = "norm of the mean row, every token counted, raw frame"
    between = "between the means of in-hole and rest rows, every token counted, raw frame"
    return [
        Measure("in_hole_centroid_norm", inside, "value", "in-hole", mean),
        Measure("rest_centroid_norm", outside, "value", "rest", f"{mean}; hit to 6 digits"),
        Measure("centroid_cosine", cosine, "cosine", "all", between),
        Measure("centroid_angle_deg", float(np.degrees(np.arccos(cosine))), "degrees", "all", between),
        Measure("centroid_distance", distance, "value", "all", between),
    ]


def _holes(dead: DeadRows) -> list[dict[str, Any]]:
    norms = np.sqrt((dead.hole_values() ** 2).sum(axis=1))
    return [
        {"id": i, "population": len(ids), "norm": float(norm), "token_ids": ids.tolist()}
        for i, (ids, norm) in enumerate(zip(dead.hole_ids, norms, strict=True), start=1)
    ]


def _cumulative(dead: DeadRows) -> dict[str, int]:
    """Tokens whose largest absolute exponent difference to hole 1 is at most k, for k up to the singletons'."""
    in_hole = sum(map(len, dead.hole_ids))
    counts = in_hole + np.cumsum(np.bincount(dead.distances))
    return {str(k): int(n) for k, n in enumerate(counts)}


def _histogram(dead: DeadRows) -> dict[str, int]:
    """Dimensions by raw exponent, the same for every hole."""
    exponents, counts = np.unique(BFLOAT16.exponents(dead.holes[0]), return_counts=True)
    return {str(int(e)): int(n) for e, n in zip(exponents, counts, strict=True)}


def _words(said: Published, dead: DeadRows) -> dict[str, Any]:
    dim = dead.holes.shape[1]
    positions = said.varying_positions(dim).tolist()
    known = sorted(said.words_at) if dim == said.dim else []
    return {
        "varying_dims": positions,
        "words_on_varying_dims": [[f"{w:04x}" for w in row] for row in dead.holes[:, positions].tolist()],
        "words_of_all_holes": {str(d): f"{int(dead.holes[0, d]):04x}" for d in known},
    }
