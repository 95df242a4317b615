"""Measures each claim on a subject and says whether it holds."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from forensics.checkpoint import Checkpoint
from forensics.claims.claim import Claim, Value, numbers
from forensics.claims.parse import ClaimsFile
from forensics.claims.registry import OF_CHANNEL, Quantity, quantities
from forensics.claims.result import ClaimResult, Claims
from forensics.claims.subject import Subject
from forensics.errors import (
    ConfigError,
    EmbeddingError,
    FormatError,
    RecordingError,
    SelectionError,
    TensorNotFoundError,
)
from forensics.recording import Recording

CANNOT = (ConfigError, EmbeddingError, FormatError, RecordingError, SelectionError, TensorNotFoundError)
"""What says that a subject lacks what a claim is about."""


def check_claims(
    subject: Subject | Checkpoint | Recording,
    files: Sequence[ClaimsFile],
    *,
    progress: Callable[[str], None] | None = None,
) -> Claims:
    """Checks every claim of some files; what several ask for is measured once.

    Args:
        subject: what is measured.
        files: from `read_claims` or `shipped_claims`.
        progress: called with each claim as it is measured.
    """
    held = subject if isinstance(subject, Subject) else Subject(subject)
    results = []
    for file in files:
        for claim in file.claims:
            if progress is not None:
                progress(f"{file.name}: {claim.id}")
            results.append(_check(held, file, claim))
    return Claims(held.source, held.name, held.is_planted, tuple(results))


def _check(subject: Subject, file: ClaimsFile, claim: Claim) -> ClaimResult:
    quantity = quantities()[claim.quantity]
    found: Value | None = None
    try:
        why = _unmet(subject, claim)
        if why is None:
            found = _measured(subject, quantity, dict(claim.parameters))
            why = None if found is not None else "it is undefined here, as of no rows or a length of 0"
    except CANNOT as error:
        why = error.message if error.hint is None else f"{error.message}; {error.hint}"
    measured = _described(subject, quantity, claim)
    if found is None:
        return ClaimResult(file.name, claim, measured, "not measurable here", None, why, ())
    holds = tuple(rival for rival in claim.rivals if rival.holds(found))
    return ClaimResult(file.name, claim, measured, "confirmed" if holds else "contradicted", found, None, holds)


def _described(subject: Subject, quantity: Quantity, claim: Claim) -> dict[str, str]:
    """Unit, population and definition; those of a recorded channel with what the recording says of it."""
    measured = quantity.described(claim.parameters)
    name = claim.parameters.get("channel")
    channel = subject.channel(name) if isinstance(name, str) else None
    if channel is not None:
        measured["definition"] += f"; {channel.name}: {channel.definition}"
    if measured["unit"] == OF_CHANNEL:
        measured["unit"] = "" if channel is None else channel.unit
    return measured


def _unmet(subject: Subject, claim: Claim) -> str | None:
    quantity = quantities()[claim.quantity]
    if quantity.subject == "recording":
        _ = subject.recording  # that there is none is the reason to give, whatever else is needed
    for condition in claim.needs:
        unmet = condition.unmet(subject.fact(condition.key))
        if unmet is not None:
            return unmet
    return None


def _measured(subject: Subject, quantity: Quantity, parameters: dict[str, Any]) -> Value | None:
    """The value; None where it is undefined, as nan and infinities are."""
    role = parameters.pop("role", None)
    given = subject.recording if quantity.subject == "recording" else subject.matrix(role)
    found: Value | None = quantity.measure(given, **{**quantity.defaults, **parameters})
    if found is None or isinstance(found, str):
        return found
    return found if np.isfinite(numbers(found)).all() else None
