"""Simulators whose truth is known, of vectors rather than rows."""

import numpy as np

from forensics.hypotheses.hypothesis import Hypothesis, LogUniform, Parameter, Uniform
from forensics.hypotheses.observables.observable import Observable
from forensics.hypotheses.sweeps.simulation import Simulation


def observables(k):
    return [Observable(f"s{i}", f"figure {i}", "value", "dead", "made") for i in range(k)]


def curve(rng, which=0, off=0.0, k=10):
    """A curve in 10 dimensions; the noise grows by a hundred along it, and ``off`` counts in it."""
    t = rng.uniform(-1, 1)
    away = np.random.default_rng(99).normal(size=k)
    noise = rng.normal(size=k) + off * away / np.linalg.norm(away)
    return {"t": t}, np.sin((np.arange(k) % 4 + 1) * 1.5 * t + np.arange(k) * (1 + which)) + 0.05 * 10**t * noise


def plane(rng, which=0, off=0.0, k=25):
    """A cube in 25 dimensions under correlated noise; its first parameter is a logarithm."""
    law = np.random.default_rng(5 + which)
    slopes, mixing = law.normal(size=(3, k)), law.normal(size=(k, k)) / np.sqrt(k)
    t = rng.uniform(-3, 3, 3)
    names = {"scale": np.exp(t[0]), "shift": t[1], "turn": t[2], "kind": "word", "fixed": 1.0}
    return names, t @ slopes + rng.normal(size=k) @ mixing + off / np.sqrt(k)


def counts(rng, which=0, off=0.0, k=6):
    """Numbers that are mostly equal: a quantised cloud near the scale on which it collapses."""
    t = rng.uniform(-3, 1 + off)
    return {"t": t}, np.log1p(rng.poisson(np.exp(t + which * np.arange(k) / k)).astype(float))


def point(rng, which=0, k=10):
    """One point for ever."""
    return {}, np.full(k, 0.3 + which)


def draws(made, n, seed=0, **how):
    rng = np.random.default_rng([seed, 7])
    return np.array([made(rng, **how)[1] for _ in range(n)])


def simulations(name, made, n, seed=0, **how):
    rng = np.random.default_rng([seed, 7])
    return [_simulation(name, i, *made(rng, **how)) for i in range(n)]


def _simulation(name, index, parameters, values):
    plain = {key: value if isinstance(value, str) else float(value) for key, value in parameters.items()}
    return Simulation(name, index, plain, named(values))


def named(values):
    return {f"s{i}": None if np.isnan(v) else float(v) for i, v in enumerate(values)}


def failed(name, index):
    return Simulation(name, index, {}, {}, "ValueError: made to fail")


def hypothesis(name, same_as=None, obstacle=None):
    return Hypothesis(
        name=name,
        title=name,
        story="made",
        predicts="made",
        source="made",
        simulate=lambda context, parameters, rng: None,
        parameters=(
            Parameter("scale", "made", lambda context: LogUniform(0.05, 20)),
            Parameter("shift", "made", lambda context: Uniform(-3, 3)),
        ),
        obstacle=lambda context: obstacle,
        same_as=same_as,
    )
