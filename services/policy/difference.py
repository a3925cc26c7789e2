"""What tells two bundles apart, in words: a pure comparison of what their rules say."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from services.policy.bundle import Bundle, Rule
from services.policy.condition import normal
from services.policy.restrictions import Restrictions, meet

Direction = Literal["narrower", "wider", "other", "same"]
"""Of what is permitted, from the first bundle to the second; `other` is narrower in one thing and wider in another."""


@dataclass(frozen=True, slots=True)
class Difference:
    """One thing that differs: a rule, the ceilings of a latency class, or the limits of a route."""

    what: str
    change: Literal["added", "removed", "changed"]
    direction: Direction
    lines: tuple[str, ...]
    """Field by field, in words."""

    def __str__(self) -> str:
        head = f"{self.what}: {self.change}, {_IN_WORDS[self.direction]}"
        return "\n".join([head, *(f"    {line}" for line in self.lines)])

    def as_json(self) -> dict[str, Any]:
        """Return the difference as JSON."""
        return {"what": self.what, "change": self.change, "direction": self.direction, "lines": list(self.lines)}


_IN_WORDS: dict[Direction, str] = {
    "narrower": "permits less",
    "wider": "permits more",
    "other": "permits other things",
    "same": "permits the same",
}


def diff(before: Bundle, after: Bundle) -> list[Difference]:
    """Return what differs from one bundle to another; empty exactly if their digests are equal."""
    found = [*_classes(before, after), *_routes(before, after)]
    old, new = ({rule.id: rule for rule in bundle.rules} for bundle in (before, after))
    for rule_id in sorted(old.keys() | new.keys()):
        if (difference := _rule(old.get(rule_id), new.get(rule_id))) is not None:
            found.append(difference)
    return found


def direction(before: Restrictions, after: Restrictions) -> Direction:
    """Return how what is permitted changes."""
    if before == after:
        return "same"
    both = meet([before, after])
    return "narrower" if both == after else "wider" if both == before else "other"


def _rule(old: Rule | None, new: Rule | None) -> Difference | None:
    if old is None or new is None:
        rule = old or new
        assert rule is not None, "the id is in one of the bundles"
        lines = (f"when {normal(rule.spec.when)}", *_fields({}, rule.spec.content()["effects"]))
        what = f"rule {rule.id}"
        return (
            Difference(what, "removed", "wider", lines) if new is None else Difference(what, "added", "narrower", lines)
        )
    before, after = old.spec.content(), new.spec.content()
    if before == after:
        return None
    moved = direction(old.restrictions, new.restrictions)
    if before["when"] != after["when"]:
        # Which jobs it applies to cannot be compared by looking at two conditions: a backtest tells.
        moved = "other"
    effects = _fields(before.pop("effects"), after.pop("effects"))
    return Difference(f"rule {new.id}", "changed", moved, (*_fields(before, after), *effects))


def _classes(before: Bundle, after: Bundle) -> Iterator[Difference]:
    for name in sorted(before.classes):
        old, new = (bundle.classes[name].model_dump(mode="json", exclude_defaults=True) for bundle in (before, after))
        if old != new:
            moved = direction(before.defaults[name], after.defaults[name])
            moved = "other" if moved == "same" else moved
            yield Difference(f"defaults of {name}", "changed", moved, tuple(_fields(old, new)))


def _routes(before: Bundle, after: Bundle) -> Iterator[Difference]:
    old, new = (
        [limits.model_dump(mode="json", exclude_defaults=True) for limits in it.routes] for it in (before, after)
    )
    for content in old:
        if content not in new:
            yield Difference(f"routes {content['route']}", "removed", "wider", tuple(_fields({}, content)))
    for content in new:
        if content not in old:
            yield Difference(f"routes {content['route']}", "added", "narrower", tuple(_fields({}, content)))


def _fields(old: Mapping[str, Any], new: Mapping[str, Any], prefix: str = "") -> list[str]:
    lines: list[str] = []
    for name in sorted(old.keys() | new.keys()):
        was, now = old.get(name), new.get(name)
        if was == now:
            continue
        if isinstance(was or {}, dict) and isinstance(now or {}, dict):
            lines += _fields(was or {}, now or {}, f"{prefix}{name}.")
        elif was is None:
            lines.append(f"{prefix}{name}: {_value(now)}")
        elif now is None:
            lines.append(f"{prefix}{name}: no longer {_value(was)}")
        elif isinstance(was, list) and isinstance(now, list):
            gone, come = [item for item in was if item not in now], [item for item in now if item not in was]
            said = [*([f"without {_value(gone)}"] if gone else []), *([f"with {_value(come)}"] if come else [])]
            lines.append(f"{prefix}{name}: {' and '.join(said)}")
        else:
            lines.append(f"{prefix}{name}: {_value(now)} instead of {_value(was)}")
    return lines


def _value(value: Any) -> str:
    return ", ".join(str(item) for item in value) or "nothing" if isinstance(value, list) else str(value)
