"""Tables of settings, as TOML and JSON have them, to frozen dataclasses and back.

What a table may hold is read off the dataclass: its fields' names and types. Where a field is one of several
dataclasses, the table's ``kind`` says which; each carries its own as a class attribute.
"""

from __future__ import annotations

import dataclasses
import math
import tomllib
import types
from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from forensics.errors import ConfigError

T = TypeVar("T")


class Typed(str):
    """A value as somebody typed it: what it is, is for the field to say."""

    __slots__ = ()


def build(cls: type[T], table: Mapping[str, Any], key: str = "") -> T:
    """The dataclass that a table describes; fields it does not name have their defaults.

    Args:
        cls: the dataclass.
        table: field names to values, as TOML or JSON gives them.
        key: the table's dotted name, for messages.

    Raises:
        ConfigError: a name or a value is not one of the dataclass; the message starts with its dotted name.
    """
    hints = get_type_hints(cls)
    known = [field.name for field in dataclasses.fields(cls)]  # type: ignore[arg-type]
    values = {}
    for name, value in table.items():
        if name in known:
            values[name] = _convert(hints[name], value, _join(key, name))
        elif name != "kind" or not hasattr(cls, "kind"):
            raise ConfigError(f"{_join(key, name)}: there is no such setting", hint=_nearest_setting(cls, name, key))
    try:
        return cls(**values)
    except ConfigError as error:
        located = not key or error.message.startswith(key)
        raise ConfigError(error.message if located else f"{key}: {error.message}", hint=error.hint) from None


def to_table(settings: Any) -> dict[str, Any]:
    """The whole of a dataclass as a table that JSON can hold; `build` gives an equal dataclass back."""
    kind = {"kind": settings.kind} if hasattr(type(settings), "kind") else {}
    return kind | {field.name: _plain(getattr(settings, field.name)) for field in dataclasses.fields(settings)}


def merge(cls: type, base: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """A table with some values changed.

    A changed ``kind`` that means another dataclass empties its table first: the old kind's values say nothing to it.
    """
    hints = get_type_hints(cls)
    merged = dict(base)
    for name, value in changes.items():
        old, members = base.get(name), _members(hints.get(name))
        if not (isinstance(old, Mapping) and isinstance(value, Mapping) and members):
            merged[name] = value
        elif len(members) == 1:
            merged[name] = merge(members[0], old, value)
        else:
            same = value.get("kind", old.get("kind")) == old.get("kind")
            merged[name] = {**old, **value} if same else dict(value)
    return merged


def flatten(table: Mapping[str, Any], key: str = "") -> Iterator[tuple[str, Any]]:
    """Dotted names and values of a table's leaves."""
    for name, value in table.items():
        if isinstance(value, Mapping):
            yield from flatten(value, _join(key, name))
        else:
            yield _join(key, name), value


def nearest(name: str, known: list[str]) -> str:
    """A hint: the name that is most like an unknown one, or all there are."""
    close = get_close_matches(name, known, n=1, cutoff=0.5)
    return f"did you mean {close[0]}?" if close else f"one of: {', '.join(known)}"


def _convert(hint: Any, value: Any, key: str) -> Any:
    members = _members(hint)
    optional = type(None) in get_args(hint)
    if optional and (value is None or (isinstance(value, Typed) and value == "none")):
        return None
    if members:
        return _choose(members, value, key)
    if get_origin(hint) is Literal:
        if value not in get_args(hint):
            raise ConfigError(f"{key}: {value!r} is none of its values", hint=nearest(str(value), [*get_args(hint)]))
        return str(value)
    if get_origin(hint) is tuple:
        return _names(value, key)
    return _scalar(hint, value, key)


def _choose(members: tuple[type, ...], value: Any, key: str) -> Any:
    """The member that the table's kind names."""
    kinds = {member.kind: member for member in members} if len(members) > 1 else {}  # type: ignore[attr-defined]
    if not isinstance(value, Mapping):
        example = f"{key}.kind = " + " or ".join(kinds) if kinds else f"{key}.NAME = VALUE"
        raise ConfigError(f"{key}: expected a table of settings, found {value!r}", hint=f"write {example}")
    if not kinds:
        return build(members[0], value, key)
    kind = value.get("kind")
    if kind is None:
        raise ConfigError(f"{key}: kind is missing", hint=f"one of: {', '.join(kinds)}")
    if kind not in kinds:
        raise ConfigError(f"{key}.kind: there is no {kind!r}", hint=nearest(str(kind), [*kinds]))
    return build(kinds[kind], value, key)


def _scalar(hint: type, value: Any, key: str) -> Any:
    if isinstance(value, Typed):
        value = str(value) if hint is str and not value.startswith(('"', "'")) else _toml_value(value)
    flag = isinstance(value, bool)
    if hint is str and (isinstance(value, str) or (isinstance(value, int) and not flag)):
        return str(value)  # every = 10 and tracked = 64 need no quotes
    if hint is bool and flag:
        return value
    if hint is int and isinstance(value, int) and not flag:
        return value
    if hint is float and isinstance(value, int | float) and not flag and math.isfinite(value):
        return float(value)
    expected = {str: "a text", bool: "true or false", int: "a whole number", float: "a finite number"}[hint]
    raise ConfigError(f"{key}: expected {expected}, found {value!r}")


def _names(value: Any, key: str) -> tuple[str, ...]:
    if isinstance(value, Typed):
        is_list = value.startswith("[")
        value = _toml_value(value) if is_list else [name.strip() for name in value.split(",") if name.strip()]
    if isinstance(value, list | tuple) and all(isinstance(name, str) for name in value):
        return tuple(value)
    raise ConfigError(f"{key}: expected a list of names, found {value!r}")


def _toml_value(text: str) -> Any:
    """A typed value read as TOML's; a bare word is a text."""
    try:
        document = tomllib.loads(f"value = {text}")
    except tomllib.TOMLDecodeError:
        return str(text)
    return document["value"] if len(document) == 1 else str(text)


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value):
        return to_table(value)
    return list(value) if isinstance(value, tuple) else value


def _members(hint: Any) -> tuple[type, ...]:
    """The dataclasses a field may hold; none if it holds plain values."""
    options = get_args(hint) if get_origin(hint) in (Union, types.UnionType) else (hint,)
    return tuple(option for option in options if isinstance(option, type) and dataclasses.is_dataclass(option))


def _join(key: str, name: str) -> str:
    return f"{key}.{name}" if key else name


def _settings(cls: type, key: str = "") -> Iterator[str]:
    """Dotted names of all settings that a dataclass has, of every kind."""
    hints = get_type_hints(cls)
    for field in dataclasses.fields(cls):
        name = _join(key, field.name)
        members = _members(hints[field.name])
        if not members:
            yield name
        elif len(members) > 1:
            yield f"{name}.kind"
        for member in members:
            yield from _settings(member, name)


def _nearest_setting(cls: type, name: str, key: str) -> str:
    """The setting that is meant: one of this table, or one of the same name in a table below."""
    known = [field.name for field in dataclasses.fields(cls)]
    if get_close_matches(name, known, n=1, cutoff=0.6):
        return nearest(name, known).replace("did you mean ", f"did you mean {key}." if key else "did you mean ")
    below = list(dict.fromkeys(full for full in _settings(cls, key) if full.rpartition(".")[2] == name))
    return f"did you mean {' or '.join(below[:3])}?" if below else nearest(name, known)
