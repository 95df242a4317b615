"""The founding notebooks' noise around a point, replayed at their settings, and the curves behind them.

The raw anchors are those of the planted ``qwen3-4b``: its holes have every published exponent and all published words
on the 20 dimensions where they differ, and agree on the others, so that the population-weighted centroid is known
wherever noise up to 2e-9 matters, and the cells everywhere. The centred centroid's numbers were never published: each
replay draws one with the published lengths, so that its spread is over the unknown anchor.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from forensics.formats import BFLOAT16, FloatFormat
from forensics.hypotheses.context import Context
from forensics.hypotheses.sampling.anchors import anchor_values
from forensics.hypotheses.sampling.clouds import noisy_cloud
from forensics.synthetic.qwen3_4b_dead import plant_dead
from forensics.synthetic.qwen3_4b_published import published

if TYPE_CHECKING:
    import pandas as pd

FIGURES = ("unique", "holes", "largest", "in holes", "varying")
"""Different rows, black holes, tokens in the largest, tokens in any, dimensions on which some two rows differ."""


CENTRED_NORM, VOCABULARY_NORM = 0.166060894728, 0.304777026
"""Published lengths: of the dead rows' centroid less the mean of the vocabulary (founding 06.1r), and of that mean."""


@dataclass(frozen=True, slots=True)
class Setting:
    """A published simulation: noise of one sigma around one point, in float32, rounded to bfloat16.

    Attributes:
        name: of the setting.
        anchor: where its point lies: on, centroid or centred.
        sigma: standard deviation of the noise.
        n_rows: rows drawn, or survivors of a vocabulary, which is the same.
        figures: name -> published mean, and the spread between its runs (None: one run, or not given).
        source: the notebook.
    """

    name: str
    anchor: str
    sigma: float
    n_rows: int
    figures: dict[str, tuple[float, float | None]]
    source: str


_VALLEY, _SWEEP, _SNOWBALL = "founding 13.3a to f", "founding box_4, one seed", "founding 12.2b"

SETTINGS = (
    Setting(
        "monument valley",
        "centroid",
        1.5e-9,
        2221,
        {"unique": (6.0, None), "holes": (5.8, 0.4), "largest": (1621, 25)},
        _VALLEY,
    ),
    Setting("outline", "centroid", 2.78e-9, 2221, {"holes": (15.4, 1.6), "largest": (1122, None)}, _VALLEY),
    Setting("coarse", "centroid", 6e-9, 2221, {"holes": (84.3, None), "largest": (303, None)}, _VALLEY),
    Setting("valley peak", "centroid", 2e-8, 2221, {"holes": (400, None)}, _VALLEY),
    Setting(
        "coarsening 9.5e-9",
        "on",
        9.54e-9,
        2200,
        {"unique": (186, None), "holes": (127, None), "largest": (103, None)},
        _SWEEP,
    ),
    Setting(
        "coarsening 1e-8",
        "on",
        1e-8,
        2200,
        {"unique": (210, None), "holes": (146, None), "largest": (88, None)},
        _SWEEP,
    ),
    Setting("coarsening peak", "on", 2.024e-8, 2200, {"unique": (1100, None), "holes": (410, None)}, _SWEEP),
    Setting("coarsening 5e-8", "on", 5.18e-8, 2200, {"unique": (2195, None), "holes": (5, None)}, _SWEEP),
    Setting(
        "centred snowball",
        "centred",
        1.5e-9,
        2100,
        {"holes": (12.8, 1.1), "largest": (1108.7, None), "in holes": (2096.6, 1.6)},
        _SNOWBALL,
    ),
)
"""The published settings; "50 % unique" of 2,200 is written as 1,100."""


@dataclass(frozen=True, slots=True)
class Replayed:
    """A published figure beside its replay.

    Attributes:
        figure: one of :data:`FIGURES`.
        published: mean.
        published_sd: spread between runs, or None.
        mean: of the replays.
        sd: their spread, ``ddof`` 1; over the unknown anchor, too, where it is centred.
        share_below: replays at or below the published mean, equal ones counted half.
    """

    figure: str
    published: float
    published_sd: float | None
    mean: float
    sd: float
    share_below: float


@dataclass(frozen=True, slots=True, eq=False)
class Curve:
    """What noise around a point gives against its sigma.

    Attributes:
        sigma: ``float64[s]``.
        steps: ``float64[s]``, in median steps of the format at the anchor.
        figures: name -> ``int64[s, repeats]``, the names :data:`FIGURES`.
    """

    sigma: NDArray[np.float64]
    steps: NDArray[np.float64]
    figures: dict[str, NDArray[np.int64]]

    def to_dict(self) -> dict[str, Any]:
        """Plain values."""
        figures = {name: drawn.tolist() for name, drawn in self.figures.items()}
        return {"sigma": self.sigma.tolist(), "steps": self.steps.tolist(), "figures": figures}

    def to_frame(self) -> pd.DataFrame:
        """One row a sigma and repeat."""
        import pandas as pd

        repeats = next(iter(self.figures.values())).shape[1]
        columns = {"sigma": np.repeat(self.sigma, repeats), "steps": np.repeat(self.steps, repeats)}
        return pd.DataFrame(columns | {name: drawn.ravel() for name, drawn in self.figures.items()})


@cache
def founding_context(n_rows: int = 2221) -> Context:
    """The planted ``qwen3-4b``'s dead rows: stored row of hole 1, population-weighted centroid of the holes."""
    said = published()
    dead = plant_dead(said, said.rows, said.dim, np.random.default_rng([0, 0]), np.random.default_rng([0, 1]))
    centroid = dead.in_hole_centroid().astype(np.float32)
    return Context(n_rows, said.dim, BFLOAT16, dead.holes[0], centroid, said.rows)


def centred_anchor(centroid: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.float32]:
    """A dead centroid less a vocabulary's mean of the published lengths and otherwise any direction, ``float32[dim]``.

    Three lengths fix the triangle: along the dead centroid c lies (c^2 + d^2 - m^2) / 2c of the difference's length d,
    m being the mean's.
    """
    axis = centroid.astype(np.float64)
    c = float(np.linalg.norm(axis))
    along = (c * c + CENTRED_NORM**2 - VOCABULARY_NORM**2) / (2 * c)
    across = rng.standard_normal(len(axis))
    across -= (across @ axis) / c**2 * axis
    across *= math.sqrt(CENTRED_NORM**2 - along**2) / np.linalg.norm(across)
    return (along / c * axis + across).astype(np.float32)


def replay(setting: Setting, repeats: int = 100, seed: int = 0) -> tuple[Replayed, ...]:
    """A published setting drawn again, two times at least."""
    context = founding_context(setting.n_rows)
    drawn = transition_curve(context, [setting.sigma], repeats, seed, anchor=setting.anchor).figures
    out = []
    for name, (mean, sd) in setting.figures.items():
        ours = drawn[name][0]
        below = float(((ours < mean) + 0.5 * (ours == mean)).mean())
        out.append(Replayed(name, mean, sd, float(ours.mean()), float(ours.std(ddof=1)), below))
    return tuple(out)


def transition_curve(context: Context, sigmas: ArrayLike, repeats: int, seed: int, *, anchor: str = "off") -> Curve:
    """Draws noise around a point at each sigma.

    Around a point other than zero the rows are one point while sigma is far below the finest step, and all different
    where it nears the typical one; the number of holes peaks between. Around zero there is no such transition: the
    lattice is scale-free there.

    Args:
        context: the dead rows.
        sigmas: ``float64[s]``, standard deviations.
        repeats: draws a sigma.
        seed: of the generator.
        anchor: on, off, centroid, centred or zero.
    """
    sigma = np.asarray(sigmas, np.float64)
    rng = np.random.default_rng(seed)
    figures = {name: np.zeros((len(sigma), repeats), np.int64) for name in FIGURES}
    for i, noise in enumerate(sigma):
        for j in range(repeats):
            cloud = noisy_cloud(context, _centre(context, anchor, rng), float(noise), rng)
            populations = cloud.populations
            holes = populations[populations > 1]
            counted = (len(populations), len(holes), populations[0], holes.sum(), len(cloud.active))
            for name, count in zip(FIGURES, counted, strict=True):
                figures[name][i, j] = count
    return Curve(sigma, sigma / context.median_step, figures)


def _centre(context: Context, anchor: str, rng: np.random.Generator) -> NDArray[np.float32]:
    if anchor == "zero":
        return np.zeros(context.dim, np.float32)
    return centred_anchor(context.centroid, rng) if anchor == "centred" else anchor_values(context, anchor, rng)


def stall(ratio: float, fmt: FloatFormat, *, reach: float = 1.0, steps: int = 300) -> tuple[float, float]:
    """Between which fractions of the way a drift in shrinking steps stalls, were none of its steps rounded before.

    With s_t = reach (1 - r) r^(t-1) / (1 - r^T), and f_t the sum of the steps so far, a number stops once s_(t+1) / f_t
    falls below its half step over itself, which lies between 2^-(m+2) (mantissa full) and 2^-(m+1) (empty) for m stored
    mantissa bits. With x = r^t the ratio of the two is (1 - r) x / (1 - x), so that x = h / (1 - r + h) at the half
    step h, and f = reach (1 - x) / (1 - r^T). Roundings on the way, which carry a number by whole steps, move it
    outwards or inwards by a few parts of a hundred.

    Args:
        ratio: r, of a step's length to the one before, below 1.
        fmt: the stored format.
        reach: sum of all steps over the way.
        steps: T.
    """
    total = 1 - ratio**steps
    fractions = []
    for bits in (fmt.mantissa_bits + 1, fmt.mantissa_bits + 2):
        half = math.ldexp(1.0, -bits)
        fractions.append(min(1.0, (1 - half / (1 - ratio + half)) / total) * reach)
    return fractions[0], fractions[1]
