"""Enough of JSON Schema (draft 2020-12) to check our own schema; an unknown keyword is an error, not a pass."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

_TYPES: dict[str, tuple[type, ...]] = {
    "object": (dict,), "array": (list,), "string": (str,), "integer": (int,), "number": (int, float),
    "boolean": (bool,), "null": (type(None),),
}  # fmt: skip
_NOTES = {"$schema", "title", "description", "$defs"}


def problems(value: Any, schema: dict[str, Any], root: dict[str, Any], where: str = "$") -> Iterator[str]:
    """Yield what is wrong with ``value``."""
    for keyword, rule in schema.items():
        if keyword in _NOTES:
            continue
        if keyword not in _CHECKS:
            yield f"{where}: the schema uses {keyword!r}, which this checker does not know"
            continue
        yield from _CHECKS[keyword](value, rule, root, where)


def _type(value: Any, rule: Any, root: dict[str, Any], where: str) -> Iterator[str]:
    names = [rule] if isinstance(rule, str) else rule
    if not any(isinstance(value, _TYPES[n]) and (n == "boolean" or not isinstance(value, bool)) for n in names):
        yield f"{where}: {value!r} is not of type {rule}"


def _properties(value: Any, rule: Any, root: dict[str, Any], where: str) -> Iterator[str]:
    for name, schema in rule.items():
        if isinstance(value, dict) and name in value:
            yield from problems(value[name], schema, root, f"{where}.{name}")


def _items(value: Any, rule: Any, root: dict[str, Any], where: str) -> Iterator[str]:
    for at, item in enumerate(value if isinstance(value, list) else ()):
        yield from problems(item, rule, root, f"{where}[{at}]")


def _additional(value: Any, rule: Any, root: dict[str, Any], where: str) -> Iterator[str]:
    for name, item in value.items() if isinstance(value, dict) and isinstance(rule, dict) else ():
        yield from problems(item, rule, root, f"{where}.{name}")


def _required(value: Any, rule: Any, root: dict[str, Any], where: str) -> Iterator[str]:
    yield from (f"{where}: {name} is missing" for name in rule if isinstance(value, dict) and name not in value)


def _any_of(value: Any, rule: Any, root: dict[str, Any], where: str) -> Iterator[str]:
    tried = [list(problems(value, each, root, where)) for each in rule]
    if all(tried):
        yield from min(tried, key=len)


def _ref(value: Any, rule: str, root: dict[str, Any], where: str) -> Iterator[str]:
    schema = root
    for part in rule.removeprefix("#/").split("/"):
        schema = schema[part]
    yield from problems(value, schema, root, where)


def _enum(value: Any, rule: Any, root: dict[str, Any], where: str) -> Iterator[str]:
    if value not in rule:
        yield f"{where}: {value!r} is not one of {rule}"


def _const(value: Any, rule: Any, root: dict[str, Any], where: str) -> Iterator[str]:
    if value != rule:
        yield f"{where}: {value!r} is not {rule!r}"


def _minimum(value: Any, rule: Any, root: dict[str, Any], where: str) -> Iterator[str]:
    if isinstance(value, (int, float)) and value < rule:
        yield f"{where}: {value!r} is below {rule}"


_CHECKS = {
    "type": _type, "properties": _properties, "items": _items, "additionalProperties": _additional,
    "required": _required, "anyOf": _any_of, "$ref": _ref, "enum": _enum, "const": _const, "minimum": _minimum,
}  # fmt: skip
