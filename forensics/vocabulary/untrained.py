"""Sets of tokens that may be untrained, as the tokenizer tells them."""

from __future__ import annotations

import numpy as np

from forensics.measures import Population
from forensics.vocabulary.census import Census

UNTRAINED = {
    "padding": "ids beyond the tokenizer",
    "impossible bytes": "pieces with a byte that valid UTF-8 never uses",
    "reserved-looking": "reserved-looking pieces: they differ from many others in a number alone",
    "unreachable": "tokens that no text was found to give",
}
"""Masks of the census with their definitions."""


def untrained_sources(census: Census, n_rows: int) -> dict[str, Population]:
    """The sets of tokens that the tokenizer gives reason to think untrained; none without a tokenizer."""
    if not len(census.vocabulary):
        return {}
    return {
        name: Population(name, definition, np.flatnonzero(census.mask(name)[:n_rows]))
        for name, definition in UNTRAINED.items()
        if name != "unreachable" or census.origin is not None
    }
