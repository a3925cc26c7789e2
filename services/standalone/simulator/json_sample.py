"""JSON that satisfies a JSON Schema, so that the simulated model can keep to ``json_schema`` and tool parameters.

Covers what vendors accept as strict schemas: objects, arrays, strings, numbers, booleans, null, enum, const, anyOf,
oneOf, allOf, local $ref, the usual bounds, the common formats, and patterns that one of a few stock strings matches.
What it cannot satisfy it refuses with a 400, as vendors do with schemas that they do not support.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any, Final

from services.standalone.simulator.calls import InvalidCallError, JsonSchema
from services.standalone.simulator.draw import Draw

_DEPTH_LIMIT: Final = 32
_OPTIONAL_DEPTH: Final = 4
_WORDS: Final = ("amber", "basin", "cedar", "delta", "ember", "fjord", "grove", "haven")
_FORMATS: Final = {
    "date": "2026-01-31",
    "date-time": "2026-01-31T12:00:00Z",
    "time": "12:00:00Z",
    "duration": "PT5M",
    "email": "simulated@example.com",
    "hostname": "simulator.example.com",
    "ipv4": "192.0.2.1",
    "ipv6": "2001:db8::1",
    "uri": "https://simulator.example.com/",
    "uuid": "00000000-0000-4000-8000-000000000000",
}
_STOCK: Final = (*_WORDS, "A", "AB", "ABC", "ABCD", "1", "12", "123", "1234", "12345", "A1", "a1", "en", "de-DE", "EUR")
_PATTERN_STOCK: Final = (*_STOCK, *_FORMATS.values(), "1.0", "1.0.0", "#a1b2c3", "+15550100", "AB-123", "ABC-1234")


def sample_json(schema: JsonSchema, draw: Draw) -> Any:
    """A value that satisfies the schema, chosen by seeded chance; raises :class:`InvalidCallError` where it cannot."""
    return _Sampler(schema, draw).value(schema, "$", 0)


class _Sampler:
    """One walk through one schema; draws are named by the path of the value, so they do not disturb one another."""

    def __init__(self, root: JsonSchema, draw: Draw) -> None:
        self._root = root
        self._draw = draw

    def value(self, schema: Any, path: str, depth: int) -> Any:
        if depth > _DEPTH_LIMIT:
            raise _unsupported("it nests too deeply")
        if schema is True:
            return _WORDS[0]
        if not isinstance(schema, Mapping):
            raise _unsupported("a subschema is not an object")
        if "$ref" in schema:
            siblings = {key: part for key, part in schema.items() if key not in ("$ref", "$defs", "definitions")}
            return self.value(_merged(self._resolve(schema["$ref"]), siblings), path, depth + 1)
        if "const" in schema:
            return schema["const"]
        if schema.get("enum"):
            return self._choose(schema["enum"], path)
        for union in ("anyOf", "oneOf"):
            if schema.get(union):
                rest = {key: part for key, part in schema.items() if key != union}
                return self.value(_merged(rest, self._branch(schema[union], path, depth)), path, depth + 1)
        if schema.get("allOf"):
            merged = {key: part for key, part in schema.items() if key != "allOf"}
            for part in schema["allOf"]:
                merged = _merged(merged, self._resolve(part["$ref"]) if "$ref" in part else part)
            return self.value(merged, path, depth + 1)
        return self._typed(schema, path, depth)

    def _typed(self, schema: JsonSchema, path: str, depth: int) -> Any:
        kind = schema.get("type", "object" if "properties" in schema else "string")
        if isinstance(kind, list):
            kind = next((name for name in kind if name != "null"), "null") if depth < _OPTIONAL_DEPTH else kind[-1]
        match kind:
            case "object":
                return self._object(schema, path, depth)
            case "array":
                return self._array(schema, path, depth)
            case "string":
                return self._string(schema, path)
            case "integer" | "number":
                return self._number(schema, path, whole=kind == "integer")
            case "boolean":
                return bool(self._draw.integer(path, 0, 1))
            case "null":
                return None
            case _:
                raise _unsupported("a type is unknown")

    def _object(self, schema: JsonSchema, path: str, depth: int) -> dict[str, Any]:
        required = schema.get("required", [])
        properties = dict.fromkeys(required, True) | schema.get("properties", {})
        return {
            name: self.value(part, f"{path}.{name}", depth + 1)
            for name, part in properties.items()
            if name in required or (depth < _OPTIONAL_DEPTH and part is not False)
        }

    def _array(self, schema: JsonSchema, path: str, depth: int) -> list[Any]:
        fixed = list(schema.get("prefixItems", []))
        items = schema.get("items", True)
        low = int(schema.get("minItems", 0))
        if not fixed and items is not False and depth < _OPTIONAL_DEPTH:
            # A few items look real; a unique one of few possible values cannot always have a second.
            low = max(low, 1 if schema.get("uniqueItems") else self._draw.integer(f"{path}#", 1, 2))
            low = min(low, int(schema.get("maxItems", low)))
        wanted = [fixed[index] if index < len(fixed) else items for index in range(max(low, len(fixed)))]
        values = [self.value(part, f"{path}[{index}]", depth + 1) for index, part in enumerate(wanted)]
        if schema.get("uniqueItems") and len({repr(value) for value in values}) < len(values):
            raise _unsupported("uniqueItems with minItems")
        return values

    def _string(self, schema: JsonSchema, path: str) -> str:
        low, high = int(schema.get("minLength", 0)), int(schema.get("maxLength", 1 << 20))
        if "pattern" in schema:
            return _matching(schema["pattern"], low, high)
        if schema.get("format") in _FORMATS:
            return _FORMATS[schema["format"]]
        text = f"simulated {self._choose(_WORDS, path)}"
        return (text + " " + _WORDS[0] * (low // len(_WORDS[0]) + 1))[:low] if low > len(text) else text[:high]

    def _number(self, schema: JsonSchema, path: str, *, whole: bool) -> int | float:
        step = schema.get("multipleOf", 1 if whole else 0.5)
        low = schema.get("minimum", schema.get("exclusiveMinimum"))
        high = schema.get("maximum", schema.get("exclusiveMaximum"))
        if low is None:
            low = 0 if high is None else min(0, high - 100 * step)
        first = math.ceil(low / step) + ("exclusiveMinimum" in schema and math.ceil(low / step) * step <= low)
        last = first + 100
        if high is not None:
            last = math.floor(high / step) - ("exclusiveMaximum" in schema and math.floor(high / step) * step >= high)
        if last < first:
            # Between two bounds closer than the step, the middle is as good as any number.
            middle = (low + high) / 2
            if whole or "multipleOf" in schema or not low <= middle <= high:
                raise _unsupported("its bounds leave no number")
            return float(middle)
        number = self._draw.integer(path, first, min(last, first + 100)) * step
        return int(number) if whole else float(number)

    def _branch(self, branches: list[Any], path: str, depth: int) -> Any:
        # Deep down, the null branch of an optional recursive field is what ends the recursion.
        if depth >= _OPTIONAL_DEPTH:
            chosen = next((branch for branch in branches if branch.get("type") == "null"), branches[-1])
        else:
            chosen = self._choose(branches, f"{path}|")
        return self._resolve(chosen["$ref"]) if "$ref" in chosen else chosen

    def _resolve(self, reference: Any) -> Any:
        if not isinstance(reference, str) or not reference.startswith("#"):
            raise _unsupported("a $ref leaves the schema")
        target: Any = self._root
        for step in reference.removeprefix("#").split("/")[1:]:
            key = step.replace("~1", "/").replace("~0", "~")
            if not isinstance(target, Mapping) or key not in target:
                raise _unsupported("a $ref leads nowhere")
            target = target[key]
        return target

    def _choose(self, options: Any, name: str) -> Any:
        return options[self._draw.integer(name, 0, len(options) - 1)]


def _merged(one: JsonSchema, other: JsonSchema) -> dict[str, Any]:
    merged = {**one, **other}
    if "properties" in one and "properties" in other:
        merged["properties"] = {**one["properties"], **other["properties"]}
    if "required" in one and "required" in other:
        merged["required"] = [*one["required"], *other["required"]]
    return merged


def _matching(pattern: str, low: int, high: int) -> str:
    try:
        compiled = re.compile(pattern)
    except re.error:
        raise _unsupported("a pattern is not a regular expression") from None
    for text in _PATTERN_STOCK:
        if low <= len(text) <= high and compiled.search(text):
            return text
    raise _unsupported("none of the simulator's stock strings matches a pattern")


def _unsupported(what: str) -> InvalidCallError:
    return InvalidCallError(f"The simulator cannot satisfy this schema: {what}.", code="unsupported_schema")
