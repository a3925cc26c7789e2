"""Writes ``docs/detectors.md``: what the detectors find, by which rules, and within which limits.

``python -m services.cli.docs_detectors`` writes it anew, ``--check`` exits 1 if it differs.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Final

from schemas.documents import run
from services.detect import analysis, injection, patterns, people, tokens
from services.detect.classes import class_rank
from services.detect.rules import Group, Pattern, data_class_rules, lexicon, pattern_files, type_groups

GROUPS: Final[dict[Group, str]] = {
    "personal": "Personal data",
    "health": "Health data",
    "credential": "Credentials",
    "trace": "Traces: they say little about a person by themselves",
    "business": "Numbers of companies and professions",
    "document": "Kinds of documents",
}
# Types that code finds, beside the rules' patterns.
IN_CODE: Final = {
    "person": "`person_full`, `person_single`: lists of names, and how names are written",
    "location": "`place`: a list of cities",
    "region": "`region`: a list of countries and states",
}
_HEAD: Final = """# What the detectors find

Made by `python -m services.cli.docs_detectors` from `services/detect/rules`; edit the rules instead.

A *checked* rule holds what it finds to check digits, a numbering plan or the look of a secret. A rule *behind words*
finds a number only where such words stand before it; a few of its words are shown. *Alone*: also where the number is
all that the text holds, which by itself raises no data class. The class is the one that a finding of the type raises
the text to; what was declared, or the default, is never lowered.
"""
_MOST_WORDS: Final = 4


def _how(pattern: Pattern) -> str:
    said = [f"`{pattern.id}`"]
    notes = ["checked"] if pattern.validator else []
    if pattern.words:
        plain = [word for word in pattern.words if word.replace(" ", "").replace("-", "").isalpha()]
        notes.append(f"behind words ({', '.join(plain[:_MOST_WORDS])})" if plain else "behind words")
    if pattern.alone:
        notes.append("alone")
    return said[0] + (f" {', '.join(notes)}" if notes else "")


def _types() -> Iterator[str]:
    by_type: dict[str, list[str]] = {}
    for file in pattern_files():
        for pattern in file.patterns:
            by_type.setdefault(pattern.type, []).append(_how(pattern))
    for type_, how in IN_CODE.items():
        by_type.setdefault(type_, []).append(how)
    order = data_class_rules().order
    for group, title in GROUPS.items():
        yield f"\n## {title}\n\n| type | class | rules |\n| --- | --- | --- |"
        for type_ in sorted(type_ for type_, of in type_groups().items() if of == group):
            rules = by_type[type_]
            shown = "; ".join(rules) if len(rules) <= 12 else "; ".join(rules[:12]) + f"; and {len(rules) - 12} more"
            yield f"| `{type_}` | {order[class_rank(type_)]} | {shown} |"


def _limits() -> Iterator[str]:
    yield """
## Limits

An analysis does at most so much; all of it is counted, never timed, so that a text has the same findings on every
machine. What is over a limit is cut: the analysis is `truncated`, and the data class the strictest.

| what | at most |
| --- | --- |"""
    for what, most in {
        "characters of a text": analysis.MAX_CHARACTERS,
        "matches that a scan reports": patterns.MAX_MATCHES,
        "checks of candidates, in units of about 2 µs": patterns.MAX_VALIDATION,
        "runs of capitalised words looked at for names, and for places": people.MAX_RUNS,
        "characters freed of tricks of writing, and of base64 decoded": injection.MAX_DISGUISED,
        "findings": patterns.MAX_FINDINGS,
    }.items():
        yield f"| {what} | {most:,} |"
    yield """
Tokens of what is beyond the characters looked at are taken as four for each. `benchmarks/classifier_worst.py` breeds
texts that take long.
"""


def _tokens() -> Iterator[str]:
    yield """## Tokens

Counts of `o200k_base` and `cl100k_base` are exact. Other vendors' tokenizers are not public or not part of Waybill:
for each token of `o200k_base` theirs are taken to count so many. Anthropic's was measured with the 65,000
tokens of the package anthropic-tokenizer 0.1.0 (1.10 over all texts, 7.37 at most, in scripts
spelled in bytes); the others are allowances for texts in
Latin script, not measured.

| vendor | usually | at most |
| --- | --- | --- |"""
    for vendor, (usual, most) in sorted(tokens.MARGINS.items()):
        yield f"| {vendor} | {usual} | {most} |"


def _signals() -> Iterator[str]:
    yield (
        """
## Signals of injection

Labels of `lexicon_injection.yaml`, from the score of a text on which it is suspected:
"""
        + f"{lexicon('injection').threshold}.\n"
    )
    for label, by_weight in lexicon("injection").labels.items():
        yield f"- `{label}`: {sum(map(len, by_weight.values()))} terms"
    yield """- `hidden_characters`: characters of no width within words, or letters turned around
- `hidden_text`: text in characters that no font shows
- `disguised_words`: terms that appear once letters that look like others are undone
- `encoded_payload`: terms that appear in what base64 says"""


def render() -> str:
    """Return the document."""
    return "\n".join((_HEAD.rstrip(), *_types(), *_limits(), *_tokens(), *_signals())) + "\n"


if __name__ == "__main__":
    sys.exit(run({"detectors.md": render()}, "services.cli.docs_detectors"))
