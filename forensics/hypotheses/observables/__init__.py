"""The vector of comparable statistics that a hypothesis is judged by: names, definitions, and how they are measured.

Every figure weighs tokens alike unless its population says "distinct". Figures of steps are exact, in ordinals.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from forensics.hypotheses.cloud import Cloud
from forensics.hypotheses.context import Context
from forensics.hypotheses.observables.geometry import GEOMETRY, measure_geometry
from forensics.hypotheses.observables.ids import IDS, measure_ids
from forensics.hypotheses.observables.lattice import (
    EXTENTS,
    GRAPH,
    HOLE_PAIRS,
    measure_extents,
    measure_graph,
    measure_hole_pairs,
)
from forensics.hypotheses.observables.live import LIVE
from forensics.hypotheses.observables.observable import Observable
from forensics.hypotheses.observables.populations import POPULATIONS, measure_populations

Values = dict[str, float | None]

_GROUPS: tuple[tuple[tuple[Observable, ...], Callable[[Cloud, Context], Values]], ...] = (
    (POPULATIONS, measure_populations),
    (EXTENTS, measure_extents),
    (HOLE_PAIRS, measure_hole_pairs),
    (GRAPH, measure_graph),
    (GEOMETRY, measure_geometry),
    (IDS, measure_ids),
)
"""Observables that are measured together, and by what."""

OBSERVABLES: dict[str, Observable] = {o.name: o for o in (*(o for group, _ in _GROUPS for o in group), *LIVE)}
"""All, in the order of a report."""

CLOUD: tuple[str, ...] = tuple(name for name, o in OBSERVABLES.items() if o.needs != "live" and not o.derived)
"""What every simulator yields, without what follows from the others."""

SCALE_FREE: tuple[str, ...] = tuple(name for name, o in OBSERVABLES.items() if o.scale_free)
"""What clouds of other sizes can be compared by."""


def measure_cloud(cloud: Cloud, context: Context, *, only: Collection[str] | None = None) -> Values:
    """Measures a cloud: all but what needs the live rows, or the observables named.

    Args:
        cloud: the dead rows.
        context: what it is told against: the size of the vocabulary, the config's initializer_range.
        only: names; what does not belong to them is not computed.

    Returns:
        By name, in report order; None where undefined.
    """
    found: Values = {}
    for group, measure in _GROUPS:
        if only is None or any(o.name in only for o in group):
            found |= measure(cloud, context)
    return found if only is None else {name: value for name, value in found.items() if name in only}


def transformed(values: Mapping[str, float | None], names: Sequence[str]) -> NDArray[np.float64]:
    """The named values on the scales that distances are taken on, ``float64[len(names)]``; nan where undefined."""
    return np.array([OBSERVABLES[name].transformed(values.get(name)) for name in names])
