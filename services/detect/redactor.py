"""Many texts that belong together, without what was found in them: one value, one placeholder, wherever it stands.

A text is looked at by itself and among the others, as a reader sees them; what is found in one place is replaced in
every place, also where nothing around it gives it away. Then it is looked at again, until nothing is found any more. A
text that cannot be looked at completely, or does not come clean, is replaced as a whole, and the result says so.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from services.detect.analysis import find
from services.detect.findings import Finding
from services.detect.own_rules import OwnRules
from services.detect.redaction import PLACEHOLDER, restore, with_whole_placeholders
from services.detect.rules import type_groups

# A look sees a thousand findings at most; and taking something out may bring together what stood apart.
_MOST_LOOKS: Final = 32
_WHOLE: Final = "TEXT"
# Shorter values say too little by themselves to be looked for where nothing gives them away.
_SHORTEST_REPEATED: Final = 4
_WORD: Final = re.compile(r"\w+")
_NOT_IN_A_NAME: Final = re.compile(r"[^A-Z_]+")
# What kind of text something is says nothing about where it stands: there is no value to replace.
_NOT_VALUES: Final = "document"


class UnknownTypeError(ValueError):
    """Asks for something that no rule finds."""


def redactable() -> frozenset[str]:
    """Return all that can be asked for: types of findings, and groups of them."""
    values = {type_: group for type_, group in type_groups().items() if group != _NOT_VALUES}
    return frozenset(values) | frozenset(values.values())


def types_of(asked: Iterable[str], own: OwnRules | None = None) -> frozenset[str]:
    """Return the types that some names of types and groups stand for; raises :class:`UnknownTypeError`."""
    names = frozenset(asked)
    if unknown := names - redactable():
        raise UnknownTypeError(f"nothing finds {', '.join(sorted(unknown))}")
    return names | {type_ for type_, group in _groups(own).items() if group in names}


def _groups(own: OwnRules | None) -> Mapping[str, str]:
    return {**own.types, **type_groups()} if own else type_groups()


class Leaf(NamedTuple):
    """One text. ``before`` is what a reader sees between it and the one before, None if it stands for itself alone.

    A ``fixed`` one cannot be replaced without breaking what it names.
    """

    text: str
    before: str | None = "\n\n"
    fixed: bool = False


@dataclass(frozen=True, slots=True)
class RedactedTexts:
    """Texts one for one, and what each placeholder stands for. ``counts`` is places replaced, by type.

    ``whole`` says that nothing but the values is missing, and that none of them is left.
    """

    texts: list[str]
    placeholders: dict[str, str]
    counts: dict[str, int]
    whole: bool


def redact_texts(
    leaves: Sequence[Leaf], types: Collection[str] | None = None, own: OwnRules | None = None
) -> RedactedTexts:
    """Return the texts without what is found of these types, of all types if none are given."""
    return _Redactor(leaves, types, own).run()


@dataclass(slots=True)
class _Look:
    """What one look found: by text, and which texts it could not look at completely."""

    found: list[list[Finding]]
    unseen: set[int] = field(default_factory=set)


class _Redactor:
    def __init__(self, leaves: Sequence[Leaf], types: Collection[str] | None, own: OwnRules | None) -> None:
        self._leaves = leaves
        self._types = types
        self._own = own
        self._groups = _groups(own)
        self._texts = [leaf.text for leaf in leaves]
        self._taken = {name for text in self._texts for name in PLACEHOLDER.findall(text)}
        self._numbers: Counter[str] = Counter()
        self._names: dict[str, str] = {}
        self._placeholders: dict[str, str] = {}
        self._counts: Counter[str] = Counter()
        self._seen: dict[str, tuple[list[Finding], bool]] = {}
        self._whole = True

    def run(self) -> RedactedTexts:
        look = self._look()
        for _ in range(_MOST_LOOKS):
            if not any(look.found):
                break
            # Also where there may be more: with these out of the way, the rest comes into sight.
            self._replace(look.found)
            look = self._look()
        for index, found in enumerate(look.found):
            if found or index in look.unseen:
                self._replace_whole(index)
        return RedactedTexts(self._texts, self._placeholders, dict(sorted(self._counts.items())), self._whole)

    # -- looking --------------------------------------------------------------------------------------------------

    def _look(self) -> _Look:
        look = _Look([[] for _ in self._texts])
        for index, text in enumerate(self._texts):
            found, truncated = self._findings(text)
            look.found[index] += found
            if truncated:
                look.unseen.add(index)
        self._among_others(look)
        look.found = [
            with_whole_placeholders(text, sorted(found, key=_by_place), self._placeholders)
            for text, found in zip(self._texts, look.found, strict=True)
        ]
        return look

    def _among_others(self, look: _Look) -> None:
        """Add what is only found when the texts are read one after the other."""
        shown = [index for index, leaf in enumerate(self._leaves) if leaf.before is not None]
        parts: list[str] = []
        starts: list[int] = []
        at = 0
        for index in shown:
            before = self._leaves[index].before or ""
            if not parts and before.isspace():  # nothing stands before: a lone text is the one looked at already
                before = ""
            starts.append(at + len(before))
            parts += (before, self._texts[index])
            at += len(before) + len(self._texts[index])
        found, truncated = self._findings("".join(parts))
        if truncated:
            look.unseen.update(range(len(self._texts)))
        for finding in found:
            # Somebody's address may run over two texts: each has its part of it.
            for place in range(max(0, bisect_right(starts, finding.start) - 1), len(shown)):
                start, index = starts[place], shown[place]
                if start >= finding.end:
                    break
                begins, ends = max(finding.start - start, 0), min(finding.end - start, len(self._texts[index]))
                if begins < ends:
                    look.found[index].append(Finding(finding.type, begins, ends, finding.confidence, finding.detector))

    def _findings(self, text: str) -> tuple[list[Finding], bool]:
        if text not in self._seen:
            found, truncated = find(text, self._own) if text else ((), False)
            self._seen[text] = [one for one in found if self._asked(one.type)], truncated
        return self._seen[text]

    def _asked(self, type_: str) -> bool:
        return self._groups.get(type_) != _NOT_VALUES if self._types is None else type_ in self._types

    # -- replacing ------------------------------------------------------------------------------------------------

    def _replace(self, found: Sequence[Sequence[Finding]]) -> None:
        values: dict[str, str] = {}
        for text, findings in zip(self._texts, found, strict=True):
            for one in findings:
                values.setdefault(text[one.start : one.end], one.type)
        again = Occurrences(values)
        for index, text in enumerate(self._texts):
            places = sorted([*found[index], *again.find(text)], key=_by_place)
            places = with_whole_placeholders(text, places, self._placeholders)
            if places and self._leaves[index].fixed:
                self._replace_whole(index)
            elif places:
                self._texts[index] = self._without(text, places)

    def _without(self, text: str, places: Sequence[Finding]) -> str:
        parts: list[str] = []
        done = 0
        for place in places:
            # A value found in a later round may hold placeholders of an earlier one.
            value = restore(text[place.start : place.end], self._placeholders)
            parts += (text[done : place.start], self._name(place.type, value))
            self._counts[place.type] += 1
            done = place.end
        parts.append(text[done:])
        return "".join(parts)

    def _replace_whole(self, index: int) -> None:
        self._whole = False
        original = restore(self._texts[index], self._placeholders)
        if original:
            self._texts[index] = self._name(_WHOLE, original)

    def _name(self, type_: str, value: str) -> str:
        name = self._names.get(value)
        while name is None:
            kind = _NOT_IN_A_NAME.sub("_", type_.upper())
            self._numbers[kind] += 1
            candidate = f"[{kind}_{self._numbers[kind]}]"
            if candidate not in self._taken:
                name = self._names[value] = candidate
                self._placeholders[name] = value
        return name


class Occurrences:
    """Where values stand, word for word, in time linear in the text; the shortest are left out."""

    def __init__(self, values: Mapping[str, str]) -> None:
        """Take the type of each value."""
        self._by_word: dict[str, list[tuple[int, str, str]]] = {}
        for value, type_ in values.items():
            word = _WORD.search(value)
            if word is not None and len(value) >= _SHORTEST_REPEATED:
                self._by_word.setdefault(word.group(), []).append((word.start(), value, type_))
        for several in self._by_word.values():
            several.sort(key=lambda one: -len(one[1]))

    def find(self, text: str) -> Iterable[Finding]:
        """Yield the longest value at each place, as findings."""
        if not self._by_word:
            return
        for word in _WORD.finditer(text):
            for offset, value, type_ in self._by_word.get(word.group(), ()):
                start = word.start() - offset
                end = start + len(value)
                if start >= 0 and text.startswith(value, start) and not _in_a_word(text, end):
                    yield Finding(type_, start, end, 1.0, "repeated")
                    break


def _in_a_word(text: str, at: int) -> bool:
    return at < len(text) and _WORD.match(text[at - 1 : at + 1]) is not None and _WORD.match(text[at]) is not None


def _by_place(found: Finding) -> tuple[int, int]:
    return found.start, -found.end
