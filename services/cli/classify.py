"""`waybill classify`: what the rules say about texts, without Kafka or Postgres."""

from __future__ import annotations

import json as json_module
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from pydantic import ValidationError

from schemas.job import Job
from services.classifier.classify import classify as classify_job
from services.cli.output import emit
from services.detect import RULE_SET_VERSION, OwnRules, OwnRulesError, Situation, analyse, explained, labelled
from services.runtime.errors import WaybillError


class InputNotClassifiableError(WaybillError):
    """The file holds something that is neither a text nor a job."""

    hint = 'Give a text file, or JSON lines of {"id": …, "text": …} or of jobs.'


class RulesUnusableError(WaybillError):
    """The rules do not load."""

    hint = "docs/classifier.md says what a file of rules may hold."


def register(app: typer.Typer) -> None:
    """Add this command."""
    app.command("classify")(classify)


def classify(
    file: Annotated[
        Path, typer.Argument(help="A text, or JSON lines (.jsonl) of texts or jobs.", exists=True, dir_okay=False)
    ],
    explain: Annotated[
        bool, typer.Option("--explain", help="Show every finding and why the class is what it is.")
    ] = False,
    rules: Annotated[
        list[Path] | None,
        typer.Option("--rules", help="Rules of your own to try, as tenants have them.", exists=True, dir_okay=False),
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object a line.")] = False,
) -> None:
    """Say what is in each text of a file: findings, data class, domains, injection, language, task, tokens."""
    own = _own(rules or [])
    for content, reasons in _classified(file, own):
        emit(content, json=json, text=_shown(content, reasons if explain else None))


Answer = tuple[dict[str, Any], Sequence[str]]
"""What is said of one text or job, and in words why its labels are what they are."""


def _own(paths: list[Path]) -> OwnRules | None:
    try:
        return OwnRules.load(paths) if paths else None
    except OwnRulesError as error:
        raise RulesUnusableError(f"The rules do not load: {error}.") from error


def _classified(file: Path, own: OwnRules | None) -> Iterator[Answer]:
    raw = file.read_bytes()
    if file.suffix not in {".jsonl", ".ndjson"}:
        yield _text(file.name, raw.decode(errors="replace"), own)
        return
    for number, line in enumerate(raw.split(b"\n"), start=1):
        if line.strip():
            yield _line(number, line, own)


def _line(number: int, line: bytes, own: OwnRules | None) -> Answer:
    try:
        document = json_module.loads(line)  # takes lone surrogates, which faster readers refuse
    except ValueError as error:
        raise InputNotClassifiableError(f"Line {number} is no JSON.") from error
    if isinstance(document, dict) and isinstance(document.get("text"), str):
        return _text(document.get("id", number), document["text"], own)
    try:
        return _job(number, Job.model_validate(document), own)
    except ValidationError as error:
        raise InputNotClassifiableError(f"Line {number} is neither a text nor a job.") from error


def _text(id_: Any, text: str, own: OwnRules | None) -> Answer:
    analysis = analyse(text, own)
    situation = Situation(
        types=frozenset(found.type for found in analysis.findings),
        truncated=analysis.truncated,
        domains=frozenset(analysis.domains),
        suspected=analysis.injection_suspected,
        own_classes=tuple(sorted(own.classes.items())) if own else (),
    )
    made = labelled(situation)
    answer = {
        "id": id_,
        "findings": [
            {
                "type": found.type,
                "start": found.start,
                "end": found.end,
                "confidence": found.confidence,
                "detector": found.detector,
            }
            for found in analysis.findings
        ],
        "data_class": made.data_class,
        "domains": list(analysis.domains),
        "injection": {
            "score": analysis.injection_score,
            "suspected": analysis.injection_suspected,
            "signals": list(analysis.injection_signals),
        },
        "language": analysis.language,
        "task": analysis.task,
        "tokens": analysis.tokens,
        "risk_tier": made.risk_tier,
        "action_class": made.action_class,
        "truncated": analysis.truncated,
        "detectors_failed": list(analysis.detectors_failed),
        "rules": own.version if own else RULE_SET_VERSION,
    }
    return answer, explained(situation)


def _job(number: int, job: Job, own: OwnRules | None) -> Answer:
    """Classify a job as the classifier does; spans lie in the ``text`` of each finding, injection is the worst."""
    classification = classify_job(job, own)
    features, entry = classification.features, classification.entry
    suspicions = entry.get("suspicions", [])
    answer = {
        "id": job.idempotency_key or str(number),
        "findings": entry["findings"],
        "data_class": str(features["data_class"]),
        "domains": features["domains"],
        "injection": {
            "score": features["injection_score"],
            "suspected": features["injection_suspected"],
            "signals": features["injection_signals"],
            "texts": sorted(one["text"] for one in suspicions if one["suspected"]),
            "documents": features["suspected_documents"],
        },
        "language": features["language"],
        "task": features["task"],
        "tokens": features["input_tokens"],
        "risk_tier": str(features["risk_tier"]),
        "action_class": str(features["action_class"]),
        "tool_scopes": features["tool_scopes"],
        "truncated": entry["truncated"],
        "detectors_failed": classification.detectors_failed,
        "rules": entry["rules"],
    }
    return answer, classification.explained()


def _shown(content: dict[str, Any], reasons: Sequence[str] | None) -> str:
    """Return a paragraph for people: where things are and what found them, never what they say."""
    injection = content["injection"]
    lines = [
        f"{content['id']}: {content['data_class']} data, risk {content['risk_tier']}, "
        f"action {content['action_class']}, task {content['task']}, language {content['language']}, "
        f"{content['tokens']} tokens, "
        f"domains {', '.join(content['domains']) or 'none'}, "
        f"{'injection suspected' if injection['suspected'] else 'no injection'}, {len(content['findings'])} findings"
    ]
    if reasons is not None:
        for found in content["findings"]:
            text = f"text {found['text']} " if "text" in found else ""
            where = f"{text}{found['start']}–{found['end']}"
            lines.append(f"  {where}  {found['type']}  {found['confidence']:.2f}  by {found['detector']}")
        lines += [f"  {reason}" for reason in reasons]
        lines += [f"  tool {name}: {scope}" for name, scope in content.get("tool_scopes", {}).items()]
        lines.append(f"  injection {injection['score']:.3f}: {', '.join(injection['signals']) or 'no signs'}")
        lines += [f"  failed: {failed}" for failed in content["detectors_failed"]]
        lines.append(f"  rules {content['rules']}")
    return "\n".join(lines)
