"""The vocabulary census: what every row's token is, and whether text can produce it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from forensics.errors import CheckpointError, SelectionError
from forensics.vocabulary.categories import CATEGORIES, category_of, reserved_looking
from forensics.vocabulary.encoder import Encoder
from forensics.vocabulary.grounds import Ground
from forensics.vocabulary.pieces import Vocabulary
from forensics.vocabulary.reachability import REACHABLE, UNKNOWN, UNREACHABLE, Reachability, find_reachable
from forensics.vocabulary.scripts import script_of

if TYPE_CHECKING:
    import pandas as pd

T = TypeVar("T")

STATES = {REACHABLE: "reachable", UNREACHABLE: "unreachable", UNKNOWN: "unknown"}

MASKS = ("padding", "impossible bytes", "special", "reserved-looking", "unreachable", "partial")
"""Sets of tokens by name, as ``Census.mask`` gives them."""


@dataclass(frozen=True, slots=True, eq=False)
class Census:
    """A vocabulary against a matrix of ``n_rows``, in columns by id.

    Attributes:
        vocabulary: the pieces; an empty one where there is no tokenizer.
        origin: what the encoder was made from; None without one.
        category: ``int8[n_rows]``, indices into ``CATEGORIES``.
        script: ``int16[n_rows]``, indices into ``scripts``.
        scripts: names of the scripts that occur.
        n_chars, n_bytes: ``int32[n_rows]``, lengths; 0 without a piece. Part of a character counts as one.
        state: ``int8[n_rows]``: 1 reachable, 0 unreachable, -1 unknown.
        round_trip: ``bool[n_rows]``, the token's own text gives the token and nothing else.
        is_reserved_looking: ``bool[n_rows]``, see ``reserved_looking``.
        witnesses, re_encoded, grounds: see ``Reachability``; by id, where there is something to say.
        notes: what a reader must know, such as a tokenizer that is larger than the matrix.
    """

    vocabulary: Vocabulary
    origin: str | None
    category: NDArray[np.int8]
    script: NDArray[np.int16]
    scripts: tuple[str, ...]
    n_chars: NDArray[np.int32]
    n_bytes: NDArray[np.int32]
    state: NDArray[np.int8]
    round_trip: NDArray[np.bool_]
    is_reserved_looking: NDArray[np.bool_]
    witnesses: Mapping[int, str]
    re_encoded: Mapping[int, tuple[int, ...]]
    grounds: Mapping[int, Ground]
    notes: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.category)

    def __repr__(self) -> str:
        counts = Counter(STATES[int(s)] for s in self.state)
        return f"Census({len(self):,} rows: {', '.join(f'{n:,} {state}' for state, n in sorted(counts.items()))})"

    def mask(self, name: str) -> NDArray[np.bool_]:
        """``bool[n_rows]``, a set of tokens by its name in ``MASKS``.

        Raises:
            SelectionError: no such set.
        """
        if name not in MASKS:
            raise SelectionError(f"no set of tokens named {name[:40]!r}", hint=f"expected one of: {', '.join(MASKS)}")
        if not len(self.vocabulary):
            return np.zeros(len(self), bool)
        if name == "unreachable":
            return np.asarray(self.state == UNREACHABLE)
        if name == "reserved-looking":
            return self.is_reserved_looking
        category = "impossible byte" if name == "impossible bytes" else name
        return np.asarray(self.category == [*map(str, CATEGORIES)].index(category))

    def witness(self, token_id: int) -> str | None:
        """The shortest text found whose encoding holds the token; None if there is none or it is not known."""
        if self.state[token_id] != REACHABLE:
            return None
        return self.witnesses.get(token_id) or self.vocabulary.text(token_id)

    def row(self, token_id: int) -> dict[str, Any]:
        """Everything about one id.

        Raises:
            SelectionError: beyond the matrix.
        """
        if not 0 <= token_id < len(self):
            raise SelectionError(f"token {token_id:,} is not there", hint=f"the matrix has {len(self):,} rows")
        raw, ground = self.vocabulary.raw_bytes(token_id), self.grounds.get(token_id)
        piece = self.vocabulary.pieces[token_id] if token_id < len(self.vocabulary) else None
        again = self.re_encoded.get(token_id)
        if again is None and self.round_trip[token_id]:
            again = (token_id,)
        return {
            "id": token_id,
            "piece": piece.hex() if isinstance(piece, bytes) else piece,
            "text": self.vocabulary.text(token_id),
            "bytes": raw.hex() if raw is not None else None,
            "category": CATEGORIES[self.category[token_id]],
            "script": self.scripts[self.script[token_id]],
            "characters": int(self.n_chars[token_id]),
            "n_bytes": int(self.n_bytes[token_id]),
            "reachable": STATES[int(self.state[token_id])],
            "round_trip": bool(self.round_trip[token_id]),
            "re_encoded": list(again) if again is not None else None,
            "witness": self.witness(token_id),
            "ground": ground.to_dict() if ground else None,
        }

    def to_frame(self) -> pd.DataFrame:
        """One row an id, the columns of ``row``, the ground in four columns."""
        import pandas as pd

        records = []
        for i in range(len(self)):
            record = self.row(i)
            ground = record.pop("ground") or {}
            records.append(record | {name: ground.get(name) for name in ("cause", "detail", "where", "proved")})
        return pd.DataFrame.from_records(records)

    def to_dict(self) -> dict[str, Any]:
        """Counts by category, script and reachability, and of the grounds."""
        told = len(self.vocabulary) > 0
        triples = Counter(zip(self.category.tolist(), self.script.tolist(), self.state.tolist(), strict=True))
        grounds = Counter((g.cause, g.where, self.scripts[self.script[i]], g.proved) for i, g in self.grounds.items())
        counts = [
            {"category": CATEGORIES[c], "script": self.scripts[s], "reachable": STATES[r], "tokens": n}
            for (c, s, r), n in triples.items()
            if told
        ]
        causes = [
            {"cause": cause, "where": where, "script": script, "proved": proved, "tokens": n}
            for (cause, where, script, proved), n in grounds.items()
        ]
        return {
            "rows": len(self),
            "tokens": len(self.vocabulary),
            "encoder": self.origin,
            "round_trip": int(self.round_trip.sum()),
            "counts": sorted(counts, key=lambda row: (row["category"], row["script"], row["reachable"])),
            "grounds": sorted(causes, key=lambda row: tuple(map(str, row.values()))),
            "masks": {name: int(self.mask(name).sum()) for name in MASKS},
            "notes": list(self.notes),
        }


def take_census(vocabulary: Vocabulary | None, n_rows: int, *, progress: Callable[[str], None] | None = None) -> Census:
    """What every row's token is, and whether text can produce it.

    A tokenizer that cannot be built or fails is a note, not an end: reachability is then unknown, but for what the
    bytes alone say.

    Args:
        vocabulary: the tokenizer's pieces and rules, or None.
        n_rows: of the matrix; ids beyond the tokenizer are padding, and tokens beyond the matrix are left out.
        progress: called with the name of each stage as it starts.
    """
    notes = [*_sizes(vocabulary, n_rows)]
    vocabulary = Vocabulary((), "plain") if vocabulary is None else vocabulary
    found, encoder = _reachability(vocabulary, notes, progress)
    if found.left_out:
        notes.append(f"of {len(found.left_out):,} tokens whose own text does not give them no other text was tried")
    beyond = Ground("no piece", "the tokenizer has no such token", proved=True)
    for i in range(len(vocabulary), n_rows if len(vocabulary) else 0):
        found.grounds[i] = beyond
    state = np.full(n_rows, UNREACHABLE if len(vocabulary) else UNKNOWN, np.int8)
    state[: len(vocabulary)] = found.state[:n_rows]
    texts = [vocabulary.raw_bytes(i) for i in range(n_rows)]
    shown = [None if raw is None else raw.decode(errors="replace") for raw in texts]
    scripts = [script_of((text or "").replace("\ufffd", "")) for text in shown]
    names = tuple(sorted(set(scripts)))
    code = {name: n for n, name in enumerate(names)}
    category = {name: n for n, name in enumerate(CATEGORIES)}
    alone = np.zeros(n_rows, bool)
    alone[[i for i in found.alone if i < n_rows]] = True
    return Census(
        vocabulary,
        encoder.origin if encoder else None,
        np.array([category[category_of(vocabulary, i)] for i in range(n_rows)], np.int8),
        np.array([code[script] for script in scripts], np.int16),
        names,
        np.array([len(text or "") for text in shown], np.int32),
        np.array([len(raw or b"") for raw in texts], np.int32),
        state,
        alone,
        reserved_looking(vocabulary, state == UNREACHABLE),
        _within(found.witnesses, n_rows),
        _within(found.re_encoded, n_rows),
        _within(found.grounds, n_rows),
        tuple(notes),
    )


def _within(found: Mapping[int, T], n_rows: int) -> dict[int, T]:
    return {i: value for i, value in found.items() if i < n_rows}


def _sizes(vocabulary: Vocabulary | None, n_rows: int) -> list[str]:
    if vocabulary is None:
        return ["no tokenizer: tokens are known by id only"]
    beyond = len(vocabulary) - n_rows
    if beyond > 0:
        return [f"{beyond:,} tokens of the tokenizer are beyond the matrix's {n_rows:,} rows: is it this model's?"]
    return []


def _reachability(
    vocabulary: Vocabulary, notes: list[str], progress: Callable[[str], None] | None
) -> tuple[Reachability, Encoder | None]:
    if vocabulary.rules is None and len(vocabulary):
        notes.append(f"reachability is unknown: {vocabulary.no_rules}")
    try:
        encoder = vocabulary.encoder()
        return find_reachable(vocabulary, encoder, progress=progress), encoder
    except CheckpointError as error:
        notes.append(f"reachability is unknown: {error.message}")
        return find_reachable(vocabulary, None), None
