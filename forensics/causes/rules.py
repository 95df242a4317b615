"""One rule a cause: measured statements that hold or do not, and what follows from them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from forensics.black_holes import BlackHoles
from forensics.causes.case import Case
from forensics.causes.made import Cloud
from forensics.causes.nearness import Nearness
from forensics.causes.result import Evidence, Finding
from forensics.causes.sums import Ids
from forensics.geometry import angle_deg
from forensics.lattice.unique import count_unique


def judge(case: Case) -> tuple[Finding, ...]:
    """Every rule's finding, in the order of precedence."""
    return tuple(rule(case) for rule in RULES)


def _finding(cause: str, *evidence: Evidence) -> Finding:
    """Holds if every statement does; False if one does not; None if one cannot be told."""
    verdicts = [e.holds for e in evidence if e.expected]
    holds = False if False in verdicts else None if None in verdicts else True
    return Finding(cause, holds, evidence)


def _zero(case: Case) -> Finding:
    n = case.count(case.near.zero)
    definition = "tokens whose every stored number stands for zero"
    return _finding("zero", Evidence("zero rows", n, "all", n == len(case.token_ids), definition))


def _mean(case: Case) -> Finding:
    cloud = case.cloud
    if cloud is None:
        return _finding("mean", _distance(case))
    exact = bool((cloud.excess == 0).all())
    single = _one_row_a_run(case.holes, cloud.token_ids)
    return _finding("mean", *_position(cloud), _exact(cloud, exact), _single(case, cloud, single))


def _mean_noise(case: Case) -> Finding:
    cloud = case.cloud
    if cloud is None:
        return _finding("mean-noise", _distance(case))
    noisy = not ((cloud.excess == 0).all() and _one_row_a_run(case.holes, cloud.token_ids))
    distinct = count_unique(case.holes, cloud.token_ids)
    share = _noise_share(case, cloud)
    return _finding(
        "mean-noise",
        *_position(cloud),
        Evidence(
            "distinct rows about the mean",
            distinct,
            "several, or one that rounding does not bring to the mean",
            noisy,
            "distinct stored rows of the cloud that the group is in",
        ),
        Evidence(
            "variance over the rows'",
            share,
            "",
            None,
            "mean squared offset from the mean over the variance of all rows; transformers draws with 1e-9, to which "
            "the rounding of the format adds",
        ),
    )


def _collinear(case: Case) -> Finding:
    scale = case.near.scale[case.token_ids]
    on_line = np.isfinite(scale)
    n, line = int(on_line.sum()), case.near.line
    definition = "tokens for whose every number one scale times the mean of all other rows rounds to what is stored"
    rows = Evidence("rows along the mean", n, "all", n == len(case.token_ids), definition)
    if line is None or not n:
        return _finding("collinear", rows)
    first = case.near.sums.embedding.values_of(case.token_ids[on_line][:1])[0].astype(np.float64)
    low, high = scale[on_line].min(), scale[on_line].max()
    return _finding(
        "collinear",
        rows,
        Evidence("scale", f"{low:.4g} to {high:.4g}", "", None, f"row over the mean of {line.mean.over}"),
        Evidence("angle to the mean", angle_deg(first, line.mean.vector), "", None, "degrees, of the first such row"),
    )


def _padding(case: Case) -> Finding:
    n = case.count(case.tokens.padding)
    definition = "tokens whose id the tokenizer does not have"
    holds = None if n is None else n == len(case.token_ids)
    return _finding("padding", Evidence("tokens beyond the tokenizer", n, "all", holds, definition))


def _copied(case: Case) -> Finding:
    unusual = case.count(case.tokens.unusual)
    ordinary = None if unusual is None else len(case.token_ids) - unusual
    rows = case.distinct
    return _finding(
        "copied",
        Evidence("distinct rows", rows, "one", rows == 1, "distinct stored rows of the group"),
        Evidence(
            "ordinary tokens",
            ordinary,
            "one, and others that are not",
            None if unusual is None else ordinary == 1 and unusual > 0,
            "tokens of the group that are reachable, not added, and in the tokenizer",
        ),
        Evidence(
            "near-duplicate rows",
            None if case.cluster is None else case.cluster - rows,
            "none",
            None if case.cluster is None else case.cluster == rows,
            NEAR_DUPLICATE,
        ),
        _norm(case, "within that of rows in no hole", lambda norm, low, _, high: low <= norm <= high),
    )


def _frozen(case: Case) -> Finding:
    evidence = [
        Evidence(
            "near-duplicate distinct rows",
            case.cluster,
            "two or more",
            None if case.cluster is None else case.cluster > 1,
            NEAR_DUPLICATE,
        ),
        _norm(case, "below the median of rows in no hole", lambda norm, _, median, __: norm < median),
        Evidence(
            "rows at a mean or along it",
            _n_made(case),
            "none",
            _n_made(case) == 0,
            "tokens of the group in a cloud about a mean, or collinear with the mean",
        ),
    ]
    unusual = case.tokens.unusual
    definition = "share of tokens that are unreachable, added or beyond the tokenizer, in the group against all tokens"
    if unusual is not None:
        share, everywhere = float(unusual[case.token_ids].mean()), float(unusual.mean())
        told = Evidence(
            "unusual tokens", f"{share:.4f} against {everywhere:.4f}", "more", share > everywhere, definition
        )
        evidence.append(told)
    elif case.near.sums.embedding.is_quantised:
        # Blocks bring any near rows together, so that nearness alone says nothing of freezing.
        evidence.append(Evidence("unusual tokens", None, "more", None, definition))
    return _finding("frozen", *evidence)


def _quantised(case: Case) -> Finding:
    fmt, bits = case.near.sums.embedding.format.name, case.near.sums.steps.unused_bits
    shorter = bits is None or bits > 0
    rows = case.distinct
    rounded = Evidence(
        "rounded from wider numbers",
        f"{fmt} blocks" if bits is None else f"{bits} unused mantissa bits",
        "blocks, or unused mantissa bits",
        shorter,
        "the format; for floats, lowest mantissa bits that are clear in every number of a sample of rows",
    )
    # Without a neighbour, equal rows can have been equal before the rounding or not.
    neighbours = Evidence(
        "near-duplicate distinct rows",
        case.cluster,
        "two or more",
        True if shorter and case.cluster is not None and case.cluster > 1 else None,
        NEAR_DUPLICATE,
    )
    shared = Evidence(
        "tokens a distinct row",
        len(case.token_ids) / rows,
        "more than one",
        len(case.token_ids) > rows,
        "tokens of the group over its distinct stored rows",
    )
    return _finding("quantised", rounded, shared, neighbours)


NEAR_DUPLICATE = (
    "distinct rows linked, the group's among them: Euclidean distance at most that of one step of the format, or one "
    "code of a block, on every dimension"
)


def _n_made(case: Case) -> int:
    near, ids = case.near, case.token_ids
    return int(((near.cloud_of[ids] >= 0) | np.isfinite(near.scale[ids])).sum())


def _norm(case: Case, expected: str, test: Callable[[float, float, float, float], bool]) -> Evidence:
    norm, typical = case.norm, case.typical_norms
    holds = None if norm is None or typical is None else bool(test(norm, *typical))
    limits = (
        "" if typical is None else "; theirs is {:.4g} to {:.4g}, median {:.4g}".format(*np.take(typical, [0, 2, 1]))
    )
    return Evidence("norm", norm, expected, holds, f"Euclidean norm of the first row{limits}")


def _distance(case: Case) -> Evidence:
    """How far a group that is in no cloud lies from the mean."""
    value = standard_errors(case.near, case.first)
    definition = "distance of the first row from the mean of all rows, over the standard error of that mean"
    return Evidence(
        "standard errors from the mean", value, "at a mean of other rows, to rounding or 1", False, definition
    )


def standard_errors(near: Nearness, token: int | None) -> float | None:
    """Distance of a token's row from the mean of all, over the norm of sd / sqrt(n); None where undefined."""
    sums = near.sums
    error = float(np.linalg.norm(sums.spread)) / np.sqrt(max(1, int(sums.finite.sum())))
    return float(near.from_mean[token] / error) if token is not None and error > 0 else None


def _position(cloud: Cloud) -> tuple[Evidence, ...]:
    reach = float(cloud.excess.max() / cloud.mean.reach)
    definition = (
        f"largest distance from the mean of {cloud.mean.over} ({cloud.mean.n_rows:,}) beyond rounding, over its reach"
    )
    return (Evidence("distance from the mean", reach, "at most 1", reach <= 1, definition),)


def _exact(cloud: Cloud, exact: bool) -> Evidence:
    definition = "tokens of which a number differs from the mean by more than rounding"
    return Evidence("rows off the mean", int((cloud.excess > 0).sum()), "none", exact, definition)


def _single(case: Case, cloud: Cloud, single: bool) -> Evidence:
    definition = "distinct stored rows of the cloud that the group is in"
    n = count_unique(case.holes, cloud.token_ids)
    return Evidence("distinct rows about the mean", n, "one, or one for every run of ids", single, definition)


def _one_row_a_run(holes: BlackHoles, token_ids: Ids) -> bool:
    """One distinct row; or each a run of two or more consecutive ids, as several resizes leave them."""
    if count_unique(holes, token_ids) == 1:
        return True
    ids = holes.hole_ids[token_ids]
    if (ids == 0).any():
        return False
    return all(np.ptp(token_ids[ids == hole]) + 1 == (ids == hole).sum() for hole in np.unique(ids))


def _noise_share(case: Case, cloud: Cloud) -> float | None:
    sums, total = case.near.sums, 0.0
    variance = float((sums.spread**2).sum())
    for start, stop in sums.embedding.spans(len(cloud.token_ids)):
        total += float(((sums.embedding.values_of(cloud.token_ids[start:stop]) - cloud.mean.vector) ** 2).sum())
    return total / len(cloud.token_ids) / variance if variance else None


RULES = (_zero, _mean, _mean_noise, _collinear, _padding, _copied, _frozen, _quantised)
"""In the order of precedence."""
