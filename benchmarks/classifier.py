"""How well and how fast the detectors work on labelled texts, each figure beside its target.

Run ``python benchmarks/classifier.py DATA_DIR`` (or set ``CLASSIFIER_DATA``); ``--speed`` adds throughput, worst
inputs, start and memory, ``--misses PART`` prints what a part got wrong. The folder holds JSON Lines files of
``{"id", "text", "labels": {...}}``; span offsets are code points, end exclusive. Scoring: a gold span is found when a
finding of its type covers at least half of it; a finding over no gold span of its type is a false positive.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import bpe_openai
from classifier_report import Report, Row, Spans, f1, macro_f1, mean, show
from classifier_secrets import negatives, secrets
from classifier_speed import speed_rows
from classifier_types import CREDENTIALS, FINDING_TYPES, PHI_TYPES

from services.detect import Analysis, analyse, count_tokens

CORE_LANGUAGES = frozenset(
    [
        "ar",
        "bg",
        "cs",
        "da",
        "de",
        "el",
        "en",
        "es",
        "et",
        "fi",
        "fr",
        "he",
        "hi",
        "hu",
        "it",
        "ja",
        "ko",
        "lt",
        "lv",
        "nl",
        "pl",
        "pt",
        "ro",
        "ru",
        "sk",
        "sv",
        "tr",
        "zh",
        "uk",
        "vi",
        "th",
        "id",
        "nb",
    ]
)
NORWEGIAN = {"no": "nb", "nn": "nb"}


Sample = tuple[dict[str, Any], Analysis]


def span_counts(samples: Iterable[Sample], note: Callable[[str, str], None]) -> dict[str, Spans]:
    """Score findings against gold spans, by gold type."""
    counts: dict[str, Spans] = defaultdict(Spans)
    for row, analysis in samples:
        text, gold = row["text"], row["labels"]["spans"]
        for type_ in {span["type"] for span in gold} | set(FINDING_TYPES):
            ours = [found for found in analysis.findings if found.type in FINDING_TYPES.get(type_, ())]
            spans = [span for span in gold if span["type"] == type_]
            for span in spans:
                counts[type_].gold += 1
                covered = max(
                    (min(span["end"], found.end) - max(span["start"], found.start) for found in ours), default=0
                )
                if 2 * covered >= span["end"] - span["start"]:
                    counts[type_].found += 1
                else:
                    note(type_, f"missed {text[span['start'] : span['end']]!r} in {text[:160]!r}")
            for found in ours:
                if not any(found.start < span["end"] and span["start"] < found.end for span in spans):
                    counts[type_].false += 1
                    note(type_, f"false {text[found.start : found.end]!r} ({found.detector}) in {text[:160]!r}")
    return counts


class Measuring:
    """The labelled files, analysed once each, and the rows they make."""

    def __init__(self, data: Path) -> None:
        self.report = Report()
        self._samples = {
            path.stem: [(row, analyse(row["text"])) for row in map(json.loads, path.open(encoding="utf-8"))]
            for path in sorted(data.glob("*.jsonl"))
        }

    def _note(self, type_: str, what: str) -> None:
        self.report.misses[type_.lower()].append(what)

    def spans(self) -> None:
        """Personal identifiers and names."""
        counts = span_counts(self._samples["pii_presidio_synth"], self._note)
        targets = {"EMAIL_ADDRESS": 0.99, "IP_ADDRESS": 0.99, "IBAN_CODE": 0.99, "US_SSN": 0.99, "CREDIT_CARD": 0.98}
        for type_, target in {**targets, "PHONE_NUMBER": 0.85, "PERSON": 0.65}.items():
            self.report.least(f"{type_.lower()} F1", counts[type_].f1, target)
        for type_ in ("STREET_ADDRESS", "GPE", "DATE_TIME"):
            self.report.rows.append(Row(f"{type_.lower()} F1", f"{counts[type_].f1:.3f}", "none"))

    def near_misses(self) -> None:
        """Identifiers with right and wrong check digits and lengths."""
        false = negatives = anything = 0
        recall: dict[str, list[bool]] = defaultdict(list)
        for row, analysis in self._samples["pii_near_miss"]:
            labels = row["labels"]
            ours = [found for found in analysis.findings if found.type in FINDING_TYPES[labels["type"]]]
            if labels["count"] == 0:
                negatives += 1
                false += bool(ours)
                anything += bool(analysis.findings)
                if analysis.findings:
                    self._note(
                        "near_any", f"{labels['type']} {row['text']!r} {[f.detector for f in analysis.findings]}"
                    )
                if ours:
                    self._note("near_miss", f"false {labels['type']} {row['text']!r} ({ours[0].detector})")
            else:
                for span in labels["spans"]:
                    hit = any(found.start < span["end"] and span["start"] < found.end for found in ours)
                    recall[labels["type"]].append(hit)
                    if not hit:
                        said = [found.type for found in analysis.findings]
                        self._note("near_miss", f"missed {labels['type']} {row['text']!r} {said}")
        self.report.most("near misses: false hits", false / negatives, 0.01, f"({false}/{negatives})")
        self.report.rows.append(Row("near misses: hits of any type", f"{anything / negatives:.1%}", "none"))
        half = [mean(hits) >= 0.5 for hits in recall.values()]
        self.report.least("near misses: types recalled (half of each)", mean(half), 0.8)
        self.report.rows.append(
            Row("near misses: mean recall by type", f"{mean(map(mean, recall.values())):.3f}", "none")
        )

    def health(self) -> None:
        """HIPAA identifiers and the flag of a document that holds any."""
        samples = self._samples["phi_clinical_queries"]
        counts = span_counts(samples, lambda type_, what: self._note(f"phi_{type_}", what))
        targets = {"MEDICAL_RECORD_NUMBER": 0.95, "HEALTH_PLAN_BENEFICIARY_NUMBER": 0.9, "DATE": 0.95}
        for type_, target in {**targets, "GEOGRAPHIC_LOCATION": 0.75}.items():
            self.report.least(f"PHI {type_.lower()} F1", counts[type_].f1, target)
        self.report.rows.append(Row("PHI name F1", f"{counts['NAME'].f1:.3f}", "none"))
        flags = [
            (bool(row["labels"]["spans"]), any(found.type in PHI_TYPES for found in analysis.findings), row)
            for row, analysis in samples
        ]
        true = sum(gold and ours for gold, ours, _ in flags)
        false = sum(ours and not gold for gold, ours, _ in flags)
        self.report.least(
            "PHI document flag F1", f1(true, false, sum(gold and not ours for gold, ours, _ in flags)), 0.97
        )
        clean = sum(not gold for gold, _, _ in flags)
        self.report.most("PHI document flag false alarms", false / clean, 0.05, f"({false}/{clean})")

    def secrets(self) -> None:
        """Texts without any secret in them: all of the others."""
        texts = [sample for samples in self._samples.values() for sample in samples]
        hits = [(row, found) for row, analysis in texts for found in analysis.findings if found.type in CREDENTIALS]
        for row, found in hits:
            self._note("secrets", f"{found.detector} {row['text'][found.start : found.end]!r}")
        rows = len({row["id"] for row, _ in hits})
        self.report.most("secrets in clean texts", rows / len(texts), 0.001, f"({rows}/{len(texts)})")
        true = false = missed = 0
        for text, value in secrets():
            at = text.index(value)
            ours = [found for found in analyse(text).findings if found.type in CREDENTIALS]
            covered = max((min(at + len(value), f.end) - max(at, f.start) for f in ours), default=0)
            true, missed = true + (2 * covered >= len(value)), missed + (2 * covered < len(value))
            false += sum(f.end <= at or f.start >= at + len(value) for f in ours)
            if 2 * covered < len(value):
                self._note("secrets", f"missed {text!r}")
        wrong = [text for text in negatives() if any(f.type in CREDENTIALS for f in analyse(text).findings)]
        for text in wrong:
            self._note("secrets", f"false {text!r}")
        self.report.least("secrets F1 (generated, no samples)", f1(true, false + len(wrong), missed), 0.9)
        total = len(list(negatives()))
        self.report.most("secrets, hard negatives (generated)", len(wrong) / total, 0.015, f"({len(wrong)}/{total})")

    def tokens(self) -> None:
        """Both OpenAI encodings against the whole text given to the tokenizer at once: cutting must not change it."""
        texts = [row["text"] for samples in self._samples.values() for row, _ in samples]
        for encoding in ("o200k_base", "cl100k_base"):
            whole = bpe_openai.get_encoding(encoding)
            same = mean(count_tokens(text, encoding) == len(whole.encode(text)) for text in texts)
            self.report.least(f"tokens exact, {encoding}", same, 1.0)
        self.report.rows.append(Row("tokens, other vendors", "not measured here", "stated margins: docs/detectors.md"))

    def injection(self) -> None:
        """Overt attacks, off-topic requests in documents, clean documents, texts with trigger words."""
        found = missed = false = clean = triggers = trigger_hits = 0
        bipia: list[bool] = []
        for row, analysis in self._samples["injection"]:
            labels, suspected = row["labels"], analysis.injection_suspected
            if labels["injection"] and labels["kind"].startswith("bipia"):
                bipia.append(suspected)
            elif labels["injection"]:
                found += suspected
                missed += not suspected
                if not suspected:
                    self._note("injection", f"missed {labels['kind']} {row['text'][:500]!r}")
            elif labels["kind"] == "notinject" or "hard_neg" in labels["source"]:
                triggers += 1
                trigger_hits += suspected
            else:
                clean += 1
                false += suspected
            if suspected and not labels["injection"]:
                self._note("injection", f"false {labels['kind']} {row['text'][:300]!r}")
        others = [
            (row, analysis.injection_suspected)
            for name, samples in self._samples.items()
            if name != "injection"
            for row, analysis in samples
        ]
        for row, suspected in others:
            if suspected:
                self._note("injection", f"false {row['id']} {row['text'][:300]!r}")
        alarms, everything = false + sum(s for _, s in others), clean + len(others)
        self.report.least("injection, overt F1", f1(found, alarms + trigger_hits, missed), 0.85)
        self.report.most("injection: clean documents", alarms / everything, 0.01, f"({alarms}/{everything})")
        self.report.most("injection: trigger words", trigger_hits / triggers, 0.02, f"({trigger_hits}/{triggers})")
        self.report.rows.append(Row("injection, off-topic requests recalled", f"{mean(bipia):.3f}", "none"))

    def labels(self) -> None:
        """Domain and task family: macro-F1 and the worst class."""

        def add(name: str, target: float, each: float, pairs: list[tuple[str, str]]) -> None:
            scores = macro_f1(pairs)
            self.report.least(f"{name} macro-F1", mean(scores.values()), target)
            for label, score in scores.items():
                self.report.least(f"  {name} {label}", score, each)

        domains = [(row, (analysis.domains or ("general",))[0]) for row, analysis in self._samples["domain"]]
        add("domain", 0.88, 0.80, [(row["labels"]["domain"], ours) for row, ours in domains])
        tasks = [(row, analysis.task) for row, analysis in self._samples["task_family"]]
        add("task", 0.87, 0.75, [(row["labels"]["family"], ours) for row, ours in tasks])
        for name, key, rows in (("domain", "domain", domains), ("task", "family", tasks)):
            for row, ours in rows:
                if row["labels"][key] != ours:
                    said = f"{row['labels'][key]} → {ours} {row['labels']['source']}"
                    self._note(name, f"{said} {row['text'][:220]!r} … {row['text'][-120:]!r}")

    def language(self) -> None:
        """Accuracy over core and all languages, and code."""
        samples = self._samples["language"]
        said = [(row["labels"]["language"], analysis.language, row) for row, analysis in samples]
        right = [(gold, NORWEGIAN.get(gold, gold) == NORWEGIAN.get(ours, ours)) for gold, ours, _ in said]
        self.report.least("language, core", mean(ok for gold, ok in right if gold in CORE_LANGUAGES), 0.99)
        self.report.least("language, all", mean(ok for gold, ok in right if gold != "und"), 0.93)
        code = [ok for gold, ok in right if gold == "und"]
        self.report.least("language: code is und", mean(code), 0.9)
        wrong = Counter(f"{gold} → {ours}" for (gold, ours, _), (_, ok) in zip(said, right, strict=True) if not ok)
        for pair, number in wrong.most_common():
            self._note("language", f"{pair} {number}")

    def all(self) -> Iterator[Row]:
        """Measure every part and return the table."""
        parts = (
            *(self.spans, self.near_misses, self.health, self.secrets, self.injection, self.labels, self.language),
            self.tokens,
        )
        for part in parts:
            part()
        return iter(self.report.rows)


def main() -> None:
    """Measure, print, and say by the exit status whether every target is met."""
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("data", nargs="?", default=os.environ.get("CLASSIFIER_DATA"), type=Path)
    arguments.add_argument("--speed", action="store_true")
    arguments.add_argument("--misses", action="append", default=[])
    given = arguments.parse_args()
    if given.data is None:
        sys.exit("which folder holds the labelled texts? Give it as DATA_DIR or CLASSIFIER_DATA.")
    measuring = Measuring(Path(given.data))
    rows = list(measuring.all())
    if given.speed:
        rows += [Row(*row) for row in speed_rows()]
    show(rows)
    for part in given.misses:
        print(f"\n{part}", *measuring.report.misses[part], sep="\n  ")
    sys.exit(any(row.met is False for row in rows))


if __name__ == "__main__":
    main()
