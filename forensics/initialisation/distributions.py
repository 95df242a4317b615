"""The distributions and their parameters, checked once, in the constructors.

Each class's docstring gives the float32 values that :func:`forensics.initialisation.draw` makes; they are then rounded
once to the stored format, to nearest with ties to even. z is float32 standard normal noise, one number an element.
With an anchor, a float32 vector that the caller gives, the same noise lies around the anchor.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from forensics.errors import ConfigError

NOISES = ("float32", "bfloat16")

LARGEST = float(np.finfo(np.float32).max)


def _check(kind: str, name: str, value: object, *, positive: bool = False, signed: bool = False) -> None:
    """Refuses what is not a number, or not one that float32 holds: a positive one must not become zero there."""
    real = isinstance(value, int | float | np.floating | np.integer) and not isinstance(value, bool)
    number: Any = value if real else math.nan
    held = float(np.float32(number)) if abs(number) <= LARGEST else math.nan
    if math.isnan(held) or (held < 0 and not signed) or (held == 0 and positive):
        sign = "" if signed else " above 0" if positive else " of 0 or more"
        raise ConfigError(f"initialisation {kind!r}: {name} is {value!r}, expected a number{sign} that float32 holds")


@dataclass(frozen=True, slots=True, kw_only=True)
class Normal:
    """Independent normal numbers: mean + sigma * z.

    The usual initialisation (GPT-2's sigma is 0.02; torch's nn.Embedding has 1). Founding runs: "N(0, .02) drawn in
    float32, then bfloat16".

    Attributes:
        sigma: standard deviation.
        mean: the mean of every number.
    """

    kind: ClassVar[str] = "normal"
    sigma: float = 0.02
    mean: float = 0.0

    def __post_init__(self) -> None:
        _check(self.kind, "sigma", self.sigma)
        _check(self.kind, "mean", self.mean, signed=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """One random direction times ``norm``, the same in every row (founding: "one random unit vector copied").

    Attributes:
        norm: Euclidean length of the row, before rounding.
    """

    kind: ClassVar[str] = "point"
    norm: float = 1.0

    def __post_init__(self) -> None:
        _check(self.kind, "norm", self.norm, positive=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class PointNoise:
    """A point with noise of its own in every row; how the noise is added decides how many rows coincide.

    Let u be one random direction times ``norm`` and b() rounding to bfloat16.

    * noise "float32": u + sigma * z, in float32 (founding 13.4a, 15.1a: "f32 unit vector + N(0,1e-5) -> bf16"). u lies
      off the stored lattice; some of its numbers lie so near a rounding boundary that little noise crosses it.
    * noise "bfloat16": b(b(u) + b(sigma * b(z))), as torch adds two bfloat16 tensors (founding 15.1b: "noise drawn and
      added in bf16"). b(u) lies on the lattice, half a step from every boundary (a quarter below a power of two).

    Different rows of 51 at dim 64, sigma 1e-5, stored in bfloat16, over 400 seeds: 44.6 +- 8.5 and 23.5 +- 16.4.
    Published for 32 founding runs each (15.2c): 42.7 +- 8.5 and 16.7 +- 14.9. What tells them apart is where u lies:
    float32 noise around b(u) gives the second law, too.

    Attributes:
        norm: Euclidean length of u.
        sigma: standard deviation of the noise.
        noise: the arithmetic in which it is added, "float32" or "bfloat16".
    """

    kind: ClassVar[str] = "point-noise"
    norm: float = 1.0
    sigma: float = 1e-5
    noise: str = "float32"

    def __post_init__(self) -> None:
        _check(self.kind, "norm", self.norm, positive=True)
        _check(self.kind, "sigma", self.sigma)
        if self.noise not in NOISES:
            raise ConfigError(
                f"initialisation {self.kind!r}: noise is {self.noise!r}, expected {' or '.join(map(repr, NOISES))}"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class Ball:
    """Uniform in a ball: a random direction times radius * U^(1/dim), U uniform in [0, 1).

    Reference: Muller 1959, "A note on a method for generating points uniformly on n-dimensional spheres"; the radius
    is the inverse of its law P(r <= x) = (x / radius)^dim.

    Attributes:
        radius: of the ball.
    """

    kind: ClassVar[str] = "ball"
    radius: float = 1.0

    def __post_init__(self) -> None:
        _check(self.kind, "radius", self.radius, positive=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Shell:
    """Uniform on a sphere: a random direction times radius (Muller 1959).

    Attributes:
        radius: of the sphere.
    """

    kind: ClassVar[str] = "shell"
    radius: float = 1.0

    def __post_init__(self) -> None:
        _check(self.kind, "radius", self.radius, positive=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Laplace:
    """Independent Laplace numbers: density exp(-|x| / scale) / (2 scale).

    Attributes:
        scale: mean of |x|; the standard deviation is sqrt(2) times that.
    """

    kind: ClassVar[str] = "laplace"
    scale: float = 0.02

    def __post_init__(self) -> None:
        _check(self.kind, "scale", self.scale)


@dataclass(frozen=True, slots=True, kw_only=True)
class Zeros:
    """Positive zero in every element."""

    kind: ClassVar[str] = "zeros"


@dataclass(frozen=True, slots=True, kw_only=True)
class MeanResized:
    """Rows of N(0, sigma), then rows appended as transformers 5 appends them (``mean_resizing=True``).

    Attributes:
        sigma: standard deviation of the old rows.
        new_rows: how many of the last rows are appended ones.
        covariance: what the old rows' covariance is multiplied with; transformers has 1e-9.
    """

    kind: ClassVar[str] = "mean-resized"
    sigma: float = 0.02
    new_rows: int = 0
    covariance: float = 1e-9

    def __post_init__(self) -> None:
        _check(self.kind, "sigma", self.sigma)
        _check(self.kind, "covariance", self.covariance)
        if not isinstance(self.new_rows, int) or isinstance(self.new_rows, bool) or self.new_rows < 0:
            raise ConfigError(
                f"initialisation {self.kind!r}: new_rows is {self.new_rows!r}, expected a whole number of 0 or more"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class FromFile:
    """Rows read from a numpy file.

    Attributes:
        path: an .npy file of float32 or float16 [rows, dim], or of bfloat16 words as uint16 [rows, dim].
    """

    kind: ClassVar[str] = "file"
    path: str = ""

    def __post_init__(self) -> None:
        if not isinstance(self.path, str):
            raise ConfigError(f"initialisation {self.kind!r}: path is {self.path!r}, expected the name of a file")


Initialisation = Normal | Point | PointNoise | Ball | Shell | Laplace | Zeros | MeanResized | FromFile

INITIALISATIONS: dict[str, type[Initialisation]] = {
    cls.kind: cls for cls in (Normal, Point, PointNoise, Ball, Shell, Laplace, Zeros, MeanResized, FromFile)
}
"""The distributions by their kind."""
